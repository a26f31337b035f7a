"""What XMLDSig allows and we do not: signatures by the partner's own trusted key, good to libxmlsec, refused for their shape.

So none of these refusals hangs on a digest: whoever could make such a signature, or find one, would have it accepted elsewhere.
"""

import base64
import re
import socket
from pathlib import Path

import pytest
import xmlsec

from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from tests.messages import DIGESTS, DS, EXCLUSIVE, MORE
from tests.partners import make_partner
from tests.pki import NOW, Pki, ec_key, make_pki
from tests.templates import (
    ENVELOPED,
    Template,
    private_key,
    sign_template,
    write_reference,
    write_transform,
    write_x509,
)

XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"
C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
STYLESHEET = (
    '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">'
    '<xsl:template match="/"><x/></xsl:template></xsl:stylesheet>'
)

ENVELOPED_STEP = write_transform(ENVELOPED)
EXCLUSIVE_STEP = write_transform(EXCLUSIVE)
DIGEST_METHOD = f'<ds:DigestMethod Algorithm="{DIGESTS["sha256"]}"/><ds:DigestValue/>'

TRANSFORMS = {
    "XSLT": (ENVELOPED_STEP, EXCLUSIVE_STEP, write_transform(XSLT, STYLESHEET)),
    "XPath in place of enveloped": (
        write_transform(XPATH, "<ds:XPath>not(ancestor-or-self::ds:Signature)</ds:XPath>"),
        EXCLUSIVE_STEP,
    ),
    "XPath that selects nothing": (write_transform(XPATH, "<ds:XPath>false()</ds:XPath>"),),
    "XPath after enveloped": (
        ENVELOPED_STEP,
        write_transform(XPATH, "<ds:XPath>not(self::text())</ds:XPath>"),
    ),
    "XPath Filter 2": (
        write_transform(
            FILTER, f'<f:XPath xmlns:f="{FILTER}" Filter="subtract">//ds:Signature</f:XPath>'
        ),
        EXCLUSIVE_STEP,
    ),
    "enveloped twice": (ENVELOPED_STEP, ENVELOPED_STEP, EXCLUSIVE_STEP),
    "exclusive twice": (ENVELOPED_STEP, EXCLUSIVE_STEP, EXCLUSIVE_STEP),
    "a thousand": (ENVELOPED_STEP, *(EXCLUSIVE_STEP,) * 1000),
    "inclusive, said aloud": (ENVELOPED_STEP, write_transform(C14N)),
    "with comments": (ENVELOPED_STEP, write_transform(f"{EXCLUSIVE}WithComments")),
}

REFERENCES = {
    "to another document": write_reference("file://{file}", ()),
    "without URI": write_reference(None),
    "by XPointer to the root": write_reference("#xpointer(/)"),
    "by XPointer to the ID": write_reference(
        "#xpointer(id('8c1f5f0e-6d5a-4c39-9a57-6d2f4e1a7b01'))"
    ),
    "to an Object": write_reference("#o", ()),
    "to KeyInfo": write_reference("#k", ()),
    "two, the same": write_reference() * 2,
    "two, one of them to an Object": write_reference() + write_reference("#o", ()),
    "to a Manifest": (f'<ds:Reference URI="#m" Type="{DS}Manifest">{DIGEST_METHOD}</ds:Reference>'),
}
OBJECTS = f'<ds:Object Id="o">x</ds:Object><ds:Object><ds:Manifest Id="m">{write_reference()}</ds:Manifest></ds:Object>'


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The partner's convention, with everything allowed that a convention can allow."""
    return make_partner(tmp_path_factory.mktemp("partner"), pki, allow_sha1=True)


@pytest.fixture(scope="module")
def strict(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The partner's convention without SHA-1."""
    return make_partner(tmp_path_factory.mktemp("strict"), pki)


def reason(octets: bytes, registry: Registry) -> str:
    """Why a message is refused."""
    fault = verdict_of(judge(Question(octets), registry, NOW)).fault
    return "accepted" if fault is None else fault.reason.value


def test_the_template_is_accepted(pki: Pki, strict: Registry) -> None:
    """Unchanged, what the tests below change is accepted."""
    assert reason(sign_template(pki.leaf, Template()), strict) == "accepted"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_outside_the_list(pki: Pki, registry: Registry, name: str) -> None:
    """Enveloped-signature, then exclusive canonicalization or nothing: no code, no selection, no repetition."""
    template = Template(write_reference(transforms=TRANSFORMS[name]))
    assert reason(sign_template(pki.leaf, template), registry) == "signature-profile"


@pytest.mark.parametrize("steps", [(), (EXCLUSIVE_STEP,), (EXCLUSIVE_STEP, ENVELOPED_STEP)])
def test_transforms_missing_or_out_of_order(
    pki: Pki, registry: Registry, steps: tuple[str, ...]
) -> None:
    """Without enveloped-signature, or with it after a canonicalization, there is no legal reading."""
    message = sign_template(pki.leaf, Template()).decode()
    inside = re.compile(r"<ds:Transforms>.*</ds:Transforms>")
    changed = inside.sub(f"<ds:Transforms>{''.join(steps)}</ds:Transforms>", message)
    assert reason(changed.encode(), registry) == "signature-profile"


@pytest.mark.parametrize("name", REFERENCES)
def test_references_elsewhere(pki: Pki, registry: Registry, tmp_path: Path, name: str) -> None:
    """One Reference, by ID to the assertion itself: not two, not to a part of the Signature, not outside, not by XPointer."""
    file = tmp_path / "outside"
    file.write_text("signed")
    template = Template(
        REFERENCES[name].format(file=file),
        behind=OBJECTS,
        key_info=f'<ds:KeyName Id="k">k</ds:KeyName>{write_x509(pki.leaf.chain)}',
    )
    assert reason(sign_template(pki.leaf, template), registry) == "signature-profile"


@pytest.mark.parametrize(
    "name", ["without URI", "by XPointer to the root", "by XPointer to the ID", "two, the same"]
)
def test_references_elsewhere_without_objects(pki: Pki, registry: Registry, name: str) -> None:
    """The same where only the Reference is out of the ordinary."""
    message = sign_template(pki.leaf, Template(REFERENCES[name]))
    assert reason(message, registry) == "signature-profile"


def test_no_reference(pki: Pki, registry: Registry) -> None:
    """A SignedInfo that signs nothing is no signature of anything."""
    message = sign_template(pki.leaf, Template()).decode()
    start, end = message.index("<ds:Reference "), message.index("</ds:SignedInfo>")
    assert reason((message[:start] + message[end:]).encode(), registry) == "signature-profile"


@pytest.mark.parametrize("scheme", ["http://{at}/x", "http://{at}/x#a", "//{at}/x", "ftp://{at}/x"])
def test_external_references_are_not_fetched(pki: Pki, registry: Registry, scheme: str) -> None:
    """A Reference, a RetrievalMethod and a KeyInfoReference to a socket that listens: nobody connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        at = scheme.format(at=f"127.0.0.1:{listener.getsockname()[1]}")
        genuine = sign_template(pki.leaf, Template()).decode()
        reference = genuine.replace('URI="#8c1f5f0e-6d5a-4c39-9a57-6d2f4e1a7b01"', f'URI="{at}"')
        retrieval = genuine.replace(
            "<ds:X509Data>", f'<ds:RetrievalMethod URI="{at}"/><ds:X509Data>'
        )
        only = Template(key_info=f'<ds:RetrievalMethod URI="{at}" Type="{DS}X509Data"/>')
        fetched = sign_template(pki.leaf, only)
        assert reason(reference.encode(), registry) == "signature-profile"
        assert reason(retrieval.encode(), registry) == "accepted"
        assert reason(fetched, registry) == "certificate-missing"
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("canonicalization", "expected"),
    [
        (f"{EXCLUSIVE}WithComments", "signature-profile"),
        (f"{C14N}#WithComments", "signature-profile"),
        (C14N, "accepted"),
    ],
)
def test_canonicalization_of_signed_info(
    pki: Pki, registry: Registry, canonicalization: str, expected: str
) -> None:
    """SignedInfo is canonicalized without comments: what is signed is what is read."""
    method = f'<ds:CanonicalizationMethod Algorithm="{canonicalization}"/>'
    message = sign_template(pki.leaf, Template(canonicalization=method))
    assert reason(message, registry) == expected


@pytest.mark.parametrize(
    "template",
    [
        Template(method=f"{MORE}rsa-md5"),
        Template(method=f"{MORE}rsa-ripemd160"),
        Template(method=f"{MORE}rsa-sha224"),
        Template(write_reference(digest=f"{MORE}md5")),
        Template(write_reference(digest="http://www.w3.org/2001/04/xmlenc#ripemd160")),
    ],
    ids=lambda template: template.method,
)
def test_weak_algorithms(pki: Pki, registry: Registry, template: Template) -> None:
    """MD5, RIPEMD-160 and SHA-224 are unknown here, whatever the convention allows."""
    assert reason(sign_template(pki.leaf, template), registry) == "algorithm-not-allowed"


@pytest.mark.parametrize(
    "template",
    [Template(method=f"{DS}rsa-sha1"), Template(write_reference(digest=DIGESTS["sha1"]))],
    ids=["signature", "digest"],
)
def test_downgrade_to_sha1(
    pki: Pki, registry: Registry, strict: Registry, template: Template
) -> None:
    """SHA-1, in the signature or in the digest alone, is for a convention that says so."""
    message = sign_template(pki.leaf, template)
    assert reason(message, strict) == "algorithm-not-allowed"
    assert reason(message, registry) == "accepted"


@pytest.mark.parametrize("length", ["", "<ds:HMACOutputLength>128</ds:HMACOutputLength>"])
@pytest.mark.parametrize("method", [f"{DS}hmac-sha1", f"{MORE}hmac-sha256"])
def test_public_key_as_hmac_secret(pki: Pki, registry: Registry, method: str, length: str) -> None:
    """Keyed with the public key or with nothing, cut short or not: HMAC is no signature here."""
    for secret in (pki.leaf.public_key, pki.leaf.certificate, b"x"):
        key = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataHmac, secret)
        try:
            message = sign_template(
                pki.leaf, Template(method=method, method_inside=length), key=key
            )
        except xmlsec.Error:
            assert length, "libxmlsec itself refuses to cut an HMAC short, and nothing else"
            continue
        assert reason(message, registry) in {"algorithm-not-allowed", "signature-profile"}


def test_key_info_decides_nothing(pki: Pki, registry: Registry) -> None:
    """A stranger's signature with the partner's certificate beside it; the partner's certificates beside a stranger's key."""
    stranger = make_pki("stranger")
    theirs = private_key(stranger.leaf)
    for key_info, expected in (
        (write_x509(pki.leaf.chain), "signature-invalid"),
        (write_x509(stranger.leaf.chain), "certificate-not-trusted"),
        (write_x509([stranger.leaf.certificate, *pki.leaf.chain]), "certificate-not-trusted"),
        (write_x509([*pki.leaf.chain, stranger.leaf.certificate]), "signature-invalid"),
        (write_x509(stranger.leaf.chain) + write_x509(pki.leaf.chain), "certificate-not-trusted"),
        (f"<ds:KeyName>{pki.leaf.name.rfc4514_string()}</ds:KeyName>", "certificate-missing"),
        (
            "<ds:X509Data><ds:X509SubjectName>CN=x</ds:X509SubjectName></ds:X509Data>",
            "certificate-missing",
        ),
    ):
        message = sign_template(stranger.leaf, Template(key_info=key_info), key=theirs)
        assert reason(message, registry) == expected, key_info[:60]


def test_key_value_beside_a_certificate(pki: Pki, registry: Registry) -> None:
    """Dupe key confusion: a KeyValue beside the certificate is never the key."""
    numbers = make_pki("stranger").leaf.key.public_key().public_numbers()
    modulus = numbers.n.to_bytes(256, "big")
    value = (
        f"<ds:KeyValue><ds:RSAKeyValue><ds:Modulus>{base64.b64encode(modulus).decode()}</ds:Modulus><ds:Exponent>AQAB</ds:Exponent>"
        "</ds:RSAKeyValue></ds:KeyValue>"
    )
    certificates = write_x509(pki.leaf.chain)
    forged = sign_template(
        pki.leaf,
        Template(key_info=value + certificates),
        key=private_key(make_pki("stranger").leaf),
    )
    assert reason(forged, registry) == "signature-invalid"
    only = sign_template(pki.leaf, Template(key_info=value))
    assert reason(only, registry) == "certificate-missing"
    genuine = sign_template(pki.leaf, Template(key_info=certificates + value))
    assert reason(genuine, registry) == "accepted"


def test_algorithm_of_another_key(pki: Pki, registry: Registry) -> None:
    """An RSA method under an EC certificate, and the reverse, are refused before any mathematics."""
    signer = pki.certify_leaf("ec", ec_key("signer"))
    rsa_method = sign_template(pki.leaf, Template(key_info=write_x509(signer.chain)))
    assert reason(rsa_method, registry) == "algorithm-not-allowed"
    ec_method = sign_template(
        signer, Template(method=f"{MORE}ecdsa-sha256", key_info=write_x509(pki.leaf.chain))
    )
    assert reason(ec_method, registry) == "algorithm-not-allowed"
