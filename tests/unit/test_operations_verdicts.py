"""The list of checks and the table of faults."""

from pathlib import Path

import pytest

from appliance.errors import Reason, VectorRefused
from appliance.operations.checks import ALL_PASSED, checks_of
from appliance.operations.faults import fault_of
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from appliance.trust.names import NamePattern
from tests.messages import (
    AUDIENCE,
    ISSUER,
    LEVEL,
    RECIPIENT,
    UNSPECIFIED,
    Signing,
    make_vector,
    wrap,
)
from tests.partners import make_partner
from tests.pki import NOW, make_pki, rsa_key

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
        ("confirmation_not_on_or_after", "2026-03-02T12:00:00Z"),
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


def test_each_fault_of_an_envelope_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    """What a SOAP message lacks, or has twice, is said in the failed check, not that something is wrong with it."""
    pki = make_pki("partner")
    registry = make_partner(tmp_path, pki)
    vector = make_vector(Signing(pki.leaf))
    message = wrap(vector)
    start, end = message.index(b"<wsse:Security"), message.index(b"</wsse:Security>") + 16
    security = message[start:end]
    messages = {
        "soap-header": message.replace(b"soapenv:Header>", b"soapenv:Other>"),
        "security-header": message.replace(security, b""),
        "security-header twice": message.replace(security, security * 2),
        "assertion": message.replace(vector, b""),
        "assertion twice": message.replace(vector, vector * 2),
    }
    details = set()
    for name, octets in messages.items():
        checks = verdict_of(judge(Question(octets), registry, NOW)).checks
        [failed] = [check for check in checks if check.outcome == "failed"]
        assert failed.name == name.partition(" ")[0]
        details.add(failed.detail)
    assert len(details) == len(messages)


def test_checks_of_an_envelope_do_not_run_on_an_assertion(tmp_path: Path) -> None:
    """An assertion that came alone has no header to pass, accepted or refused; in a message the same checks pass."""
    pki = make_pki("partner")
    registry = make_partner(tmp_path, pki)
    vector = make_vector(Signing(pki.leaf))
    for octets, outcome in ((vector, "not-run"), (wrap(vector), "passed")):
        for service in (None, "http://elsewhere.example/"):
            judgement = judge(Question(octets, service=service), registry, NOW)
            checks = {check.name: check.outcome for check in verdict_of(judgement).checks}
            assert (judgement.accepted is None) == (service is not None)
            assert (checks["soap-header"], checks["security-header"]) == (outcome, outcome)
            assert checks["assertion"] == "passed"


def test_what_the_convention_leaves_open_is_not_run(tmp_path: Path) -> None:
    """A check that no convention asks for, or that there is nothing to check by, is not reported as passed."""
    pki = make_pki("partner")
    front = pki.certify_leaf("front", rsa_key("front")).certificate
    stated: dict[str, dict[str, object]] = {
        "lifetime": {"maximum_lifetime": 86400.0},
        "name-id-format": {"name_id_formats": frozenset({UNSPECIFIED})},
        "signer-name": {"signer_names": (NamePattern.read("CN=application,O=Tests,C=FR"),)},
        "tls-peer": {"tls_peers": (NamePattern.read("CN=front,O=Tests,C=FR"),)},
    }
    message = make_vector(Signing(pki.leaf))
    strange = make_vector(Signing(pki.leaf), pagms=("INCONNU",))
    for fields in ({}, *stated.values()):
        registry = make_partner(tmp_path, pki, **fields)
        for octets in (message, strange):
            for certificate in (front, None):
                question = Question(octets, tls_certificate=certificate)
                verdict = verdict_of(judge(question, registry, NOW))
                assert (verdict.accepted is None) == (octets is strange)
                outcomes = {check.name: check.outcome for check in verdict.checks}
                asked = {name for name in stated if stated[name] == fields}
                asked -= set() if certificate else {"tls-peer"}
                assert {name for name in stated if outcomes[name] == "passed"} == asked
                assert {outcomes[name] for name in stated.keys() - asked} <= {"not-run"}
                assert outcomes["recipient"] == "passed"


def test_the_expected_audience_is_named(tmp_path: Path) -> None:
    """A vector for another service is told which one was called, or which one the convention is about."""
    pki = make_pki("partner")
    registry = make_partner(tmp_path, pki)
    called = "http://elsewhere.example/"
    for fields, service, expected in (
        ({}, called, called),
        ({"audiences": (called,)}, None, AUDIENCE),
        ({"audiences": (called,)}, called, AUDIENCE),
    ):
        message = make_vector(Signing(pki.leaf), **fields)
        checks = verdict_of(judge(Question(message, service=service), registry, NOW)).checks
        [failed] = [check for check in checks if check.outcome == "failed"]
        assert failed.name == "audience"
        assert failed.detail.endswith(f"`{expected}`")
