"""Wrapping of what a message signature covers: libxmlsec finds each message good, and here none is, whatever stands where."""

from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from appliance import native
from tests.messages import DS, SOAP, WSSE
from tests.native_signing import Suite
from tests.pki import make_pki, write_pem

PKI = make_pki("partner")
SUITE = Suite(PKI.leaf, "rsa")
FORGED = b"<s:Body><transfer to='attacker'/></s:Body>"
MESSAGE = (
    f'<s:Envelope xmlns:s="{SOAP["1.1"]}"><s:Header/><s:Body><transfer to="agent"/></s:Body></s:Envelope>'
).encode()


@pytest.fixture(scope="module")
def signed() -> bytes:
    """A message whose Timestamp and Body are signed."""
    header = native.SecurityHeader(
        SUITE.issue(), timestamp=("2026-03-02T10:00:00Z", "2026-03-02T10:05:00Z")
    )
    return SUITE.secure(MESSAGE, header, ("timestamp", "body")).octets


def stretch(octets: bytes, start: bytes, end: bytes) -> bytes:
    """What stands from one tag to another."""
    return octets[octets.index(start) : octets.index(end) + len(end)]


def wrap_body(signed: bytes, before: bytes, after: bytes, place: bytes) -> bytes:
    """A forged Body where the Body was, the genuine one between `before` and `after`, put before `place`."""
    genuine = stretch(signed, b"<s:Body", b"</s:Body>")
    forged = signed.replace(genuine, FORGED)
    return forged.replace(place, before + genuine + after + place, 1)


def wrap_timestamp(signed: bytes, fresh: bytes, before: bytes, after: bytes, place: bytes) -> bytes:
    """The genuine Timestamp moved likewise, a fresh one or none in its place."""
    genuine = stretch(signed, b"<wsu:Timestamp", b"</wsu:Timestamp>")
    return signed.replace(genuine, fresh).replace(place, before + genuine + after + place, 1)


ACTOR = f"<w:Security xmlns:w='{WSSE}' s:actor='urn:other'>".encode()
FRESH = (
    b"<wsu:Timestamp xmlns:wsu='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'>"
    b"<wsu:Created>2036-03-02T10:00:00Z</wsu:Created></wsu:Timestamp>"
)
WRAPPED = {
    "body in the Header": lambda signed: wrap_body(signed, b"<x>", b"</x>", b"</s:Header>"),
    "body in the security header": lambda signed: wrap_body(signed, b"", b"", b"</wsse:Security>"),
    "body behind the Body": lambda signed: wrap_body(signed, b"<x>", b"</x>", b"</s:Envelope>"),
    "second Body": lambda signed: wrap_body(signed, b"", b"", b"</s:Envelope>"),
    "body in the forged Body": lambda signed: wrap_body(signed, b"", b"", b"</s:Body>"),
    "body in ds:Object": lambda signed: wrap_body(
        signed, b"<ds:Object>", b"</ds:Object>", b"</ds:Signature></wsse:Security>"
    ),
    "timestamp in another header": lambda signed: wrap_timestamp(
        signed, FRESH, b"<x>", b"</x>", b"</s:Header>"
    ),
    "timestamp for another actor": lambda signed: wrap_timestamp(
        signed, FRESH, ACTOR, b"</w:Security>", b"</s:Header>"
    ),
    "timestamp deeper in the security header": lambda signed: wrap_timestamp(
        signed, b"", b"<x>", b"</x>", b"<wsse:BinarySecurityToken"
    ),
    "second timestamp": lambda signed: wrap_timestamp(signed, FRESH, b"", b"", b"</wsse:Security>"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_part_is_refused(name: str, signed: bytes, tmp_path: Path) -> None:
    """The genuine part still verifies where it was moved, for who looks it up by ID alone."""
    wrapped = WRAPPED[name](signed)
    assert wrapped != signed
    assert is_good_to_xmlsec(wrapped, tmp_path)
    with pytest.raises((native.SignatureRefused, native.MessageRefused)) as refused:
        native.message_signature(wrapped).verify(lambda _: PKI.leaf.public_key)
    assert refused.value.reason in ("signature-profile", "envelope-invalid")


def test_the_message_itself_is_accepted(signed: bytes, tmp_path: Path) -> None:
    """What the shapes above are made of is good to both."""
    assert is_good_to_xmlsec(signed, tmp_path)
    verified = native.message_signature(signed).verify(lambda _: PKI.leaf.public_key)
    assert set(verified.parts) == {"timestamp", "body"}


def test_an_id_that_stands_twice_is_refused(signed: bytes) -> None:
    """Whichever attribute holds it: two readers could find two elements."""
    value = signed[signed.index(b'wsu:Id="Body-') :].split(b'"')[1]
    for attribute in (b"ID", b"Id", b"AssertionID", b"xml:id"):
        twice = signed.replace(
            b"<ds:KeyInfo><wsse:", b"<ds:KeyInfo " + attribute + b'="' + value + b'"><wsse:'
        )
        assert twice != signed
        with pytest.raises(native.SignatureRefused) as refused:
            native.message_signature(twice)
        assert refused.value.reason == "signature-profile"


def is_good_to_xmlsec(octets: bytes, directory: Path) -> bool:
    """Whether libxmlsec finds the message's signature good, wherever it stands."""
    leaf = directory / "leaf.pem"
    write_pem(leaf, PKI.leaf)
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["Id"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(leaf), xmlsec.constants.KeyDataFormatCertPem)
    [signature] = root.findall(f"*/{{{WSSE}}}Security/{{{DS}}}Signature")
    try:
        context.verify(signature)
    except xmlsec.Error:
        return False
    return True
