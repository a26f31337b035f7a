"""A demo PKI: a root, an issuing authority, leaf certificates for keys that lie in a token, and their revocation lists.

Owns making it. Promises files a trust check with CRLs accepts for a year; the two authorities' private keys are used once and
never written down, so nothing can be issued or revoked later. Refuses to be a PKI for anything but a demonstration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR: Final = timedelta(days=365)
_BACK_DATING: Final = timedelta(minutes=5)
_AUTHORITY_BITS: Final = 2048
_THIS_MACHINE: Final = (ip_address("127.0.0.1"), ip_address("::1"))
_COUNTRY: Final = "FR"
_ORGANIZATION: Final = "InterOPS demonstration"


@dataclass(frozen=True, slots=True)
class DemoPki:
    """Where the files are.

    Attributes:
        root: PEM of the root.
        issuing: PEM of the authority that signs leaves.
        chains: per key name, PEM of leaf, then issuing authority (what a [[key]] names as `certificates`).
        crl_directory: one PEM revocation list per authority.
    """

    root: Path
    issuing: Path
    chains: Mapping[str, Path]
    crl_directory: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def write_demo_pki(
    directory: Path,
    public_keys: Mapping[str, bytes],
    now: datetime,
    front_keys: Mapping[str, bytes] | None = None,
) -> DemoPki:
    """Write a PKI that certifies the given keys for a year, from five minutes ago.

    Args:
        directory: becomes `root.pem`, `issuing.pem`, `NAME.pem` per key and `crl/`.
        public_keys: key name → DER SubjectPublicKeyInfo; RSA or EC.
        now: the moment of issue, with its time zone.
        front_keys: the same for TLS, server and client, on this machine.
    """
    root = _make_authority("Demo Root", now, issuer=None)
    issuing = _make_authority("Demo Issuing", now, issuer=root)
    crl_directory = directory / "crl"
    crl_directory.mkdir(parents=True, exist_ok=True)
    for name, authority in (("root", root), ("issuing", issuing)):
        (directory / f"{name}.pem").write_bytes(_pem(authority.certificate))
        (crl_directory / f"{name}.pem").write_bytes(_empty_crl(authority, now))
    chains: dict[str, Path] = {}
    for name, public_key in public_keys.items():
        chains[name] = directory / f"{name}.pem"
        leaf = _make_leaf(name, public_key, issuing, now)
        chains[name].write_bytes(_pem(leaf) + _pem(issuing.certificate))
    for name, public_key in (front_keys or {}).items():
        leaf = _make_leaf(name, public_key, issuing, now, is_front=True)
        (directory / f"{name}.pem").write_bytes(_pem(leaf) + _pem(issuing.certificate))
    return DemoPki(directory / "root.pem", directory / "issuing.pem", chains, crl_directory)


def _make_authority(name: str, now: datetime, issuer: _Authority | None) -> _Authority:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_AUTHORITY_BITS)
    subject = _name(name)
    signer = issuer.key if issuer else key
    signer_name = issuer.certificate.subject if issuer else subject
    certificate = (
        _builder(subject, signer_name, key.public_key(), now)
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True
        )
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(_authority_key_id(signer.public_key()), critical=False)
        .sign(signer, SHA256())
    )
    return _Authority(certificate, key)


def _make_leaf(
    name: str, spki: bytes, issuer: _Authority, now: datetime, *, is_front: bool = False
) -> x509.Certificate:
    public_key = load_der_public_key(spki)
    if not isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise TypeError(f"key `{name}` is neither RSA nor EC")
    builder = (
        _builder(_name(name), issuer.certificate.subject, public_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(_authority_key_id(issuer.key.public_key()), critical=False)
    )
    if is_front:
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [x509.DNSName("localhost"), *map(x509.IPAddress, _THIS_MACHINE)]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer.key, SHA256())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK_DATING)
        .not_valid_after(now + _YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _empty_crl(authority: _Authority, now: datetime) -> bytes:
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - _BACK_DATING)
        .next_update(now + _YEAR)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_authority_key_id(authority.key.public_key()), critical=False)
        .sign(authority.key, SHA256())
    )
    return crl.public_bytes(Encoding.PEM)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """RFC 5280 4.2.1.3: an authority signs certificates and CRLs, a leaf signs vectors and nothing else."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_id(public_key: rsa.RSAPublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, _COUNTRY),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ])  # fmt: skip


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
