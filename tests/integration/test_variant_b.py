"""Emitting variant B, which old partners send and expect (DOMAIN 2.4), in both versions of SAML."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from appliance.operations.judge import Question, judge
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import make_room
from tests.messages import wrap
from tests.partners import CLIENT, CONTEXT, make_partner
from tests.pki import NOW, Pki, make_pki


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


def issue(directory: Path, pki: Pki, **fields: object) -> IssuedVector:
    """Issue a vector of variant B."""
    convention = replace(CLIENT, variant="B", **fields)

    async def run() -> IssuedVector:
        async with make_room(directory, {"signer": pki.leaf}, convention) as room:
            request = VectorRequest("client", subject="Zoé <Z>", pagms=("PAGM_GESTION",))
            return await room.issue.issue(request, CONTEXT)

    return asyncio.run(run())


def holds(octets: bytes, pki: Pki) -> bool:
    """Whether libxmlsec finds the signature good."""
    root = etree.fromstring(octets)
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(
        pki.leaf.public_key, xmlsec.constants.KeyDataFormatDer, None
    )
    try:
        context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))
    except xmlsec.Error:
        return False
    return True


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"saml_version": "1.1", "confirmation": "sender-vouches"},
        {"key_info": "leaf"},
        {"id_style": "uuid"},
    ],
    ids=["2.0", "1.1", "leaf", "uuid"],
)
def test_variant_b_holds_alone_and_not_in_place(
    pki: Pki, tmp_path: Path, fields: dict[str, object]
) -> None:
    """The Signature is last, its Reference empty; libxmlsec accepts it as a document of its own, and not inside the envelope."""
    octets = issue(tmp_path, pki, **fields).vector.assertion.octets
    root = etree.fromstring(octets)
    assert etree.QName(root[-1]).localname == "Signature"
    assert root.xpath("string(//*[local-name()='Reference']/@URI)") == ""
    assert holds(octets, pki)
    assert not holds(octets.replace(b"PAGM_GESTION", b"PAGM_AUTRE"), pki)
    assert not holds(wrap(octets), pki)


@pytest.mark.parametrize("version", ["2.0", "1.1"])
def test_variant_b_is_accepted_where_it_is_taken(pki: Pki, tmp_path: Path, version: str) -> None:
    """A provider that takes variant B accepts it, alone and in SOAP; one that does not refuses its shape."""
    octets = issue(tmp_path, pki, saml_version=version).vector.assertion.octets
    taking = make_partner(tmp_path / "a", pki, variants=frozenset({"A", "B"}))
    for message in (octets, wrap(octets)):
        judgement = judge(Question(message), taking, NOW)
        assert judgement.accepted is not None
        assert judgement.accepted.vector.variant == "B"
    refusing = make_partner(tmp_path / "b", pki)
    refusal = judge(Question(octets), refusing, NOW).refusal
    assert refusal is not None
    assert refusal.reason.value == "signature-profile"
