"""A partner's PKI in software: root, two CAs, leaves of every kind, CRLs; SHA-1 included, as the real ones of 2011 are.

Keys are made once per run and named, because making them is the slow part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from asn1crypto import algos, crl as asn1_crl, x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""The instant tests judge by, unless they say another."""

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
HashName = Literal["sha1", "sha256", "sha384", "sha512"]
HASHES = {
    "sha1": hashes.SHA1(),  # noqa: S303 - the partners' legacy is what is tested
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make, or find again, the RSA key of that name."""
    assert name
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    """Make, or find again, the P-256 key of that name."""
    assert name
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Holder:
    """A key, private or (where a token keeps that) public, its certificate, and the issuer, None for a root."""

    key: Key | PublicKey
    certificate: bytes
    issuer: "Holder | None"

    @property
    def chain(self) -> list[bytes]:
        """DER certificates, this one first, the root last."""
        return [self.certificate, *(self.issuer.chain if self.issuer is not None else [])]

    @property
    def name(self) -> x509.Name:
        """The subject."""
        return x509.load_der_x509_certificate(self.certificate).subject

    @property
    def serial(self) -> int:
        """The serial number."""
        return x509.load_der_x509_certificate(self.certificate).serial_number

    @property
    def public_key(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return _public(self.key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certify(  # noqa: PLR0913 - a builder: each field can be overridden
    common_name: str,
    key: Key | PublicKey,
    issuer: Holder | None,
    *,
    is_ca: bool = False,
    hash_name: HashName = "sha256",
    begins: datetime = NOW - timedelta(days=365),
    ends: datetime = NOW + timedelta(days=365),
    digital_signature: bool = True,
) -> Holder:
    """Issue a certificate; without issuer it is self-signed."""
    subject = _name(common_name)
    signer = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.name)
        .public_key(_public(key))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(_key_usage(is_ca=is_ca, digital_signature=digital_signature), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(_public(key)), critical=False)
    )
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
    if hash_name == "sha1":
        certificate = sign_again_with_sha1(asn1_x509.Certificate.load(certificate), signer)
    return Holder(key, certificate, issuer)


def make_crl(
    authority: Holder,
    revoked: Iterable[Holder] = (),
    *,
    hash_name: HashName = "sha256",
    begins: datetime = NOW - timedelta(days=1),
    ends: datetime = NOW + timedelta(days=6),
    signer: Key | None = None,
) -> bytes:
    """Issue a CRL in DER; `signer` makes one that another key signed."""
    key = signer or authority.key
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.name)
        .last_update(begins)
        .next_update(ends)
    )
    for holder in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(holder.serial)
        builder = builder.add_revoked_certificate(entry.revocation_date(begins).build())
    crl = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    if hash_name == "sha1":
        crl = sign_again_with_sha1(asn1_crl.CertificateList.load(crl), key)
    return crl


class Pki:
    """Root, intermediate CA, issuing CA and one application's certificate, with current CRLs of all three."""

    def __init__(self, name: str, *, hash_name: HashName = "sha256", leaf_bits: int = 2048) -> None:
        self.hash_name = hash_name
        self.root = certify(
            f"{name} root", rsa_key(f"{name} root"), None, is_ca=True, hash_name=hash_name
        )
        self.intermediate = certify(
            f"{name} intermediate",
            rsa_key(f"{name} intermediate"),
            self.root,
            is_ca=True,
            hash_name=hash_name,
        )
        self.issuing = certify(
            f"{name} issuing",
            rsa_key(f"{name} issuing"),
            self.intermediate,
            is_ca=True,
            hash_name=hash_name,
        )
        self.leaf = self.certify_leaf("application", rsa_key(f"{name} leaf {leaf_bits}", leaf_bits))

    @property
    def authorities(self) -> tuple[Holder, ...]:
        """Every CA, the root first."""
        return (self.root, self.intermediate, self.issuing)

    def certify_leaf(self, common_name: str, key: Key | PublicKey, **fields: object) -> Holder:
        """Issue a certificate to an application; `fields` as of `certify`."""
        return certify(common_name, key, self.issuing, **({"hash_name": self.hash_name} | fields))  # type: ignore[arg-type]  # overrides of a builder

    def crls(self, revoked: Sequence[Holder] = ()) -> list[bytes]:
        """Issue a current CRL for every CA; the revoked ones stand on the list of their issuer."""
        return [
            make_crl(
                authority,
                [holder for holder in revoked if holder.issuer is authority],
                hash_name=self.hash_name,
            )
            for authority in self.authorities
        ]

    def write(self, directory: Path, revoked: Sequence[Holder] = ()) -> None:
        """Write `root.pem` and `crl/`, as a provider keeps them of a partner."""
        crls = directory / "crl"
        crls.mkdir(parents=True, exist_ok=True)
        write_pem(directory / "root.pem", self.root)
        for at, crl in enumerate(self.crls(revoked)):
            (crls / f"{at}.crl").write_bytes(crl)


def write_pem(file: Path, *holders: Holder) -> None:
    """Write certificates as one PEM file."""
    file.write_bytes(
        b"".join(
            x509.load_der_x509_certificate(holder.certificate).public_bytes(Encoding.PEM)
            for holder in holders
        )
    )


def crl_pem(crl: bytes) -> bytes:
    """Convert a DER CRL."""
    return x509.load_der_x509_crl(crl).public_bytes(Encoding.PEM)


@cache
def make_pki(name: str, hash_name: HashName = "sha256", leaf_bits: int = 2048) -> Pki:
    """Make, or find again, a PKI."""
    return Pki(name, hash_name=hash_name, leaf_bits=leaf_bits)


def _public(key: Key | PublicKey) -> PublicKey:
    return key if isinstance(key, PublicKey) else key.public_key()


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, is_ca: bool, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature and not is_ca,
        content_commitment=False,
        key_encipherment=not is_ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def sign_again_with_sha1(
    signed: asn1_x509.Certificate | asn1_crl.CertificateList, key: Key
) -> bytes:
    """Replace the signature by a SHA-1 one, which the builders of `cryptography` no longer make."""
    assert isinstance(key, rsa.RSAPrivateKey)
    is_certificate = isinstance(signed, asn1_x509.Certificate)
    part = "tbs_certificate" if is_certificate else "tbs_cert_list"
    algorithm = algos.SignedDigestAlgorithm({"algorithm": "sha1_rsa"})
    signed[part]["signature"] = algorithm
    signed["signature_algorithm"] = algorithm
    octets = signed[part].dump(force=True)
    value = key.sign(octets, padding.PKCS1v15(), HASHES["sha1"])
    signed["signature_value" if is_certificate else "signature"] = value
    return signed.dump(force=True)
