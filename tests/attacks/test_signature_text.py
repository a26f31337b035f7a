"""A genuine vector whose Signature was touched: a second of something, a comment, an empty value, another encoding of the same number.

Each is one edit of octets that are accepted; nothing here needs the partner's key, unless it says so.
"""

import base64
import hashlib
import re
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from appliance.conventions.registry import Registry
from appliance.native import SignatureRefused, locate, verify_digest
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from tests.messages import DS, MORE, Signing, make_vector
from tests.partners import make_partner
from tests.pki import HASHES, NOW, Holder, Pki, certify, ec_key, make_pki
from tests.wrapping import issue

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
VALUE = re.compile(r"(?<=<ds:SignatureValue>)[^<]*")
DIGEST = re.compile(r"(?<=<ds:DigestValue>)[^<]*")
SIGNED_INFO = re.compile(r"<ds:SignedInfo>.*</ds:SignedInfo>")
SIGNATURE = re.compile(r"<ds:Signature .*</ds:Signature>")


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The partner's convention."""
    return make_partner(tmp_path_factory.mktemp("partner"), pki)


@pytest.fixture(scope="module")
def vector(pki: Pki) -> str:
    """A genuine vector, RSA."""
    return issue(pki.leaf).decode()


@pytest.fixture(scope="module")
def ec_vector(pki: Pki) -> str:
    """A genuine vector, ECDSA on P-256."""
    return issue(pki.certify_leaf("ec", ec_key("signer"))).decode()


def reason(message: str, registry: Registry) -> str:
    """Why a message is refused."""
    fault = verdict_of(judge(Question(message.encode()), registry, NOW)).fault
    return "accepted" if fault is None else fault.reason.value


def put(pattern: re.Pattern[str], edit: Callable[[str], str]) -> Callable[[str], str]:
    """Edit what a pattern finds."""

    def edited(message: str) -> str:
        found = pattern.search(message)
        assert found is not None
        return message[: found.start()] + edit(found[0]) + message[found.end() :]

    return edited


def forged_info(info: str) -> str:
    """A SignedInfo with the digest of something else."""
    return DIGEST.sub(base64.b64encode(hashlib.sha256(b"forged").digest()).decode(), info)


PROFILE = {
    "two SignedInfo, the forged first": put(SIGNED_INFO, lambda it: forged_info(it) + it),
    "two SignedInfo, the forged last": put(SIGNED_INFO, lambda it: it + forged_info(it)),
    "SignedInfo around SignedInfo": put(
        SIGNED_INFO, lambda it: forged_info(it).replace("</ds:SignedInfo>", f"{it}</ds:SignedInfo>")
    ),
    "SignedInfo in something else": put(SIGNED_INFO, lambda it: f"<x>{it}</x>"),
    "no SignedInfo": put(SIGNED_INFO, lambda _: ""),
    "SignedInfo of another namespace": put(
        SIGNED_INFO, lambda it: it.replace("ds:SignedInfo", "SignedInfo")
    ),
    "two SignatureValues": lambda it: it.replace(
        "</ds:SignatureValue>", "</ds:SignatureValue><ds:SignatureValue>AA==</ds:SignatureValue>"
    ),
    "two DigestValues": lambda it: it.replace(
        "</ds:DigestValue>", "</ds:DigestValue><ds:DigestValue>AA==</ds:DigestValue>"
    ),
    "an Object": lambda it: it.replace(
        "</ds:Signature>",
        "<ds:Object><ds:DigestValue>AA==</ds:DigestValue></ds:Object></ds:Signature>",
    ),
    "text in Signature": lambda it: it.replace("</ds:SignedInfo>", "</ds:SignedInfo>x"),
    "text in SignedInfo": lambda it: it.replace("<ds:SignedInfo>", "<ds:SignedInfo>x"),
    "a comment in DigestValue": put(DIGEST, lambda it: f"AAAA<!--{it}-->{it}"),
    "an empty comment in DigestValue": put(DIGEST, lambda it: f"{it[:4]}<!---->{it[4:]}"),
    "an instruction in DigestValue": put(DIGEST, lambda it: f"{it[:4]}<?p?>{it[4:]}"),
    "an element in DigestValue": put(DIGEST, lambda it: f"{it}<x/>"),
    "a comment in SignatureValue": put(VALUE, lambda it: f"{it[:4]}<!--x-->{it[4:]}"),
    "an element in SignatureValue": put(VALUE, lambda it: f"<x>{it}</x>"),
    "a Reference with no URI": lambda it: re.sub(r'<ds:Reference URI="[^"]*"', "<ds:Reference", it),
    "a Reference to nothing": lambda it: re.sub(r'URI="#[^"]*"', 'URI="#"', it),
    "a Reference in percent signs": lambda it: it.replace('URI="#8c', 'URI="#%38c'),
    "a Reference to everything": lambda it: re.sub(r'URI="#[^"]*"', 'URI="#*"', it),
    "a Reference with quotes": lambda it: re.sub(r'URI="#[^"]*"', "URI=\"#x' or '1'='1\"", it),
}
"""What the shape of a signature does not allow; an attacker wants one reader to take the one and another the other."""


@pytest.mark.parametrize("name", PROFILE)
def test_shapes_that_two_readers_read_differently(
    vector: str, registry: Registry, name: str
) -> None:
    """Two of what must stand once, one where it does not belong, a value with something inside: refused before any mathematics."""
    assert reason(vector, registry) == "accepted"
    message = PROFILE[name](vector)
    assert message != vector
    assert reason(message, registry) == "signature-profile"


def test_two_signatures(vector: str, registry: Registry) -> None:
    """Of two Signatures none is chosen, whichever is good and wherever they stand."""
    for edit in (
        lambda it: it + it,
        lambda it: it + forged_info(it),
        lambda it: forged_info(it) + it,
    ):
        assert reason(put(SIGNATURE, edit)(vector), registry) == "several-signatures"
    stranger = SIGNATURE.search(issue(make_pki("stranger").leaf).decode())
    assert stranger is not None
    doubled = vector.replace("</saml2:Assertion>", f"{stranger[0]}</saml2:Assertion>")
    assert reason(doubled, registry) == "several-signatures"


def test_signature_exclusion(vector: str, registry: Registry) -> None:
    """Without Signature, with one in another namespace, in a comment, or deeper than it belongs: not signed."""
    moved = SIGNATURE.search(vector)
    assert moved is not None
    bare = vector.replace(moved[0], "")
    for message in (
        bare,
        vector.replace(f'xmlns:ds="{DS}"', 'xmlns:ds="urn:x"'),
        vector.replace(moved[0], f"<!--{moved[0]}-->"),
        vector.replace(moved[0], f"<![CDATA[{moved[0]}]]>"),
        bare.replace("</saml2:Subject>", f"{moved[0]}</saml2:Subject>"),
        bare.replace("</saml2:Issuer>", f"</saml2:Issuer><saml2:Advice>{moved[0]}</saml2:Advice>"),
    ):
        assert reason(message, registry) == "signature-missing"
    outside = f"<x>{bare}{moved[0]}</x>"
    assert reason(outside, registry) == "not-a-vector"


@pytest.mark.parametrize(
    "digest",
    [
        "",
        " ",
        "AA==",
        base64.b64encode(hashlib.sha256(b"").digest()).decode(),
        "{it}AAAA",
        "{it}=",
        "{it}!",
    ],
)
def test_another_digest(pki: Pki, vector: str, registry: Registry, digest: str) -> None:
    """An empty digest, that of nothing, the right one with something behind it: not what was signed, and if it was, not the digest of the assertion."""
    message = put(DIGEST, lambda it: digest.format(it=it))(vector)
    assert reason(message, registry) == "signature-invalid"
    assert reason(sign_again(message, pki.leaf), registry) == "digest-mismatch"
    assert reason(sign_again(vector, pki.leaf), registry) == "accepted"


def sign_again(message: str, signer: Holder) -> str:
    """Sign the SignedInfo that stands in a message, with RSA."""
    signed_info = SIGNED_INFO.findall(message)[0]
    canonical = signed_info.replace("<ds:SignedInfo>", f'<ds:SignedInfo xmlns:ds="{DS}">', 1)
    value = signer.key.sign(canonical.encode(), padding.PKCS1v15(), HASHES["sha256"])
    return put(VALUE, lambda _: base64.b64encode(value).decode())(message)


def test_an_empty_canonical_form_is_never_signed(pki: Pki, registry: Registry) -> None:
    """Void canonicalization: what has no canonical form is refused, though digest and signature are those of no octets.

    The partner's key signs nothing here but the empty string; a relative namespace makes other canonicalizers fail and go on.
    """
    nothing = hashlib.sha256(b"").digest()
    value = pki.leaf.key.sign(nothing, padding.PKCS1v15(), Prehashed(HASHES["sha256"]))
    message = issue(pki.leaf).decode()
    message = put(DIGEST, lambda _: base64.b64encode(nothing).decode())(message)
    message = put(VALUE, lambda _: base64.b64encode(value).decode())(message)
    assert reason(message, registry) == "signature-invalid"
    for place in ("<saml2:Assertion ", "<ds:SignedInfo ", "<ds:Signature ", "<ds:KeyInfo "):
        relative = message.replace(place.strip() + ">", place + ">")
        relative = relative.replace(place, f'{place}xmlns:r="relative" ', 1)
        assert "relative" in relative
        assert reason(relative, registry) == "signature-profile"


@pytest.mark.parametrize(
    "value", ["", "AA==", "{it}AAAA", "AAAA{it}", "{it}====", "!{it}", "{it}\u00a0", "-{it}"]
)
def test_another_encoding_of_the_signature(
    vector: str, ec_vector: str, registry: Registry, value: str
) -> None:
    """Nothing, too short, too long, with zeros before it, or not quite base64: not the signature."""
    for message in (vector, ec_vector):
        changed = put(VALUE, lambda it: value.format(it=it))(message)
        assert reason(changed, registry) == "signature-invalid"


def test_white_space_in_base64_is_legal(vector: str, registry: Registry) -> None:
    """XML Schema's base64Binary may be broken into lines; nothing else may be in it."""
    broken = put(VALUE, lambda it: f"\n {it[:30]}\r\n\t{it[30:]} ")(vector)
    assert reason(broken, registry) == "accepted"


def test_ecdsa_values_that_are_no_pair(ec_vector: str, registry: Registry) -> None:
    """Zeros, the order, the reverse, DER (RFC 4051 wants r‖s), one octet more: refused."""
    found = VALUE.search(ec_vector)
    assert found is not None
    value = base64.b64decode(found[0])
    r, s = int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big")

    def pair(first: int, second: int, width: int = 32) -> bytes:
        return first.to_bytes(width, "big") + second.to_bytes(width, "big")

    for forged in (
        pair(0, 0),
        pair(r, 0),
        pair(0, s),
        pair(P256_ORDER, P256_ORDER),
        pair(1, 1),
        pair(s, r),
        pair(r, s, 33),
        pair(r, s)[:-1],
        pair(r, s) + b"\0",
        encode_dss_signature(r, s),
        encode_dss_signature(0, 0),
    ):
        message = put(VALUE, lambda _, forged=forged: base64.b64encode(forged).decode())(ec_vector)
        assert reason(message, registry) == "signature-invalid", forged.hex()


def test_the_other_ecdsa_value_changes_nothing(ec_vector: str, registry: Registry) -> None:
    """ECDSA is malleable: (r, -s) holds as well, and says the same of the same ID, so a replay by ID stays a replay."""
    found = VALUE.search(ec_vector)
    assert found is not None
    value = base64.b64decode(found[0])
    other = (P256_ORDER - int.from_bytes(value[32:], "big")).to_bytes(32, "big")
    twin = put(VALUE, lambda _: base64.b64encode(value[:32] + other).decode())(ec_vector)
    verdicts = [
        judge(Question(each.encode()), registry, NOW).accepted for each in (ec_vector, twin)
    ]
    first, second = [None if v is None else v.vector.octets.octets for v in verdicts]
    assert first is not None
    assert first == second


def test_forgery_under_exponent_three() -> None:
    """Bleichenbacher 2006: a cube root that starts like a signature, garbage behind the digest, is no signature."""
    key = rsa.generate_private_key(3, 2048)
    digest = hashlib.sha256(b"vector").digest()
    start = b"\x00\x01" + b"\xff" * 8 + b"\x00" + SHA256_INFO + digest
    least = int.from_bytes(start + bytes(256 - len(start)), "big")
    root = cube_root(least) + 1
    assert (root**3).to_bytes(256, "big").startswith(start)
    holder = certify("three", key, None)
    genuine = key.sign(digest, padding.PKCS1v15(), Prehashed(HASHES["sha256"]))
    method = f"{MORE}rsa-sha256"
    with pytest.raises(SignatureRefused):
        verify_digest(holder.public_key, method, digest, root.to_bytes(256, "big"))
    verify_digest(holder.public_key, method, digest, genuine)


def cube_root(number: int) -> int:
    """The whole part of a cube root."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


@pytest.mark.parametrize("bits", [1024, 1536, 2040])
def test_small_keys(pki: Pki, registry: Registry, bits: int) -> None:
    """RSA below 2048 bits is refused though the partner's own CA certified it: by trust, and by the core whatever trust says."""
    small = certify("small", rsa.generate_private_key(65537, bits), pki.issuing)
    message = make_vector(Signing(small))
    assert reason(message.decode(), registry) == "certificate-invalid"
    received = locate(message).assertion
    assert received is not None
    with pytest.raises(SignatureRefused) as raised:
        received.signature_claim().verify(lambda _: small.public_key)
    assert raised.value.reason == "algorithm-not-allowed"


def test_a_certificate_is_no_text_with_holes(vector: str, registry: Registry, pki: Pki) -> None:
    """A certificate that is not base64, empty, or broken by a comment is no certificate."""
    leaf: Holder = pki.leaf
    encoded = base64.b64encode(leaf.certificate).decode()
    for other in ("", "AA!=", f"{encoded[:8]}<!--x-->{encoded[8:]}", f"<x>{encoded}</x>"):
        message = vector.replace(encoded, other)
        assert reason(message, registry) == "certificate-missing"
