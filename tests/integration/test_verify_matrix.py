"""Every message shape of DOMAIN 11, made by an independent stack with our own PKI, and the fault each one gets."""

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from appliance.conventions.registry import Registry
from appliance.errors import MalformedRequest, Reason
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from tests.messages import (
    AUDIENCE,
    ISSUER,
    LEVEL,
    Signing,
    Statement,
    make_unsigned,
    make_vector,
    wrap,
)
from tests.partners import make_partner, make_provider, make_registry
from tests.pki import NOW, Holder, Pki, certify, ec_key, make_crl, make_pki, rsa_key, write_pem

FAILED_CHECK = "wsse:FailedCheck"
INVALID_TOKEN = "wsse:InvalidSecurityToken"  # noqa: S105 - a fault, not a password
UNAVAILABLE = "wsse:SecurityTokenUnavailable"


@pytest.fixture(scope="module")
def legacy() -> Pki:
    """A PKI as the real ones of 2011: sha1WithRSA throughout, CAs of 2048 bits, a leaf of 4096."""
    return make_pki("legacy", "sha1", 4096)


@pytest.fixture(scope="module")
def legacy_registry(legacy: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A convention as the judge of real messages writes it: SHA-1 as legacy, bare UUIDs."""
    return make_partner(tmp_path_factory.mktemp("legacy"), legacy, allow_sha1=True, id_style="uuid")


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A PKI of today."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A convention of today."""
    return make_partner(tmp_path_factory.mktemp("partner"), pki)


@pytest.fixture(scope="module")
def registries(
    pki: Pki, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Registry]:
    """By variant: the convention of today, and one that says legacy, which B needs."""
    legacy = make_partner(tmp_path_factory.mktemp("variant-b"), pki, allow_sha1=True)
    return {"A": registry, "B": legacy}


def verdict(octets: bytes, registry: Registry, at: datetime = NOW, **restrict: str) -> Verdict:
    """Judge a message."""
    return verdict_of(judge(Question(octets, **restrict), registry, at))


def fault(
    octets: bytes, registry: Registry, at: datetime = NOW, **restrict: str
) -> tuple[str, str]:
    """Judge a message that is refused; the fault's code and our reason."""
    found = verdict(octets, registry, at, **restrict).fault
    assert found is not None, "accepted"
    return found.code, found.reason.value


def holds(octets: bytes, signer: Holder) -> bool:
    """Whether libxmlsec finds the signature good where it stands."""
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(signer.public_key, xmlsec.constants.KeyDataFormatDer, None)
    try:
        context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))
    except xmlsec.Error:
        return False
    return True


@pytest.mark.parametrize(("variant", "in_place"), [("A", True), ("B", False)])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_the_messages_are_what_they_claim(
    legacy: Pki, variant: str, hash_name: str, *, in_place: bool
) -> None:
    """Our test messages are, to libxmlsec, what DOMAIN 11 says: both variants hold alone, only A holds inside the envelope."""
    message = make_vector(Signing(legacy.leaf, variant, hash_name))
    assert holds(message, legacy.leaf)
    assert not holds(message.replace(b"agent-0042", b"agent-0043"), legacy.leaf)
    assert holds(wrap(message), legacy.leaf) is in_place


# The rows of DOMAIN 11.


def test_plain_assertion_of_the_legacy_pki_is_accepted(
    legacy: Pki, legacy_registry: Registry
) -> None:
    """RSA-SHA1, RSA-4096, four SHA-1 certificates leaf first: accepted where the convention says legacy, and flagged."""
    message = make_vector(Signing(legacy.leaf, hash_name="sha1"))
    assert message.count(b"<ds:X509Certificate>") == 4
    accepted = verdict(message, legacy_registry).accepted
    assert accepted is not None
    assert accepted.legacy_sha1
    assert accepted.vector.variant == "A"


def test_two_pagms_and_a_real_name(legacy: Pki, legacy_registry: Registry) -> None:
    """What the vector states is what comes out; an unknown PAGM beside a known one is ignored."""
    message = make_vector(
        Signing(legacy.leaf, hash_name="sha1"),
        name_id="Amélie <D&D>",
        pagms=("PAGM_GESTION", "INCONNU"),
    )
    accepted = verdict(message, legacy_registry).accepted
    assert accepted is not None
    assert accepted.vector.name_id == "Amélie <D&D>"
    assert accepted.vector.pagms == ("PAGM_GESTION", "INCONNU")
    assert accepted.pagms == ("PAGM_GESTION",)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_variant_b_in_soap(legacy: Pki, legacy_registry: Registry, version: str) -> None:
    """Variant B inside an envelope, dates in local time, white space after level and issuer: accepted as extracted."""
    message = wrap(
        make_vector(
            Signing(legacy.leaf, "B", "sha1"),
            issuer=f"{ISSUER}\n   ",
            not_before="2026-03-02T10:00:00.000+02:00",
            not_on_or_after="2026-03-02T14:00:00.000+02:00",
            level=f"{LEVEL}\n    ",
        ),
        version,
    )
    accepted = verdict(message, legacy_registry).accepted
    assert accepted is not None
    assert accepted.vector.variant == "B"
    assert accepted.vector.issuer == ISSUER
    assert accepted.vector.not_before == datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def test_variant_b_is_legacy(pki: Pki, registries: dict[str, Registry]) -> None:
    """An empty Reference, whatever its hash, is accepted only where the convention says legacy."""
    message = make_vector(Signing(pki.leaf, "B"))
    assert fault(message, registries["A"]) == (FAILED_CHECK, "signature-profile")
    assert verdict(message, registries["B"]).accepted is not None


def test_unsigned(registry: Registry) -> None:
    """No Signature."""
    assert fault(make_unsigned(), registry) == (FAILED_CHECK, "signature-missing")


def test_without_key_info(pki: Pki, registry: Registry) -> None:
    """A Signature without KeyInfo."""
    message = make_vector(Signing(pki.leaf, has_key_info=False))
    assert fault(message, registry) == (FAILED_CHECK, "certificate-missing")


def test_certificate_that_is_not_base64(pki: Pki, registry: Registry) -> None:
    """An X509Certificate that cannot be decoded counts as none."""
    message = make_vector(Signing(pki.leaf)).replace(
        b"<ds:X509Certificate>", b"<ds:X509Certificate>*", 1
    )
    assert fault(message, registry) == (FAILED_CHECK, "certificate-missing")


@pytest.mark.parametrize("issuer", [ISSUER, "urn:interops:inconnu"])
@pytest.mark.parametrize(
    ("said", "instead"), [(b"Tests", b"T\xffsts"), (b"\x02\x01\x02", b"\x02\x01\x63")]
)
@pytest.mark.parametrize("at", [0, 3])
def test_certificate_that_can_be_read_in_part(
    pki: Pki, registry: Registry, issuer: str, said: bytes, instead: bytes, at: int
) -> None:
    """A certificate that is well-formed but for a name or its version refuses, whoever the vector is from and wherever it stands."""
    chain = [*pki.leaf.chain]
    assert said in chain[at]
    chain[at] = chain[at].replace(said, instead, 1)
    message = make_vector(Signing(pki.leaf, certificates=chain), issuer=issuer)
    assert fault(message, registry) == (FAILED_CHECK, "certificate-invalid")


def test_self_signed_signer(registry: Registry) -> None:
    """A self-signed signer whose signature is mathematically right."""
    alone = certify("alone", rsa_key("stranger"), None)
    assert fault(make_vector(Signing(alone)), registry) == (FAILED_CHECK, "certificate-self-signed")


def test_signature_value_that_is_not_base64(pki: Pki, registry: Registry) -> None:
    """A SignatureValue that is not base64."""
    message = make_vector(Signing(pki.leaf)).replace(
        b"<ds:SignatureValue>", b"<ds:SignatureValue>*"
    )
    assert fault(message, registry) == (FAILED_CHECK, "signature-invalid")


def test_re_indented_after_signing(pki: Pki, registry: Registry) -> None:
    """White space added after signing changes the digest."""
    message = make_vector(Signing(pki.leaf)).replace(b"><saml2:Subject>", b">\n  <saml2:Subject>")
    assert fault(message, registry) == (FAILED_CHECK, "digest-mismatch")


@pytest.mark.parametrize(
    "statement",
    [
        Statement(issuer=None),
        Statement(issuer=""),
        Statement(issuer=" \n"),
        Statement(version="1.0"),
    ],
    ids=["no-issuer", "empty-issuer", "blank-issuer", "version"],
)
def test_structure_is_looked_at_before_the_signature(
    pki: Pki, registry: Registry, statement: Statement
) -> None:
    """A missing mandatory part is an invalid token, whether or not the signature is good."""
    expected = (INVALID_TOKEN, "structure-invalid")
    assert fault(make_vector(Signing(pki.leaf), statement), registry) == expected
    assert fault(make_unsigned(statement), registry) == expected


def test_nearly_empty_assertion(registry: Registry) -> None:
    """An Assertion with almost nothing in it."""
    message = b'<a:Assertion xmlns:a="urn:oasis:names:tc:SAML:2.0:assertion"/>'
    assert fault(message, registry) == (INVALID_TOKEN, "structure-invalid")


@pytest.mark.parametrize(
    "assertion_id", ["pfx41d8ef22-e612-8c50-9960-1b16f15741b3", "with a space"]
)
def test_id_that_is_not_a_uuid(legacy: Pki, legacy_registry: Registry, assertion_id: str) -> None:
    """An ID that is not a UUID, under a convention that takes UUIDs only."""
    message = make_vector(Signing(legacy.leaf, "B", "sha1"), id=assertion_id)
    assert fault(message, legacy_registry) == ("vi:InvalidVI", "id-style")


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        ({"not_before": "2026-03-02T10:01:01Z"}, "not-yet-valid"),
        ({"not_on_or_after": "2026-03-02T09:59:00Z"}, "expired"),
        ({"not_before": "2026-03-02T08:00:00"}, "date-invalid"),
        ({"not_on_or_after": "2026-03-02T12:00:00.000"}, "date-invalid"),
        ({"not_before": None}, "date-invalid"),
        ({"not_on_or_after": "demain"}, "date-invalid"),
    ],
)
@pytest.mark.parametrize("variant", ["A", "B"])
def test_dates(
    pki: Pki,
    registries: dict[str, Registry],
    variant: str,
    dates: dict[str, str | None],
    reason: str,
) -> None:
    """Not yet valid, expired (both beyond the skew), no time zone, missing, unreadable."""
    message = make_vector(Signing(pki.leaf, variant), **dates)
    assert fault(message, registries[variant]) == ("vi:InvalidVI", reason)


def test_validity_period_is_half_open_with_skew(pki: Pki, registry: Registry) -> None:
    """NotBefore less the skew is valid already; NotOnOrAfter plus the skew is not valid any more."""
    message = make_vector(Signing(pki.leaf), not_on_or_after="2026-03-02T11:00:00Z")
    first, last = datetime(2026, 3, 2, 7, 59, tzinfo=UTC), datetime(2026, 3, 2, 11, 1, tzinfo=UTC)
    tick = timedelta(milliseconds=1)
    assert verdict(message, registry, first).accepted is not None
    assert verdict(message, registry, last - tick).accepted is not None
    assert fault(message, registry, first - tick)[1] == "not-yet-valid"
    assert fault(message, registry, last)[1] == "expired"


@pytest.mark.parametrize("variant", ["A", "B"])
def test_other_audience(pki: Pki, registries: dict[str, Registry], variant: str) -> None:
    """Audience is compared exactly; a slash more is another service."""
    message = make_vector(Signing(pki.leaf, variant), audiences=(f"{AUDIENCE}/",))
    assert fault(message, registries[variant]) == ("vi:InvalidService", "audience-mismatch")


@pytest.mark.parametrize(
    "fields",
    [
        {"level": "urn:autre"},
        {"level": ""},
        {"level": " \n "},
        {"authn_in_comment": True},
        {"level": None},
    ],
    ids=["unknown", "empty", "blank", "in-a-comment", "absent"],
)
@pytest.mark.parametrize("variant", ["A", "B"])
def test_level(
    pki: Pki, registries: dict[str, Registry], variant: str, fields: dict[str, object]
) -> None:
    """An unknown or empty level, or a whole AuthnStatement inside a comment."""
    message = make_vector(Signing(pki.leaf, variant), **fields)
    assert fault(message, registries[variant]) == ("vi:InvalidAuthLevel", "level-mismatch")


@pytest.mark.parametrize(
    ("pagms", "reason"),
    [((), "pagm-absent"), (("",), "pagm-absent"), (("INCONNU",), "pagm-unknown")],
)
def test_pagms(
    pki: Pki, registries: dict[str, Registry], pagms: tuple[str, ...], reason: str
) -> None:
    """No PAGM value, and only PAGMs that the convention does not know."""
    message = make_vector(Signing(pki.leaf, "B"), pagms=pagms)
    assert fault(message, registries["B"]) == ("vi:InvalidPagm", reason)


def test_issuer_without_convention(pki: Pki, registries: dict[str, Registry]) -> None:
    """An issuer nobody has a convention with, signed by somebody we trust."""
    message = make_vector(Signing(pki.leaf, "B"), issuer="urn:interops:inconnu")
    assert fault(message, registries["B"]) == ("vi:InvalidIssuer", "issuer-unknown")


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (r"<soapenv:Header>.*</soapenv:Header>", "soap-header-missing"),
        (r"<wsse:Security .*</wsse:Security>", "security-header-missing"),
        (r"<saml2:Assertion.*</saml2:Assertion>", "assertion-missing"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_soap_without_a_part(
    pki: Pki, registry: Registry, version: str, cut: str, reason: str
) -> None:
    """SOAP without Header, without Security, or without Assertion in it."""
    message = wrap(make_vector(Signing(pki.leaf)), version)
    message = re.sub(cut.encode(), b"", message, flags=re.DOTALL)
    assert fault(message, registry) == (UNAVAILABLE, reason)


# What else DOMAIN 11 asks for, and our own checks.


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_sha2(pki: Pki, registry: Registry, hash_name: str) -> None:
    """SHA-2 is what we emit, and it is accepted without a flag."""
    accepted = verdict(make_vector(Signing(pki.leaf, "A", hash_name)), registry).accepted
    assert accepted is not None
    assert not accepted.legacy_sha1


def test_ecdsa(pki: Pki, registry: Registry) -> None:
    """An EC signer."""
    signer = pki.certify_leaf("ec", ec_key("signer"))
    assert verdict(make_vector(Signing(signer)), registry).accepted is not None


def test_sha1_is_refused_unless_legacy(
    pki: Pki, legacy: Pki, registry: Registry, tmp_path: Path
) -> None:
    """A SHA-1 signature, and a SHA-1 chain under a SHA-2 signature, are refused by a convention that does not say legacy."""
    message = make_vector(Signing(pki.leaf, hash_name="sha1"))
    assert fault(message, registry) == (FAILED_CHECK, "algorithm-not-allowed")
    strict = make_partner(tmp_path, legacy)
    message = make_vector(Signing(legacy.leaf))
    assert fault(message, strict)[0] == FAILED_CHECK


def test_leaf_alone_lacks_its_intermediates(pki: Pki, registry: Registry) -> None:
    """With only the leaf in KeyInfo no path can be found."""
    message = make_vector(Signing(pki.leaf, certificates=[pki.leaf.certificate]))
    assert fault(message, registry) == (FAILED_CHECK, "certificate-not-trusted")


def test_intermediates_may_stand_beside_the_root(pki: Pki, tmp_path: Path) -> None:
    """A leaf alone is accepted where the file of roots holds the intermediates too; they are no anchors."""
    pki.write(tmp_path)
    write_pem(tmp_path / "all.pem", pki.root, pki.intermediate, pki.issuing)
    registry = make_registry(make_provider(tmp_path, roots=(tmp_path / "all.pem",)))
    message = make_vector(Signing(pki.leaf, certificates=[pki.leaf.certificate]))
    assert verdict(message, registry).accepted is not None


def test_intermediates_in_any_order(pki: Pki, registry: Registry) -> None:
    """Only the signer's place is fixed: the first."""
    leaf, issuing, intermediate, root = pki.leaf.chain
    message = make_vector(Signing(pki.leaf, certificates=[leaf, root, intermediate, issuing]))
    assert verdict(message, registry).accepted is not None
    message = make_vector(Signing(pki.leaf, certificates=[issuing, leaf, intermediate, root]))
    assert fault(message, registry)[0] == FAILED_CHECK


def test_stranger(registry: Registry) -> None:
    """A complete chain under a root that nobody configured."""
    message = make_vector(Signing(make_pki("stranger").leaf))
    assert fault(message, registry) == (FAILED_CHECK, "certificate-not-trusted")


def test_key_of_another_certificate(pki: Pki, registry: Registry) -> None:
    """A trusted certificate in KeyInfo over a signature that another key made."""
    message = make_vector(Signing(make_pki("stranger").leaf, certificates=pki.leaf.chain))
    assert fault(message, registry) == (FAILED_CHECK, "signature-invalid")


def test_revoked_signer(pki: Pki, tmp_path: Path) -> None:
    """A signer on the CRL of its CA, and a CA on the CRL of the root."""
    message = make_vector(Signing(pki.leaf))
    for revoked in (pki.leaf, pki.intermediate):
        directory = tmp_path / str(revoked.serial)
        registry = make_partner(directory, pki, (revoked,))
        assert fault(message, registry) == (FAILED_CHECK, "certificate-revoked")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_ca_needs_a_crl(pki: Pki, tmp_path: Path, place: int) -> None:
    """A CRL that is missing, stale, not valid yet or signed by somebody else refuses, whichever CA of the path it is of."""
    registry = make_partner(tmp_path, pki)
    message = make_vector(Signing(pki.leaf))
    file, authority = tmp_path / "crl" / f"{place}.crl", pki.authorities[place]
    wrong = [
        make_crl(authority, ends=NOW - timedelta(minutes=1)),
        make_crl(authority, begins=NOW + timedelta(minutes=1)),
        make_crl(authority, signer=rsa_key("stranger")),
    ]
    file.unlink()
    assert fault(message, registry) == (FAILED_CHECK, "revocation-unknown")
    for crl in wrong:
        file.write_bytes(crl)
        registry = make_registry(make_provider(tmp_path))
        assert fault(message, registry) == (FAILED_CHECK, "revocation-unknown")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"recipient": "urn:autre"}, ("vi:InvalidService", "recipient-mismatch")),
        ({"recipient": None}, ("vi:InvalidService", "recipient-mismatch")),
        ({"audiences": (AUDIENCE, "http://autre")}, ("vi:InvalidService", "several-audiences")),
        ({"audiences": ("http://autre", AUDIENCE)}, ("vi:InvalidService", "audience-mismatch")),
        (
            {"method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        (
            {"confirmation_not_on_or_after": "2026-03-02T09:00:00Z"},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        ({"confirmation_not_on_or_after": None}, ("vi:InvalidVI", "confirmation-invalid")),
        (
            {"confirmation_not_before": "2026-03-02T10:30:00Z"},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        (
            {"confirmation_not_on_or_after": "2026-03-02T12:00:00"},
            ("vi:InvalidVI", "date-invalid"),
        ),
        (
            {"second_pagm_attribute": ("PAGM_GESTION",)},
            ("vi:InvalidPagm", "pagm-duplicated"),
        ),
        ({"name_id": "x" * 30_000}, ("vi:InvalidVI", "vector-too-large")),
    ],
)
def test_what_the_incumbents_miss(
    pki: Pki, registry: Registry, fields: dict[str, object], expected: tuple[str, str]
) -> None:
    """Recipient, second audience, confirmation, duplicate PAGM attribute, extent."""
    assert fault(make_vector(Signing(pki.leaf), **fields), registry) == expected


def test_maximum_lifetime(pki: Pki, tmp_path: Path) -> None:
    """A vector valid for longer than the convention takes."""
    message = make_vector(Signing(pki.leaf))
    exact = make_partner(tmp_path, pki, maximum_lifetime=4 * 3600.0)
    assert verdict(message, exact).accepted is not None
    shorter = make_registry(make_provider(tmp_path, maximum_lifetime=4 * 3600.0 - 1))
    assert fault(message, shorter) == ("vi:InvalidVI", "lifetime-too-long")


def test_underscore_id(pki: Pki, registry: Registry, tmp_path: Path) -> None:
    """A legal xs:ID is accepted by `any` and `xs-id`, a bare UUID that starts with a digit only by `any` and `uuid`."""
    prefixed = make_vector(Signing(pki.leaf), id="_1e54f0a3-8c4c-4b0b-8d5c-1f6a3a2b9f10")
    bare = make_vector(Signing(pki.leaf), id="1e54f0a3-8c4c-4b0b-8d5c-1f6a3a2b9f10")
    strict = make_partner(tmp_path, pki, id_style="xs-id")
    assert verdict(prefixed, registry).accepted is not None
    assert verdict(bare, registry).accepted is not None
    assert verdict(prefixed, strict).accepted is not None
    assert fault(bare, strict) == ("vi:InvalidVI", "id-style")


def test_comment_does_not_split_a_value(pki: Pki, registry: Registry) -> None:
    """A comment put into NameID after signing leaves the digest right and the name whole (exclusive c14n drops comments)."""
    message = make_vector(Signing(pki.leaf), name_id="admin.evil")
    message = message.replace(b"admin.evil", b"admin<!-- -->.evil")
    accepted = verdict(message, registry).accepted
    assert accepted is not None
    assert accepted.vector.name_id == "admin.evil"


def test_second_assertion_in_the_header(pki: Pki, registry: Registry) -> None:
    """Two assertions in one message are never chosen from."""
    genuine, forged = make_vector(Signing(pki.leaf)), make_unsigned(name_id="evil")
    message = wrap(genuine).replace(genuine, forged + genuine)
    assert fault(message, registry) == (INVALID_TOKEN, "several-assertions")


def test_wrapped_assertion(pki: Pki, registry: Registry) -> None:
    """A genuine assertion hidden inside a forged one lends it nothing."""
    genuine = make_vector(Signing(pki.leaf)).decode()
    forged = make_unsigned(name_id="evil").decode()
    wrapped = forged.replace("</saml2:Assertion>", f"{genuine}</saml2:Assertion>")
    assert fault(wrapped.encode(), registry)[0] == FAILED_CHECK


def test_neither_assertion_nor_envelope(registry: Registry) -> None:
    """Other XML, such as a SAML Response, is an invalid token."""
    message = b'<p:Response xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol"/>'
    assert fault(message, registry) == (INVALID_TOKEN, "not-a-vector")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", Reason.MALFORMED_XML),
        (b"<a>", Reason.MALFORMED_XML),
        (b"<!DOCTYPE a><a/>", Reason.DTD_FORBIDDEN),
        (b"<a>" * 101 + b"</a>" * 101, Reason.XML_LIMIT),
    ],
)
def test_unreadable_octets_get_no_verdict(
    registry: Registry, octets: bytes, reason: Reason
) -> None:
    """Not well-formed, with a DTD, or over a limit: the caller's mistake, not a judged vector."""
    with pytest.raises(MalformedRequest) as raised:
        verdict(octets, registry)
    assert raised.value.reason is reason


def test_every_flipped_octet_of_the_signature_refuses(pki: Pki, registry: Registry) -> None:
    """Another SignatureValue is never accepted."""
    message = make_vector(Signing(pki.leaf))
    start, end = message.index(b"<ds:SignatureValue>") + 19, message.index(b"</ds:SignatureValue>")
    value = base64.b64decode(message[start:end])
    for at in range(0, len(value), 16):
        flipped = base64.b64encode(value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :])
        forged = message[:start] + flipped + message[end:]
        assert fault(forged, registry) == (FAILED_CHECK, "signature-invalid")
