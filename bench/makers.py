"""One vector, made by us and by the libraries a user would take instead: the same content, certificate and algorithms."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID
from lxml import etree  # noqa: TID251 - a peer that is measured
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner

from appliance import native
from bench.documents import ASSERTION_ID, write_assertion

RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"

Maker = Callable[[], bytes]
"""Makes the vector anew and returns its octets."""


@dataclass(frozen=True, slots=True)
class SoftwareKey:
    """An RSA-2048 key in software and a certificate for it."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def generate(cls) -> "SoftwareKey":
        """Make one."""
        key = rsa.generate_private_key(65537, 2048)
        return cls(key, certify(spki_of_key(key.public_key()), key))

    @classmethod
    def load(cls, pkcs8: bytes, certificate: bytes) -> "SoftwareKey":
        """Read one, as another process wrote it."""
        key = serialization.load_der_private_key(pkcs8, None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the key is an RSA key")
        return cls(key, x509.load_der_x509_certificate(certificate))

    @property
    def pkcs8(self) -> bytes:
        """DER of the private key."""
        return self.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest (PKCS #1 v1.5)."""
        return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))

    def verify(self, digest: bytes, signature: bytes) -> None:
        """Verify it."""
        algorithm = Prehashed(hashes.SHA256())
        self.key.public_key().verify(signature, digest, padding.PKCS1v15(), algorithm)


class SigningObject(Protocol):
    """What signxml asks of an RSA key."""

    def sign(
        self, data: bytes, padding: padding.PKCS1v15, algorithm: hashes.HashAlgorithm
    ) -> bytes:
        """Sign data."""


def certify(spki: bytes, issuer: rsa.RSAPrivateKey) -> x509.Certificate:
    """Certify an RSA key, in software or in a token."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    subject = serialization.load_der_public_key(spki)
    if not isinstance(subject, rsa.RSAPublicKey):
        raise TypeError("the peers sign with RSA; name an RSA key")
    builder = x509.CertificateBuilder(name, name, subject, 1)
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2050, 1, 1, tzinfo=UTC))
    return builder.sign(issuer, hashes.SHA256())


def spki_of_key(key: rsa.RSAPublicKey) -> bytes:
    """DER SubjectPublicKeyInfo."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_of(certificate: x509.Certificate) -> bytes:
    """DER SubjectPublicKeyInfo of a certificate."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def profile_of(certificate: x509.Certificate) -> native.SignatureProfile:
    """RSA-SHA256 with that one certificate in KeyInfo."""
    return native.SignatureProfile(
        signature_algorithm=RSA_SHA256,
        digest_algorithm=SHA256,
        public_key=spki_of(certificate),
        certificates=[certificate.public_bytes(serialization.Encoding.DER)],
    )


def content() -> native.AssertionContent:
    """What `write_assertion` writes."""
    return native.AssertionContent(
        id=ASSERTION_ID,
        issue_instant="2026-03-01T12:00:00.000Z",
        issuer="urn:interops:73282932000074:idp:demo:1",
        name_id="agent-0042",
        name_id_format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        recipient="urn:interops:sp:73282932000074:demo",
        audience="http://service.demo.example/droits",
        not_before="2026-03-01T11:59:50.000Z",
        not_on_or_after="2026-03-01T13:00:00.000Z",
        authn_instant="2026-03-01T12:00:00.000Z",
        authn_context="urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        pagms=["PAGM_CONSULTATION", "PAGM_GESTION"],
    )


def make_by_us(certificate: x509.Certificate, sign: Callable[[bytes], bytes]) -> Maker:
    """Prepare, sign the digest, splice; the signature is verified with the public key before the vector is released."""
    stated, profile = content(), profile_of(certificate)

    def make() -> bytes:
        prepared = native.prepare(stated, profile)
        return prepared.splice(sign(prepared.digest)).octets

    return make


def make_by_signxml(certificate: x509.Certificate, key: SigningObject) -> Maker:
    """Parse the assertion, sign, serialise."""
    unsigned = write_assertion()
    signer = XMLSigner(c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)

    def make() -> bytes:
        root = signer.sign(
            etree.fromstring(unsigned),
            key=key,  # type: ignore[arg-type]  # signxml states the classes of cryptography, and asks only for `sign`
            cert=[certificate],
            reference_uri=ASSERTION_ID,
            id_attribute="ID",
        )
        return etree.tostring(root)

    return make


def make_by_xmlsec(signer: SoftwareKey) -> Maker:
    """Parse the assertion, write the template, sign, serialise; libxmlsec through python-xmlsec, whose wheel reads keys from memory and files."""
    unsigned = write_assertion()
    pem = signer.certificate.public_bytes(serialization.Encoding.PEM)
    private = signer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = xmlsec.Key.from_memory(private, xmlsec.constants.KeyDataFormatPem)
    key.load_cert_from_memory(pem, xmlsec.constants.KeyDataFormatPem)

    def make() -> bytes:
        root = etree.fromstring(unsigned)
        transforms = xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformRsaSha256
        node = xmlsec.template.create(root, *transforms, ns="ds")
        root.insert(1, node)
        reference = xmlsec.template.add_reference(
            node, xmlsec.constants.TransformSha256, uri="#" + ASSERTION_ID
        )
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(node))
        xmlsec.tree.add_ids(root, ["ID"])
        context = xmlsec.SignatureContext()
        context.key = key
        context.sign(node)
        return etree.tostring(root)

    return make
