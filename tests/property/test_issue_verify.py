"""What we issue holds for others and for ourselves; what was tampered with holds for nobody."""

import asyncio
import base64
import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import xmlsec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings, strategies as st
from lxml import etree

from appliance.conventions.registry import Registry
from appliance.errors import MalformedRequest
from appliance.operations.judge import Judgement, Question, judge
from appliance.operations.verify import verdict_of
from appliance.vectors.characters import is_xml_text
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import make_room
from tests.messages import DS, MORE
from tests.partners import CLIENT, CONTEXT, make_provider, make_registry
from tests.pki import NOW, Holder, ec_key, make_pki, write_pem

PKI = make_pki("partner")
HOLDERS = {"signer": PKI.leaf, "ec-signer": PKI.certify_leaf("ec", ec_key("signer"))}
PAGMS = ("PAGM_CONSULTATION", "PAGM_GESTION", "ROLE_TOUS;FULL", "a&b<c>\"d'", "é😀")
CLIENTS = [
    replace(
        CLIENT,
        id=f"{family}{bits}-{style}",
        pagms=frozenset(PAGMS),
        id_style=style,
        key="signer" if family == "rsa" else "ec-signer",
        signature_algorithm=f"{MORE}{family}-sha{bits}",
    )
    for family, bits in (("rsa", 256), ("rsa", 384), ("rsa", 512), ("ecdsa", 256))
    for style in ("uuid", "xs-id")
]

texts = st.text(min_size=1, max_size=40).filter(
    lambda text: is_xml_text(text) and text.strip() and text != CLIENT.no_user
)
requests = st.builds(
    VectorRequest,
    convention=st.sampled_from([client.id for client in CLIENTS]),
    subject=st.none() | texts,
    pagms=st.lists(st.sampled_from(PAGMS), min_size=1, unique=True).map(tuple),
    authn_context=st.none() | st.sampled_from(CLIENT.levels),
    authn_instant=st.none() | st.just("2026-03-02T10:30:00.5+01:00"),
    attributes=st.dictionaries(
        st.just("service"), st.lists(texts, min_size=1, max_size=3).map(tuple)
    ),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the partner's trust lies."""
    directory = tmp_path_factory.mktemp("partner")
    PKI.write(directory)
    for name, holder in HOLDERS.items():
        write_pem(directory / f"{name}-leaf.pem", holder)
    return directory


@pytest.fixture(scope="module")
def registry(directory: Path) -> Registry:
    """The partner's convention, as strict as ours allows."""
    return make_registry(
        make_provider(
            directory,
            levels=frozenset(CLIENT.levels),
            pagms=frozenset(PAGMS),
            skew=0.0,
            maximum_lifetime=CLIENT.lifetime + CLIENT.back_dating,
        )
    )


def issue(directory: Path, *wanted: VectorRequest) -> list[IssuedVector]:
    """Issue vectors, all of which must be granted."""

    async def run() -> list[IssuedVector]:
        async with make_room(directory, HOLDERS, *CLIENTS) as room:
            results = await room.issue.issue_batch(wanted, CONTEXT)
            return [result for result in results if isinstance(result, IssuedVector)]

    issued = asyncio.run(run())
    assert len(issued) == len(wanted)
    return issued


def holder_of(issued: IssuedVector) -> Holder:
    """The key that must have signed."""
    return HOLDERS[issued.vector.unsigned.request.key]


@given(requests)
def test_others_accept_what_we_issue(directory: Path, request_: VectorRequest) -> None:
    """libxmlsec, and `cryptography` over what libxml2 canonicalises, accept every vector we issue; it states what was asked."""
    [issued] = issue(directory, request_)
    octets = issued.vector.assertion.octets
    check_with_xmlsec(octets, directory / f"{issued.vector.unsigned.request.key}-leaf.pem")
    check_with_cryptography(octets, holder_of(issued))
    root = etree.fromstring(octets)
    saml = {"s": "urn:oasis:names:tc:SAML:2.0:assertion"}
    pagms = root.xpath("//s:Attribute[@Name='PAGM']/s:AttributeValue", namespaces=saml)
    assert tuple(pagm.text for pagm in pagms) == request_.pagms
    name_id = root.findtext(".//s:NameID", namespaces=saml)
    assert name_id == (CLIENT.no_user if request_.subject is None else request_.subject)


@given(requests)
def test_our_rules_accept_what_we_issue(
    directory: Path, registry: Registry, request_: VectorRequest
) -> None:
    """The partner's strict convention accepts every vector we issue, and reads from it what was asked."""
    [issued] = issue(directory, request_)
    accepted = decide(issued.vector.assertion.octets, registry).accepted
    assert accepted is not None
    assert accepted.pagms == request_.pagms
    vector = accepted.vector
    assert vector.assertion_id == issued.vector.unsigned.assertion_id
    assert vector.name_id == issued.vector.unsigned.request.name_id
    assert vector.attributes == request_.attributes
    assert vector.level == issued.vector.unsigned.request.level
    assert vector.variant == "A"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a certificate can be made odd, too
@settings(max_examples=300)
@given(st.data())
def test_a_changed_octet_changes_no_meaning(
    directory: Path, registry: Registry, issued_once: IssuedVector, data: st.DataObject
) -> None:
    """With any octet changed the vector is refused, or it states the same (KeyInfo is not signed; it may carry more or less)."""
    assert directory.exists()
    octets = issued_once.vector.assertion.octets
    at = data.draw(st.integers(0, len(octets) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != octets[at]))
    try:
        judgement = decide(octets[:at] + bytes([other]) + octets[at + 1 :], registry)
    except MalformedRequest:
        return
    if judgement.accepted is not None:
        original = decide(octets, registry).accepted
        assert original is not None
        assert judgement.accepted.vector.octets.octets == original.vector.octets.octets


@pytest.fixture(scope="module")
def issued_once(directory: Path) -> IssuedVector:
    """One vector to tamper with."""
    [issued] = issue(
        directory, VectorRequest("rsa256-xs-id", subject="agent-0042", pagms=PAGMS[:2])
    )
    return issued


def test_faults_of_what_is_wrong(
    directory: Path, registry: Registry, issued_once: IssuedVector
) -> None:
    """Altered, unsigned, expired, not yet valid, for another service, of an unknown issuer: each has its fault."""
    octets = issued_once.vector.assertion.octets
    start, end = octets.index(b"<ds:Signature "), octets.index(b"</ds:Signature>") + 15
    other_issuer = make_registry(make_provider(directory, issuer="urn:somebody:else"))
    other_service = make_registry(make_provider(directory, audience="http://elsewhere.example"))
    cases = [
        (octets.replace(b"agent-0042", b"agent-0043"), registry, 0, "wsse:FailedCheck"),
        (octets[:start] + octets[end:], registry, 0, "wsse:FailedCheck"),
        (octets, registry, 3600, "vi:InvalidVI"),
        (octets, registry, -11, "vi:InvalidVI"),
        (octets, other_service, 0, "vi:InvalidService"),
        (octets, other_issuer, 0, "vi:InvalidIssuer"),
    ]
    found = [
        fault_of_judgement(decide(message, conventions, seconds))
        for message, conventions, seconds, _ in cases
    ]
    assert found == [expected for *_, expected in cases]


def test_xmlsec1_accepts_a_sample(directory: Path, tmp_path: Path) -> None:
    """The command-line tool, with its own reading of IDs, accepts a vector of every kind we can issue."""
    wanted = [VectorRequest(client.id, subject="agent <é>", pagms=PAGMS) for client in CLIENTS]
    for issued in issue(directory, *wanted):
        file = tmp_path / f"{issued.receipt.index}.xml"
        file.write_bytes(issued.vector.assertion.octets)
        leaf = directory / f"{issued.vector.unsigned.request.key}-leaf.pem"
        done = subprocess.run(
            [
                *("xmlsec1", "--verify", "--pubkey-cert-pem", str(leaf)),
                *("--id-attr:ID", "urn:oasis:names:tc:SAML:2.0:assertion:Assertion", str(file)),
            ],
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr.decode()


def decide(octets: bytes, registry: Registry, seconds: float = 0) -> Judgement:
    """Judge a message so many seconds after it was issued."""
    return judge(Question(octets), registry, NOW + timedelta(seconds=seconds))


def fault_of_judgement(judgement: Judgement) -> str:
    """The code of a refusal."""
    fault = verdict_of(judgement).fault
    return "accepted" if fault is None else fault.code


def check_with_xmlsec(octets: bytes, leaf: Path) -> None:
    """Verify with libxmlsec through python-xmlsec; it raises when it does not hold."""
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(leaf), xmlsec.constants.KeyDataFormatCertPem)
    context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))


def check_with_cryptography(octets: bytes, holder: Holder) -> None:
    """Verify digest and signature over what libxml2 canonicalises."""
    root = etree.fromstring(octets)
    signature = root.find(f"{{{DS}}}Signature")
    assert signature is not None
    text = {
        name: signature.findtext(f".//{{{DS}}}{name}") for name in ("DigestValue", "SignatureValue")
    }
    method = signature.find(f".//{{{DS}}}SignatureMethod")
    assert method is not None
    hash_name = method.get("Algorithm", "").rpartition("-")[2]
    signed_info = etree.tostring(
        signature.find(f"{{{DS}}}SignedInfo"), method="c14n", exclusive=True
    )
    value = base64.b64decode(text["SignatureValue"] or "")
    algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    public_key = x509.load_der_x509_certificate(holder.certificate).public_key()
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(value, signed_info, padding.PKCS1v15(), algorithm[hash_name])
    else:
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        half = len(value) // 2
        der = encode_dss_signature(
            int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
        )
        public_key.verify(der, signed_info, ec.ECDSA(algorithm[hash_name]))
        with pytest.raises(InvalidSignature):
            public_key.verify(der, signed_info + b" ", ec.ECDSA(algorithm[hash_name]))
    root.remove(signature)
    canonical = etree.tostring(root, method="c14n", exclusive=True)
    digest = base64.b64encode(hashlib.new(hash_name, canonical).digest()).decode()
    assert text["DigestValue"] == digest
