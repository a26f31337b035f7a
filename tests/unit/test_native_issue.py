"""The issuing half of the extension: contents, profiles, and a signature that is spliced once and only if it verifies."""

import base64
import copy
import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

from appliance import native
from tests.contents import FIELDS, make_content, make_profile, sign_digest
from tests.messages import DIGESTS, DS, MORE, Signing, make_vector
from tests.pki import HashName, Holder, Pki, ec_key, make_pki, rsa_key

SAML = {"s": "urn:oasis:names:tc:SAML:2.0:assertion", "ds": DS}
PLACES = {
    "id": "@ID",
    "issue_instant": "@IssueInstant",
    "issuer": "s:Issuer/text()",
    "name_id": "s:Subject/s:NameID/text()",
    "name_id_format": "s:Subject/s:NameID/@Format",
    "recipient": "//s:SubjectConfirmationData/@Recipient",
    "audience": "s:Conditions/s:AudienceRestriction/s:Audience/text()",
    "not_before": "s:Conditions/@NotBefore",
    "not_on_or_after": "s:Conditions/@NotOnOrAfter",
    "authn_instant": "s:AuthnStatement/@AuthnInstant",
    "authn_context": "//s:AuthnContextClassRef/text()",
}


@pytest.fixture(scope="module")
def pki() -> Pki:
    """Who certifies our keys."""
    return make_pki("partner")


@pytest.fixture(scope="module", params=["rsa", "ec"])
def holder(pki: Pki, request: pytest.FixtureRequest) -> Holder:
    """A key of each kind."""
    return pki.leaf if request.param == "rsa" else pki.certify_leaf("ec", ec_key("signer"))


def issue(holder: Holder, **fields: object) -> bytes:
    """Issue one vector."""
    prepared = native.prepare(make_content(**fields), make_profile(holder))
    return prepared.splice(sign_digest(holder, prepared.digest)).octets


def test_every_field_stands_in_its_place(holder: Holder) -> None:
    """What the content states is what lxml reads, each in its element or attribute, PAGMs and attributes in order."""
    octets = issue(holder, pagms=["B", "A"], attributes={"z": ["1", "2"], "a": [""]})
    root = etree.fromstring(octets)
    for field, place in PLACES.items():
        assert root.xpath(place, namespaces=SAML) == [FIELDS[field]], field
    named = [
        (attribute.get("Name"), [value.text or "" for value in attribute])
        for attribute in root.iterfind("s:AttributeStatement/s:Attribute", SAML)
    ]
    assert named == [("PAGM", ["B", "A"]), ("z", ["1", "2"]), ("a", [""])]


def test_a_vector_is_written_canonical(holder: Holder) -> None:
    """The octets are their own canonical form, with the Signature behind Issuer and without it."""
    octets = issue(holder, name_id="<a>&\"'\r\n\t", attributes={'&"<\n': ["]]>"]})
    assert native.c14n(octets) == octets
    root = etree.fromstring(octets)
    assert [etree.QName(child).localname for child in root][:3] == [
        "Issuer",
        "Signature",
        "Subject",
    ]
    start, end = octets.index(b"<ds:Signature "), octets.index(b"</ds:Signature>") + 15
    unsigned = octets[:start] + octets[end:]
    assert native.c14n(unsigned) == unsigned
    digest = root.findtext(".//ds:DigestValue", "", SAML)
    assert base64.b64decode(digest) == hashlib.sha256(unsigned).digest()


@pytest.mark.parametrize("field", [*FIELDS, "pagms", "attributes"])
@pytest.mark.parametrize("character", ["\0", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_characters_xml_cannot_carry_are_refused(field: str, character: str) -> None:
    """A control character, a noncharacter or half a surrogate pair is refused before anything is written."""
    value = f"a{character}b"
    wrapped = {"pagms": [value], "attributes": {"name": [value]}}.get(field, value)
    with pytest.raises(ValueError, match=rf"ID|{field}|surrogates"):
        make_content(**{field: wrapped})


@pytest.mark.parametrize("name", ["", "a b", "a#b", "a/b", 'a"b', "a&b", "a\nb"])
def test_an_id_that_is_no_name_is_refused(name: str) -> None:
    """The Reference is `#` and the ID: nothing may stand in it that could be read in two ways."""
    with pytest.raises(ValueError, match="not usable as an ID"):
        make_content(id=name)


def test_pagms_have_one_place() -> None:
    """PAGM cannot come a second time among the other attributes."""
    with pytest.raises(ValueError, match="PAGM"):
        make_content(attributes={"PAGM": ["PAGM_ADMIN"]})


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"pagms": "PAGM_GESTION"}, TypeError),
        ({"pagms": [1]}, TypeError),
        ({"attributes": [("a", ["b"])]}, TypeError),
        ({"attributes": {"a": "b"}}, TypeError),
        ({"issuer": None}, TypeError),
        ({"issuer": b"urn:x"}, TypeError),
        ({"unknown": "x"}, TypeError),
    ],
)
def test_content_of_a_wrong_type_is_refused(fields: dict, error: type[Exception]) -> None:
    """A string is not taken for a list, nor octets for text; an unknown field is an error."""
    with pytest.raises(error):
        make_content(**fields)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_profile_knows_its_hash(holder: Holder, hash_name: HashName) -> None:
    """The digest the HSM signs is that of SignedInfo, with the hash the profile names."""
    profile = make_profile(holder, hash_name)
    prepared = native.prepare(make_content(), profile)
    assert profile.hash_name == hash_name
    assert prepared.digest == hashlib.new(hash_name, prepared.signed_info).digest()
    assert native.c14n(prepared.signed_info) == prepared.signed_info
    octets = prepared.splice(sign_digest(holder, prepared.digest, hash_name)).octets
    assert prepared.signed_info.replace(f' xmlns:ds="{DS}"'.encode(), b"", 1) in octets


def test_a_vector_carries_its_certificates(pki: Pki) -> None:
    """KeyInfo holds the whole chain, leaf first."""
    received = native.locate(issue(pki.leaf)).assertion
    assert received is not None
    assert received.signature_claim().certificates == pki.leaf.chain


def test_an_unusable_profile_is_refused(pki: Pki) -> None:
    """SHA-1, an unknown algorithm, a key of another kind, too small or unreadable, no certificate: each says which."""
    small = Holder(rsa_key("small", 1024), pki.leaf.certificate, None)
    for fields, said in [
        ({"signature_algorithm": f"{DS}rsa-sha1"}, "signature algorithm"),
        ({"signature_algorithm": "urn:unknown"}, "signature algorithm"),
        ({"signature_algorithm": f"{MORE}hmac-sha256"}, "signature algorithm"),
        ({"digest_algorithm": DIGESTS["sha1"]}, "digest algorithm"),
        ({"digest_algorithm": ""}, "digest algorithm"),
        ({"signature_algorithm": f"{MORE}ecdsa-sha256"}, "public key is not for this algorithm"),
        ({"public_key": small.public_key}, "allowed size"),
        ({"public_key": b"no key"}, "cannot be read"),
        ({"public_key": pki.leaf.public_key + b"\0"}, "cannot be read"),
        ({"certificates": []}, "certificate"),
    ]:
        with pytest.raises(ValueError, match=said):
            make_profile(pki.leaf, **fields)


def test_a_signature_is_spliced_once(holder: Holder) -> None:
    """The first good signature makes the vector; a second call is refused, even with the same signature."""
    prepared = native.prepare(make_content(), make_profile(holder))
    signature = sign_digest(holder, prepared.digest)
    signed = prepared.splice(signature)
    assert signed.sha256 == hashlib.sha256(signed.octets).digest()
    with pytest.raises(native.AlreadySpliced):
        prepared.splice(signature)


def test_only_a_signature_that_verifies_is_released(holder: Holder) -> None:
    """A faulty signature (a CRT fault would leak the key), or one of something else, makes no vector, now or later."""
    profile = make_profile(holder)
    signature = sign_digest(holder, native.prepare(make_content(), profile).digest)
    faulty = [
        bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]])
        for at in (0, len(signature) // 2, len(signature) - 1)
    ]
    other = sign_digest(holder, hashlib.sha256(b"something else").digest())
    cut = [signature[:-1], signature + b"\0", b"", bytes(len(signature))]
    for wrong in (*faulty, other, *cut):
        prepared = native.prepare(make_content(), profile)
        with pytest.raises(native.SignatureRefused) as raised:
            prepared.splice(wrong)
        assert raised.value.reason == "signature-invalid"
        with pytest.raises(native.AlreadySpliced):
            prepared.splice(signature)


def test_a_signature_is_taken_on_trust_of_an_ecdsa_key_only(holder: Holder) -> None:
    """On trust an ECDSA signature of the right width is put in its place unverified; of another width, or RSA, none is."""
    profile = make_profile(holder)
    signature = sign_digest(holder, native.prepare(make_content(), profile).digest)
    wrong = bytes([signature[0] ^ 1, *signature[1:]])
    prepared = native.prepare(make_content(), profile)
    if len(signature) == 64:
        octets = prepared.splice(wrong, on_trust=True).octets
        assert base64.b64encode(wrong) in octets.replace(b"\n", b"")
    else:
        with pytest.raises(native.SignatureRefused):
            prepared.splice(wrong, on_trust=True)
    for other in (signature[:-1], signature + b"\0", b""):
        with pytest.raises(native.SignatureRefused):
            native.prepare(make_content(), profile).splice(other, on_trust=True)


def test_another_keys_signature_is_not_released(pki: Pki) -> None:
    """A signature that is right, but not by the certified key, makes no vector."""
    stranger = Holder(rsa_key("stranger"), pki.leaf.certificate, None)
    prepared = native.prepare(make_content(), make_profile(pki.leaf))
    with pytest.raises(native.SignatureRefused):
        prepared.splice(sign_digest(stranger, prepared.digest))


def test_an_ecdsa_signature_is_r_and_s(pki: Pki) -> None:
    """XMLDSig carries r‖s (RFC 6931 2.3.6): the same numbers as DER are refused."""
    holder = pki.certify_leaf("ec", ec_key("signer"))
    prepared = native.prepare(make_content(), make_profile(holder))
    raw = sign_digest(holder, prepared.digest)
    r, s = (int.from_bytes(raw[at : at + 32], "big") for at in (0, 32))
    with pytest.raises(native.SignatureRefused):
        prepared.splice(encode_dss_signature(r, s))


def test_threads_cannot_splice_twice(pki: Pki) -> None:
    """Of many threads that splice the same prepared signature at once, one makes the vector."""
    prepared = native.prepare(make_content(), make_profile(pki.leaf))
    signature = sign_digest(pki.leaf, prepared.digest)
    together = Barrier(8)

    def splice() -> bool:
        together.wait(10)
        try:
            prepared.splice(signature)
        except native.AlreadySpliced:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: splice(), range(8))) == 1


def test_a_batch_is_prepared_as_one_by_one(holder: Holder) -> None:
    """Many in one crossing give what each alone gives, in order; none gives none."""
    profile = make_profile(holder)
    contents = [make_content(name_id=f"agent-{at}") for at in range(5)]
    batch = native.prepare_batch(contents, profile)
    assert [each.signed_info for each in batch] == [
        native.prepare(content, profile).signed_info for content in contents
    ]
    assert len({each.digest for each in batch}) == len(contents)
    assert native.prepare_batch([], profile) == []


def test_what_proves_something_cannot_be_made(pki: Pki) -> None:
    """Python can neither construct, derive, copy, pickle nor change a type that proves what the extension did."""
    profile = make_profile(pki.leaf)
    prepared = native.prepare(make_content(), profile)
    signed = prepared.splice(sign_digest(pki.leaf, prepared.digest))
    message = native.locate(signed.octets)
    received = message.assertion
    assert received is not None
    claim = received.signature_claim()
    verified = claim.verify(lambda _: pki.leaf.public_key)
    for proof in (prepared, signed, message, received, claim, verified, verified.read()):
        kind = type(proof)
        for make in (
            kind,
            lambda kind=kind: object.__new__(kind),
            lambda kind=kind: type("Forged", (kind,), {}),
            lambda proof=proof: copy.copy(proof),
            lambda proof=proof: pickle.dumps(proof),
        ):
            with pytest.raises(TypeError):
                make()
        with pytest.raises((AttributeError, TypeError)):
            proof.octets = b"forged"


def test_others_vectors_and_ours_verify_alike(pki: Pki) -> None:
    """A vector made without the extension and one made by it go through the same door."""
    for octets in (issue(pki.leaf), make_vector(Signing(pki.leaf))):
        received = native.locate(octets).assertion
        assert received is not None
        verified = received.signature_claim().verify(lambda _: pki.leaf.public_key)
        assert verified.read().pagms == ["PAGM_CONSULTATION"]
