"""Single certificates: read from file or from a message, and fit to be relied on at all.

Promises that a key too weak, too large or of an unknown kind, and a signature made with a broken hash, are refused before or
beside the path check. Whether a certificate is trusted is decided in `paths`.
"""

from pathlib import Path
from typing import Final

import OpenSSL.crypto
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.errors import ConfigurationError, Reason, VectorRefused

MOST_CERTIFICATES: Final = 16
"""A longer KeyInfo is refused: real paths have four certificates, and every one costs a signature check."""

UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    OpenSSL.crypto.Error,
)
"""What reading a certificate that a message brought may raise, at once or when a part of it is first looked at."""

_KEY_BITS_MOST: Final = (
    8192  # checking a signature by a larger key costs more than a request is worth
)
_EC_BITS: Final = 256
_SOUND_HASHES: Final = frozenset({"sha224", "sha256", "sha384", "sha512"})


def load_certificates(file: Path) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file (one or several) or the one of a DER file.

    Raises:
        ConfigurationError: the file cannot be read or holds no certificate, or one whose names cannot be read.
    """
    try:
        octets = file.read_bytes()
        if b"-----BEGIN" in octets:
            certificates = tuple(x509.load_pem_x509_certificates(octets))
        else:
            certificates = (x509.load_der_x509_certificate(octets),)
        for certificate in certificates:  # its names are read when they are first looked at
            _ = certificate.subject, certificate.issuer
    except OSError as exc:
        raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc
    except UNREADABLE as exc:
        raise ConfigurationError(str(file), "", "certificates in PEM") from exc
    return certificates


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate says that its key signs others (RFC 5280, 4.2.1.9); one of before extensions, when it is its own issuer.

    Raises:
        UNREADABLE: its extensions cannot be read.
    """
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.subject == certificate.issuer


def read_chain(chain: list[bytes]) -> list[x509.Certificate]:
    """Read the DER certificates of a message, the signer's first.

    Raises:
        VectorRefused: none, too many, or a key too large to use.
        UNREADABLE: a certificate cannot be read.
    """
    if not 0 < len(chain) <= MOST_CERTIFICATES:
        raise _refuse(f"KeyInfo holds {len(chain)} certificates; 1 to {MOST_CERTIFICATES} are read")
    certificates = [x509.load_der_x509_certificate(octets) for octets in chain]
    for certificate in certificates:
        key = _key(certificate)
        if key is not None and key.key_size > _KEY_BITS_MOST:
            raise _refuse(f"KeyInfo holds a key of more than {_KEY_BITS_MOST} bits")
    return certificates


def check_signer(certificate: x509.Certificate, *, rsa_bits: int) -> None:
    """Check what only the signer's certificate must be: not self-signed, strong enough, meant for signatures.

    Raises:
        VectorRefused: `certificate-self-signed` or `certificate-invalid`.
        UNREADABLE: a part of it cannot be read.
    """
    if certificate.subject == certificate.issuer:
        raise VectorRefused(
            Reason.CERTIFICATE_SELF_SIGNED, "the signer's certificate is self-signed"
        )
    if not has_strong_key(certificate, rsa_bits=rsa_bits):
        raise _refuse("the signer's key is too short, or neither RSA nor EC")
    if not _may_sign(certificate):
        raise _refuse("the key usage of the signer's certificate lacks digitalSignature")


def has_strong_key(certificate: x509.Certificate, *, rsa_bits: int) -> bool:
    """Tell whether the key is RSA of at least `rsa_bits`, or EC of at least 256."""
    key = _key(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= rsa_bits
    return key is not None and key.key_size >= _EC_BITS


def has_sound_hash(
    signed: x509.Certificate | x509.CertificateRevocationList, *, allow_sha1: bool
) -> bool:
    """Tell whether the signature over a certificate or CRL uses SHA-2, or SHA-1 where it is allowed."""
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False
    names = _SOUND_HASHES | {"sha1"} if allow_sha1 else _SOUND_HASHES
    return algorithm is not None and algorithm.name in names


def _key(certificate: x509.Certificate) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    """Return the key, None when it is of another kind or cannot be read."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True  # RFC 5280 4.2.1.3: without the extension every usage is allowed


def _refuse(detail: str) -> VectorRefused:
    return VectorRefused(Reason.CERTIFICATE_INVALID, detail)
