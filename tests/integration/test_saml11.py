"""SAML 1.1 vectors: those of others verified, ours accepted by others (DOMAIN 2.3)."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import make_room
from tests.messages import LEVEL, Signing, make_unsigned, make_vector, wrap
from tests.partners import CLIENT, CONTEXT, make_partner, make_provider, make_registry
from tests.pki import NOW, Holder, Pki, make_pki
from tests.saml11 import PASSWORD, Saml11Statement

SAML11 = {"s": "urn:oasis:names:tc:SAML:1.0:assertion"}


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A convention that takes the level of both versions."""
    directory = tmp_path_factory.mktemp("partner")
    return make_partner(
        directory,
        pki,
        levels=frozenset({LEVEL, PASSWORD}),
        attributes=frozenset({"commune"}),
        variants=frozenset({"A", "B"}),
    )


def make(pki: Pki, variant: str = "A", **fields: object) -> bytes:
    """Sign a SAML 1.1 assertion."""
    return make_vector(Signing(pki.leaf, variant), Saml11Statement(), **fields)


def decide(octets: bytes, registry: Registry) -> Verdict:
    """Judge a message."""
    return verdict_of(judge(Question(octets), registry, NOW))


def holds(octets: bytes, signer: Holder) -> bool:
    """Whether libxmlsec finds the signature good."""
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["AssertionID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(signer.public_key, xmlsec.constants.KeyDataFormatDer, None)
    try:
        context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))
    except xmlsec.Error:
        return False
    return True


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_others_are_verified(
    pki: Pki, registry: Registry, variant: str, *, is_wrapped: bool
) -> None:
    """A signed SAML 1.1 assertion, alone or in SOAP, of either variant, states what ours would."""
    message = make(pki, variant, pagms=("PAGM_GESTION",), attributes=(("commune", "Évry"),))
    assert holds(message, pki.leaf)
    accepted = decide(wrap(message) if is_wrapped else message, registry).accepted
    assert accepted is not None
    vector = accepted.vector
    assert (vector.saml_version, vector.variant) == ("1.1", variant)
    assert (vector.name_id, vector.level, vector.recipient) == ("agent-0042", PASSWORD, None)
    assert accepted.pagms == ("PAGM_GESTION",)
    assert accepted.attributes == {"commune": ("Évry",)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": "1.0"}, ("wsse:InvalidSecurityToken", "structure-invalid")),
        ({"issuer": " "}, ("wsse:InvalidSecurityToken", "structure-invalid")),
        ({"second_name_id": "autre"}, ("wsse:InvalidSecurityToken", "structure-invalid")),
        ({"not_on_or_after": "2026-03-02T09:00:00Z"}, ("vi:InvalidVI", "expired")),
        ({"not_before": "2026-03-02T08:00:00"}, ("vi:InvalidVI", "date-invalid")),
        (
            {"method": "urn:oasis:names:tc:SAML:1.0:cm:artifact"},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        (
            {"method": "urn:oasis:names:tc:SAML:2.0:cm:bearer"},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        ({"audiences": ("http://autre",)}, ("vi:InvalidService", "audience-mismatch")),
        ({"level": "urn:autre"}, ("vi:InvalidAuthLevel", "level-mismatch")),
        ({"level": None}, ("vi:InvalidAuthLevel", "level-mismatch")),
        ({"pagms": ()}, ("vi:InvalidPagm", "pagm-absent")),
        ({"second_pagm_attribute": ("PAGM_GESTION",)}, ("vi:InvalidPagm", "pagm-duplicated")),
        ({"issuer": "urn:inconnu"}, ("vi:InvalidIssuer", "issuer-unknown")),
    ],
)
def test_faults(
    pki: Pki, registry: Registry, fields: dict[str, object], expected: tuple[str, str]
) -> None:
    """Every check has the fault it has for SAML 2.0."""
    found = decide(make(pki, **fields), registry).fault
    assert found is not None
    assert (found.code, found.reason.value) == expected


def test_unsigned(registry: Registry) -> None:
    """The published samples are unsigned: read, and refused for that."""
    message = make_unsigned(Saml11Statement(id="_a"))
    found = decide(message, registry).fault
    assert found is not None
    assert (found.code, found.reason.value) == ("wsse:FailedCheck", "signature-missing")


def test_changed_after_signing(pki: Pki, registry: Registry) -> None:
    """Another name in either subject is no longer what was signed."""
    message = make(pki)
    for count in (1, 2):
        changed = message.replace(b"agent-0042", b"agent-0043", count)
        found = decide(changed, registry).fault
        assert found is not None
        assert (found.code, found.reason.value) == ("wsse:FailedCheck", "digest-mismatch")


def test_bearer_and_whitespace(pki: Pki, registry: Registry) -> None:
    """Bearer is accepted too; white space at the ends of issuer and level is trimmed."""
    message = make(pki, method=" urn:oasis:names:tc:SAML:1.0:cm:bearer\n", level=f" {PASSWORD} ")
    assert decide(message, registry).accepted is not None


def issue(directory: Path, pki: Pki, **fields: object) -> IssuedVector:
    """Issue a SAML 1.1 vector."""
    convention = replace(
        CLIENT,
        saml_version="1.1",
        confirmation="sender-vouches",
        levels=(PASSWORD,),
        attributes=frozenset({"commune"}),
    )
    convention = replace(convention, **fields)
    request = VectorRequest(
        convention="client",
        subject="Amélie <D&D>",
        pagms=("PAGM_GESTION", "PAGM_CONSULTATION"),
        attributes={"commune": ("Évry", "Paris")},
    )

    async def run() -> IssuedVector:
        async with make_room(directory, {"signer": pki.leaf}, convention) as room:
            return await room.issue.issue(request, CONTEXT)

    return asyncio.run(run())


@pytest.mark.parametrize("key_info", ["chain", "leaf"])
def test_ours_hold_for_others(pki: Pki, tmp_path: Path, key_info: str) -> None:
    """What we emit holds for libxmlsec, libxml2 reads from it what was asked, and the order is the schema's."""
    octets = issue(tmp_path, pki, key_info=key_info).vector.assertion.octets
    assert holds(octets, pki.leaf)
    assert not holds(octets.replace("Amélie".encode(), b"Amelia"), pki.leaf)
    root = etree.fromstring(octets)
    assert [etree.QName(child).localname for child in root] == [
        *("Conditions", "AuthenticationStatement", "AttributeStatement"),
        "Signature",
    ]
    assert root.get("AssertionID", "").startswith("_")
    names = root.xpath("//s:NameIdentifier/text()", namespaces=SAML11)
    assert names == ["Amélie <D&D>"] * 2
    pagms = root.xpath(
        "//s:Attribute[@AttributeName='PAGM']/s:AttributeValue/text()", namespaces=SAML11
    )
    assert pagms == ["PAGM_GESTION", "PAGM_CONSULTATION"]
    certificates = root.xpath("count(//*[local-name()='X509Certificate'])")
    assert certificates == (4 if key_info == "chain" else 1)
    assert etree.tostring(root, method="c14n", exclusive=True) == octets


def test_ours_hold_for_ourselves(pki: Pki, tmp_path: Path, registry: Registry) -> None:
    """Our own rules accept what we emit, under a convention that takes SAML 1.1 only."""
    octets = issue(tmp_path, pki).vector.assertion.octets
    assert decide(octets, registry).accepted is not None
    pki.write(tmp_path)
    strict = make_registry(
        make_provider(
            tmp_path,
            levels=frozenset({PASSWORD}),
            saml_versions=frozenset({"1.1"}),
            confirmations={"1.1": frozenset({"sender-vouches"})},
        )
    )
    assert decide(octets, strict).accepted is not None
