"""Another stack on either side: OpenSAML accepts every kind of vector we emit, and we verify what OpenSAML and python-xmlsec sign."""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import xmlsec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import make_room
from tests.messages import LEVEL, Statement, make_unsigned, wrap
from tests.partners import CLIENT, CONTEXT, make_partner
from tests.pki import NOW, Pki, make_pki, write_pem
from tests.saml11 import PASSWORD, Saml11Statement
from tests.wss4j import Wss4j

KINDS = {
    f"{version}-{variant}-{style}": replace(
        CLIENT,
        id=f"c-{version}-{variant}-{style}",
        saml_version=version,
        confirmation="bearer" if version == "2.0" else "sender-vouches",
        variant=variant,
        id_style=style,
    )
    for version in ("2.0", "1.1")
    for variant in ("A", "B")
    for style in ("xs-id", "uuid")
}


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@pytest.fixture
def registry(pki: Pki, tmp_path: Path) -> Registry:
    """A convention that takes both versions."""
    return make_partner(tmp_path / "trust", pki, levels=frozenset({LEVEL, PASSWORD}))


def issue_every_kind(directory: Path, pki: Pki) -> list[bytes]:
    """One vector of each kind."""

    async def run() -> list[bytes]:
        async with make_room(directory, {"signer": pki.leaf}, *KINDS.values()) as room:
            wanted = [
                VectorRequest(kind.id, subject="Zoé <Z>", pagms=("PAGM_GESTION",))
                for kind in KINDS.values()
            ]
            issued = await room.issue.issue_batch(wanted, CONTEXT)
            return [
                each.vector.assertion.octets for each in issued if isinstance(each, IssuedVector)
            ]

    return asyncio.run(run())


@pytest.mark.java
@pytest.mark.slow
def test_opensaml_accepts_every_kind_we_emit(wss4j: Wss4j, pki: Pki, tmp_path: Path) -> None:
    """SAML 2.0 and 1.1, variants A and B, both styles of ID: accepted; with a letter of the name changed, or another key, refused."""
    vectors = issue_every_kind(tmp_path, pki)
    assert len(vectors) == len(KINDS)
    changed = [vector.replace("Zoé".encode(), "Zoë".encode()) for vector in vectors]
    verdicts = wss4j.judge_vectors(pki.leaf.certificate, vectors + changed, tmp_path)
    assert verdicts[: len(vectors)] == ["accepted"] * len(vectors), dict(
        zip(KINDS, verdicts, strict=False)
    )
    assert {each.split()[0] for each in verdicts[len(vectors) :]} == {"refused"}
    stranger = wss4j.judge_vectors(make_pki("stranger").leaf.certificate, vectors, tmp_path)
    assert {each.split()[0] for each in stranger} == {"refused"}


@pytest.mark.java
@pytest.mark.slow
def test_we_accept_what_opensaml_signs(
    wss4j: Wss4j, pki: Pki, registry: Registry, tmp_path: Path
) -> None:
    """Vectors that OpenSAML wrote and signed, of both versions, alone and in SOAP, are accepted and read as they were meant."""
    unsigned = [
        make_unsigned(Statement(id="_a1", name_id="Zoé & Cie")),
        make_unsigned(Saml11Statement(id="_a2", name_id="Zoé & Cie")),
    ]
    write_pem(tmp_path / "chain.pem", pki.leaf, *reversed(pki.authorities))
    key = pki.leaf.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signed = wss4j.sign_vectors(key, tmp_path / "chain.pem", unsigned, tmp_path)
    for octets in signed:
        body = octets[octets.index(b"?>") + 2 :] if octets.startswith(b"<?xml") else octets
        for message in (octets, wrap(body)):
            accepted = judge(Question(message), registry, NOW).accepted
            assert accepted is not None
            assert accepted.subject == "Zoé & Cie"
        forged = octets.replace("Zoé".encode(), "Zoë".encode())
        assert judge(Question(forged), registry, NOW).accepted is None


@pytest.mark.parametrize("kind", [Statement, Saml11Statement])
def test_we_accept_what_python_xmlsec_signs(
    pki: Pki, registry: Registry, kind: type[Statement]
) -> None:
    """Vectors that libxmlsec signed through python-xmlsec, its own template and KeyInfo, are accepted."""
    root = etree.fromstring(make_unsigned(kind(id="_x1", name_id="Zoé")))
    name = "AssertionID" if kind is Saml11Statement else "ID"
    xmlsec.tree.add_ids(root, [name])
    signature = xmlsec.template.create(
        root, xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformRsaSha256, ns="ds"
    )
    root.insert(1 if kind is Statement else len(root), signature)
    reference = xmlsec.template.add_reference(
        signature, xmlsec.constants.TransformSha256, uri="#_x1"
    )
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
    xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
    data = xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    xmlsec.template.x509_data_add_certificate(data)
    context = xmlsec.SignatureContext()
    pem = pki.leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatPem, None)
    for certificate in pki.leaf.chain:
        context.key.load_cert_from_memory(certificate, xmlsec.constants.KeyDataFormatCertDer)
    context.sign(signature)
    accepted = judge(Question(etree.tostring(root)), registry, NOW).accepted
    assert accepted is not None
    assert (accepted.subject, accepted.vector.variant) == ("Zoé", "A")


def test_a_strict_provider_takes_what_we_emit(pki: Pki, tmp_path: Path) -> None:
    """What the production provider insists on (DOMAIN 7): a bare UUID, the exact audience, the level without white space, leaf first."""
    octets = dict(zip(KINDS, issue_every_kind(tmp_path, pki), strict=True))["2.0-A-uuid"]
    root = etree.fromstring(octets)
    names = {
        "s": "urn:oasis:names:tc:SAML:2.0:assertion",
        "d": "http://www.w3.org/2000/09/xmldsig#",
    }
    assert str(UUID(root.get("ID"))) == root.get("ID")
    assert root.findtext(".//s:Audience", namespaces=names) == CLIENT.audience
    assert root.findtext(".//s:AuthnContextClassRef", namespaces=names) == CLIENT.levels[0]
    chain = [base64.b64decode(each.text) for each in root.iterfind(".//d:X509Certificate", names)]
    assert chain == pki.leaf.chain
    strict = make_partner(
        tmp_path / "strict",
        pki,
        id_style="uuid",
        skew=0.0,
        maximum_lifetime=7200.0,
        levels=frozenset({CLIENT.levels[0]}),
        unknown_pagms="refuse",
    )
    assert judge(Question(octets), strict, NOW).accepted is not None
