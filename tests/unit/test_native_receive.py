"""The receiving half of the extension: isolating, claims, trust by callback, and reading only what was verified."""

import hashlib
from dataclasses import dataclass

import pytest

from appliance import native
from tests.messages import (
    AUDIENCE,
    BEARER,
    DIGESTS,
    DS,
    ISSUER,
    LEVEL,
    MORE,
    RECIPIENT,
    UNSPECIFIED,
    Signing,
    Statement,
    make_unsigned,
    make_vector,
    wrap,
)
from tests.pki import Pki, ec_key, make_pki, rsa_key


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


def isolate(octets: bytes) -> native.ReceivedAssertion:
    """Isolate the assertion that must be there."""
    received = native.locate(octets).assertion
    assert received is not None
    return received


def verify(pki: Pki, octets: bytes, **policy: bool) -> native.VerifiedOctets:
    """Verify with the partner's key."""
    return isolate(octets).signature_claim().verify(lambda _: pki.leaf.public_key, **policy)


def test_kinds_of_messages(pki: Pki) -> None:
    """An assertion alone, in SOAP 1.1, in SOAP 1.2, and anything else that is well-formed."""
    vector = make_vector(Signing(pki.leaf))
    saml1 = b'<Assertion xmlns="urn:oasis:names:tc:SAML:1.0:assertion"/>'
    messages = [vector, saml1, wrap(vector), wrap(vector, "1.2"), b"<a/>"]
    kinds = [native.locate(octets).kind for octets in messages]
    assert kinds == ["assertion", "assertion", "soap11", "soap12", "other"]
    assert native.locate(b"<a/>").assertion is None
    assert [native.locate(octets).fault for octets in messages] == [None] * 5


def test_faults_of_messages(pki: Pki) -> None:
    """A SOAP message without exactly one assertion says what it lacks or has twice, and yields none."""
    vector = make_vector(Signing(pki.leaf))
    message = wrap(vector)
    start, end = message.index(b"  <wsse:Security"), message.index(b"</wsse:Security>") + 16
    security = message[start:end]
    header = b" <soapenv:Header>" + message[message.index(b"<soapenv:Header>") + 16 : end]
    cases = [
        (message.replace(b"soapenv:Header>", b"soapenv:Other>"), "soap-header-missing"),
        (message.replace(security, b""), "security-header-missing"),
        (message.replace(security, security * 2), "several-security-headers"),
        (
            message.replace(header, header + b"</soapenv:Header>" + header),
            "several-security-headers",
        ),
        (message.replace(vector, b""), "assertion-missing"),
        (message.replace(vector, vector * 2), "several-assertions"),
    ]
    for octets, fault in cases:
        located = native.locate(octets)
        assert (located.kind, located.fault, located.assertion) == ("soap11", fault, None)


def test_the_assertion_is_isolated_as_it_was_received(pki: Pki) -> None:
    """Its fingerprint is that of its own octets, alone or in a message; the claimed Issuer is a trimmed hint."""
    vector = make_vector(Signing(pki.leaf), issuer=f"\n {ISSUER} ")
    for octets in (vector, wrap(vector), wrap(vector, "1.2")):
        received = isolate(octets)
        assert received.sha256 == hashlib.sha256(vector).digest()
        assert received.claimed_issuer == ISSUER
    assert isolate(make_unsigned(issuer=None)).claimed_issuer is None


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"version": None}, "Version"),
        ({"version": "1.1"}, "Version"),
        ({"id": None}, "ID"),
        ({"issue_instant": None}, "IssueInstant"),
        ({"issuer": None}, "Issuer"),
        ({"issuer": " "}, "Issuer"),
    ],
)
def test_a_missing_part_is_named(missing: dict, said: str) -> None:
    """A mandatory part that is absent, empty or of another version is named."""
    received = isolate(make_unsigned(Statement(id="_1"), **missing))
    with pytest.raises(native.StructureRefused, match=said) as raised:
        received.check_structure()
    assert raised.value.reason == "structure-invalid"


def test_a_whole_structure_is_accepted() -> None:
    """With every mandatory part there is nothing to say."""
    assert isolate(make_unsigned(Statement(id="_1"))).check_structure() is None


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("family", ["rsa", "ec"])
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_good_signature_yields_what_it_covers(
    pki: Pki, variant: str, family: str, hash_name: str
) -> None:
    """Both variants where allowed, each key and hash: the claim says how it was made, verification returns the signed octets."""
    holder = pki.leaf if family == "rsa" else pki.certify_leaf("ec", ec_key("signer"))
    signing = Signing(holder, variant, hash_name)
    claim = isolate(wrap(make_vector(signing, id="_1"))).signature_claim()
    assert claim.variant == variant
    assert claim.certificates == holder.chain
    method = "rsa" if family == "rsa" else "ecdsa"
    assert claim.signature_algorithm == f"{MORE}{method}-{hash_name}"
    assert claim.digest_algorithm == DIGESTS[hash_name]
    verified = claim.verify(lambda _: holder.public_key, allow_variant_b=variant == "B")
    assert b"Signature" not in verified.octets
    assert native.c14n(verified.octets) == verified.octets
    assert verified.read().id == "_1"


@dataclass(frozen=True)
class Refusal:
    """A signature that must be refused, and why."""

    reason: str
    octets: bytes


def refusals(pki: Pki) -> list[Refusal]:
    """One or more for every reason the stub promises."""
    good = make_vector(Signing(pki.leaf), id="_1")
    start, end = good.index(b"<ds:Signature "), good.index(b"</ds:Signature>") + 15
    signature = good[start:end]
    value = good[good.index(b"<ds:SignatureValue>") + 19 : good.index(b"</ds:SignatureValue>")]
    transform = f'<ds:Transform Algorithm="{DS}enveloped-signature"/>'.encode()
    certificate = good[
        good.index(b"<ds:X509Certificate>") + 20 : good.index(b"</ds:X509Certificate>")
    ]
    small = Signing(pki.certify_leaf("small", rsa_key("small", 1024)))
    return [
        Refusal("signature-missing", make_unsigned(Statement(id="_1"))),
        Refusal("several-signatures", good.replace(signature, signature * 2)),
        Refusal("certificate-missing", make_vector(Signing(pki.leaf, has_key_info=False))),
        Refusal("certificate-missing", make_vector(Signing(pki.leaf, certificates=()))),
        Refusal("certificate-invalid", good.replace(certificate, b"%%")),
        Refusal("signature-profile", good.replace(transform, b"")),
        Refusal("signature-profile", good.replace(b'URI="#_1"', b'URI="#_2"')),
        Refusal("signature-profile", good.replace(b'URI="#_1"', b'URI="http://evil.example"')),
        Refusal("algorithm-not-allowed", good.replace(b"rsa-sha256", b"hmac-sha256")),
        Refusal("algorithm-not-allowed", good.replace(b"rsa-sha256", b"ecdsa-sha256")),
        Refusal("algorithm-not-allowed", make_vector(Signing(pki.leaf, hash_name="sha1"))),
        Refusal("digest-mismatch", good.replace(b"agent-0042", b"agent-0043")),
        Refusal("signature-invalid", good.replace(value, value[:-8] + b"AAAAAA==")),
        Refusal("signature-invalid", good.replace(value, b"")),
        Refusal("signature-invalid", make_vector(small)),
    ]


def test_every_refusal_has_its_reason(pki: Pki) -> None:
    """Each of the eight reasons is met, by name, and says in words what is wrong."""
    tried = refusals(pki)
    for refusal in tried:
        with pytest.raises(native.SignatureRefused, match=r"\w+ \w+") as raised:
            verify(pki, refusal.octets)
        assert raised.value.reason == refusal.reason, raised.value
    assert {refusal.reason for refusal in tried} == {
        "signature-missing",
        "several-signatures",
        "certificate-missing",
        "certificate-invalid",
        "signature-profile",
        "algorithm-not-allowed",
        "digest-mismatch",
        "signature-invalid",
    }


@pytest.mark.parametrize(
    ("variant", "hash_name", "reason", "permission"),
    [
        ("A", "sha1", "algorithm-not-allowed", "allow_sha1"),
        ("B", "sha256", "signature-profile", "allow_variant_b"),
    ],
)
def test_legacy_needs_permission(
    pki: Pki, variant: str, hash_name: str, reason: str, permission: str
) -> None:
    """SHA-1 and an empty URI are refused before anybody is asked for a key, and verified where the policy allows them."""
    octets = make_vector(Signing(pki.leaf, variant, hash_name))
    claim = isolate(octets).signature_claim()
    asked = []
    with pytest.raises(native.SignatureRefused) as raised:
        claim.verify(asked.append)
    assert raised.value.reason == reason
    assert asked == []
    assert verify(pki, octets, **{permission: True}).read().pagms == ["PAGM_CONSULTATION"]


def test_trust_is_asked_with_the_certificates(pki: Pki) -> None:
    """The callback receives the chain as it stands in KeyInfo, once."""
    asked = []

    def trust(certificates: list[bytes]) -> bytes:
        asked.append(certificates)
        return pki.leaf.public_key

    isolate(make_vector(Signing(pki.leaf))).signature_claim().verify(trust)
    assert asked == [pki.leaf.chain]


def test_what_trust_raises_passes_through(pki: Pki) -> None:
    """The very exception the callback raises reaches the caller, an exit included."""
    claim = isolate(make_vector(Signing(pki.leaf))).signature_claim()
    for failure in (LookupError("not trusted"), KeyboardInterrupt(), native.AlreadySpliced("odd")):

        def trust(_: list[bytes], failure: BaseException = failure) -> bytes:
            raise failure

        with pytest.raises(type(failure)) as raised:
            claim.verify(trust)
        assert raised.value is failure


@pytest.mark.parametrize("answer", [None, "key", 1, object()])
def test_trust_must_answer_octets(pki: Pki, answer: object) -> None:
    """A callback that returns no octets is a fault of ours, never an acceptance."""
    claim = isolate(make_vector(Signing(pki.leaf))).signature_claim()
    with pytest.raises(TypeError):
        claim.verify(lambda _: answer)


def test_trust_never_decides_the_signature(pki: Pki) -> None:
    """Whatever key the callback names, only a signature by that key verifies."""
    claim = isolate(make_vector(Signing(pki.leaf))).signature_claim()
    other = pki.certify_leaf("other", rsa_key("other"))
    curve = pki.certify_leaf("ec", ec_key("signer"))
    small = pki.certify_leaf("small", rsa_key("small", 1024))
    for key, reason in [
        (other.public_key, "signature-invalid"),
        (curve.public_key, "algorithm-not-allowed"),
        (small.public_key, "algorithm-not-allowed"),
        (b"", "certificate-invalid"),
        (b"no key", "certificate-invalid"),
        (pki.leaf.certificate, "algorithm-not-allowed"),
    ]:
        with pytest.raises(native.SignatureRefused) as raised:
            claim.verify(lambda _, key=key: key)
        assert raised.value.reason == reason, key[:10]
    assert claim.verify(lambda _: pki.leaf.public_key).read().issuer == ISSUER


def test_fields_are_read_from_what_was_verified(pki: Pki) -> None:
    """Every field of a verified assertion, as written; Issuer, level and PAGM trimmed."""
    vector = make_vector(
        Signing(pki.leaf),
        id="_1",
        issuer=f" {ISSUER}\n",
        level=f" {LEVEL} ",
        pagms=(" PAGM_CONSULTATION ", "PAGM_GESTION"),
        confirmation_not_before="2026-03-02T08:00:00.000Z",
        audiences=(AUDIENCE, f" {AUDIENCE} "),
        attributes=(("service", "7"), ("service", "8"), ("other", " 9 ")),
    )
    fields = verify(pki, vector).read()
    assert (fields.id, fields.issuer, fields.name_id) == ("_1", ISSUER, "agent-0042")
    assert fields.name_id_format == UNSPECIFIED
    assert fields.issue_instant == "2026-03-02T09:59:00.000Z"
    assert fields.confirmation_methods == [BEARER]
    assert fields.confirmation_not_before == "2026-03-02T08:00:00.000Z"
    assert fields.confirmation_not_on_or_after == fields.not_on_or_after
    assert fields.recipient == RECIPIENT
    assert (fields.not_before, fields.not_on_or_after) == (
        "2026-03-02T08:00:00.000Z",
        "2026-03-02T12:00:00.000Z",
    )
    assert fields.audiences == [AUDIENCE, f" {AUDIENCE} "]
    assert fields.authn_instant == "2026-03-02T09:58:00.000Z"
    assert (fields.session_index, fields.authn_context) == (None, LEVEL)
    assert (fields.pagm_attribute_count, fields.pagms) == (1, ["PAGM_CONSULTATION", "PAGM_GESTION"])
    assert fields.attributes == {"service": ["7", "8"], "other": [" 9 "]}


def test_absent_fields_are_none(pki: Pki) -> None:
    """What a signed assertion does not state is None or empty, never a default."""
    vector = make_vector(
        Signing(pki.leaf),
        recipient=None,
        confirmation_not_on_or_after=None,
        not_before=None,
        not_on_or_after=None,
        audiences=(),
        level=None,
        pagms=(),
    )
    fields = verify(pki, vector).read()
    assert fields.recipient is None
    assert fields.confirmation_not_before is None
    assert fields.confirmation_not_on_or_after is None
    assert (fields.not_before, fields.not_on_or_after) == (None, None)
    assert (fields.audiences, fields.pagms, fields.attributes) == ([], [], {})
    assert (fields.authn_instant, fields.authn_context) == (None, None)


def test_a_second_pagm_attribute_is_counted(pki: Pki) -> None:
    """Two attributes named PAGM are told from one with two values."""
    fields = verify(pki, make_vector(Signing(pki.leaf), second_pagm_attribute=("B",))).read()
    assert (fields.pagm_attribute_count, fields.pagms) == (2, ["PAGM_CONSULTATION", "B"])


def test_comments_state_nothing(pki: Pki) -> None:
    """A statement inside a comment is not signed, so nothing is read from it."""
    vector = make_vector(Signing(pki.leaf), authn_in_comment=True)
    verified = verify(pki, vector)
    assert b"AuthnStatement" not in verified.octets
    assert verified.read().authn_context is None
