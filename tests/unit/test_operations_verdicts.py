"""The list of checks and the table of faults."""

from pathlib import Path

import pytest

from appliance.errors import Reason, VectorRefused
from appliance.operations.checks import ALL_PASSED, checks_of
from appliance.operations.faults import fault_of
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from tests.messages import AUDIENCE, ISSUER, LEVEL, RECIPIENT, Signing, make_vector
from tests.partners import make_partner
from tests.pki import NOW, make_pki

REFUSALS = [
    reason
    for reason in Reason
    if list(Reason).index(Reason.SOAP_HEADER_MISSING)
    <= list(Reason).index(reason)
    <= list(Reason).index(Reason.PAGM_UNKNOWN)
]


@pytest.mark.parametrize("reason", REFUSALS)
def test_every_refusal_has_a_fault_and_a_check(reason: Reason) -> None:
    """Each reason of the refused-vector block has its fault of DOMAIN 7 and fails exactly one check."""
    refusal = VectorRefused(reason, "what was found")
    fault = fault_of(refusal)
    prefix = {"wsse": "wssecurity-secext-1.0.xsd", "vi": "urn:iops:vi:faultcodes"}
    assert fault.namespace.endswith(prefix[fault.code.partition(":")[0]])
    assert fault.reason is reason
    assert fault.string
    outcomes = [check.outcome for check in checks_of(refusal)]
    at = outcomes.index("failed")
    assert outcomes == ["passed"] * at + ["failed"] + ["not-run"] * (len(outcomes) - at - 1)
    assert checks_of(refusal)[at].detail == "what was found"


def test_faultstrings_are_the_fixed_ones() -> None:
    """The French sentences of DOMAIN 7, to the letter."""
    strings = {fault_of(VectorRefused(reason, "")).string for reason in REFUSALS}
    assert {string for string in strings if "(" not in string} == {
        "La référence au jeton de sécurité est introuvable",
        "Le jeton de sécurité fourni est invalide",
        "La signature ou le chiffrement n'est pas valide",
        "Le VI est invalide",
        "Le service visé par le VI n'existe pas ou est invalide",
        "Le niveau d'authentification initial n'est pas conforme au contrat d'interopérabilité",
        "Le ou les PAGM présents dans le VI sont invalides",
        "L'identifiant de l'organisme client présent dans le VI est invalide ou inconnu",
    }


def test_checks_run_in_the_order_listed(tmp_path: Path) -> None:
    """A vector wrong in every way fails at the first check; each thing put right moves the failure to a later one."""
    pki = make_pki("partner")
    registry = make_partner(tmp_path, pki, id_style="uuid", maximum_lifetime=4 * 3600.0)
    wrong = {
        "name_id": "x" * 30_000,
        "confirmation_not_on_or_after": "soon",
        "id": "_x",
        "not_before": "2026-03-02T10:30:00Z",
        "not_on_or_after": "2026-03-09T10:00:00Z",
        "method": "urn:other",
        "audiences": ("http://other", AUDIENCE),
        "recipient": "urn:other",
        "level": "urn:other",
        "pagms": (),
        "second_pagm_attribute": (),
        "issuer": "urn:other",
    }
    mended: list[tuple[str, object]] = [
        ("name_id", "agent"),
        ("confirmation_not_on_or_after", None),
        ("id", "1e54f0a3-8c4c-4b0b-8d5c-1f6a3a2b9f10"),
        ("not_before", "2026-03-02T09:00:00Z"),
        ("not_on_or_after", "2026-03-02T12:00:00Z"),
        ("method", "urn:oasis:names:tc:SAML:2.0:cm:bearer"),
        ("audiences", (AUDIENCE, "http://other")),
        ("audiences", (AUDIENCE,)),
        ("recipient", RECIPIENT),
        ("level", LEVEL),
        ("pagms", ("OTHER",)),
        ("second_pagm_attribute", None),
        ("issuer", ISSUER),
        ("pagms", ("PAGM_GESTION",)),
    ]
    failed = []
    for field, value in [("", None), *mended]:
        if field:
            wrong[field] = value
        judgement = judge(Question(make_vector(Signing(pki.leaf), **wrong)), registry, NOW)
        checks = verdict_of(judgement).checks
        failed += [check.name for check in checks if check.outcome == "failed"]
    assert failed == [
        "extent",
        "dates-readable",
        "id-style",
        "not-before",
        "lifetime",
        "subject-confirmation",
        "audience",
        "single-audience",
        "recipient",
        "authentication-level",
        "pagm-present",
        "single-pagm-attribute",
        "issuer",
        "pagm-known",
    ]
    names = [check.name for check in ALL_PASSED]
    assert sorted(failed, key=names.index) == failed
