"""The public side of the signing keys: which certificate speaks for each, and how vectors state its signatures.

Owns the signature profiles. Promises that a key is used only with an algorithm of its kind. Whether a certificate is valid today
is not decided here: `doctor` says it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.errors import ConfigurationError
from appliance.native import SignatureProfile
from hsm.settings import Mechanism

KeyInfo = Literal["chain", "leaf"]
Variant = Literal["A", "B"]
_Kind = Literal["rsa", "ec"]
_Way = Literal["rsa", "rsa-pss", "ec"]

_XMLDSIG_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_DIGESTS: Final = {
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": f"{_XMLDSIG_MORE}sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}
_PSS_MORE: Final = "http://www.w3.org/2007/05/xmldsig-more#"
_ALGORITHMS: Final[dict[str, tuple[_Way, str]]] = {
    **{f"{_XMLDSIG_MORE}rsa-{name}": ("rsa", name) for name in _DIGESTS},
    **{f"{_XMLDSIG_MORE}ecdsa-{name}": ("ec", name) for name in _DIGESTS},
    **{f"{_PSS_MORE}{name}-rsa-MGF1": ("rsa-pss", name) for name in _DIGESTS},
}
"""SignatureMethod URI (RFC 6931 2.3) → how the key must sign, and its hash; the vector's digests use the same hash."""

_WAYS: Final[Mapping[_Way, tuple[str, str]]] = {
    "rsa": ("rsa-sha256, rsa-sha384 or rsa-sha512", "an RSA key that signs with PKCS #1 v1.5"),
    "rsa-pss": (
        "rsa-pss-sha256, rsa-pss-sha384 or rsa-pss-sha512",
        'an RSA key whose [[key]] says mechanism = "rsa-pss"',
    ),
    "ec": ("ecdsa-sha256 or ecdsa-sha384", "an EC key"),
}
"""How a key signs → the names that conventions use for it, and what such a key is."""


class KeyRefTable(Protocol):
    """What is read of a `[[key]]`."""

    @property
    def name(self) -> str:
        """The KeyRef."""

    @property
    def certificates(self) -> Path:
        """PEM, leaf first."""

    @property
    def mechanism(self) -> Mechanism:
        """How an RSA key signs."""


@dataclass(frozen=True)
class CertifiedKey:
    """A KeyRef with its certificate chain (DER, leaf first) and the leaf's public key (DER SubjectPublicKeyInfo)."""

    name: str
    kind: _Kind
    public_key: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    file: Path
    mechanism: Mechanism = ""
    not_after: datetime | None = None

    @property
    def way(self) -> _Way:
        """Which algorithms it can be used with."""
        return "rsa-pss" if self.mechanism == "rsa-pss" else self.kind

    @cached_property
    def certificate_sha256(self) -> str:
        """Fingerprint of the leaf, hexadecimal."""
        return hashlib.sha256(self.certificates[0]).hexdigest()

    @cached_property
    def key_sha256(self) -> str:
        """Fingerprint of the public key, hexadecimal."""
        return hashlib.sha256(self.public_key).hexdigest()


class Keyring:
    """The certified keys of a home; only `adopt` changes them."""

    def __init__(self, keys: Sequence[CertifiedKey]) -> None:
        self._keys = {key.name: key for key in keys}
        self._profiles: dict[tuple[str, str, KeyInfo, Variant], SignatureProfile] = {}

    @classmethod
    def load(cls, tables: Sequence[KeyRefTable]) -> "Keyring":
        """Read the certificates of every `[[key]]`.

        Raises:
            ConfigurationError: a file cannot be read, is no PEM chain, or its leaf is neither RSA nor P-256/P-384.
        """
        return cls([_load_key(table) for table in tables])

    def adopt(self, other: "Keyring") -> None:
        """Speak for the keys of another keyring from now on."""
        self._keys = dict(other.certified())
        self._profiles = {}

    def certified(self) -> Mapping[str, CertifiedKey]:
        """Every key with its certificates, by KeyRef."""
        return self._keys

    def names(self) -> Sequence[str]:
        """The KeyRefs, in the order of the configuration."""
        return tuple(self._keys)

    def profile(
        self,
        key: str,
        signature_algorithm: str,
        key_info: KeyInfo = "chain",
        variant: Variant = "A",
    ) -> SignatureProfile:
        """Return how the key signs with the algorithm (SignatureMethod URI), what it shows of its chain, and in which shape.

        Raises:
            ConfigurationError: no such key, no such algorithm, or they do not fit each other.
        """
        wanted = (key, signature_algorithm, key_info, variant)
        profile = self._profiles.get(wanted)
        if profile is None:
            certified = self._certified(key)
            profile = _make_profile(certified, signature_algorithm, key_info, variant)
            self._profiles[wanted] = profile
        return profile

    def trace_facts(self, key: str) -> "CertifiedKey":
        """Return the key, whose fingerprints the trace states.

        Raises:
            ConfigurationError: no such key.
        """
        return self._certified(key)

    def hashes_in_token(self, key: str) -> bool:
        """Whether the lane must be given what the digest is of.

        Raises:
            ConfigurationError: no such key.
        """
        return self._certified(key).mechanism == "rsa-hash-in-token"

    def public_key(self, key: str) -> bytes:
        """Return the certified public key, DER SubjectPublicKeyInfo: what a lane must prove.

        Raises:
            ConfigurationError: no such key.
        """
        return self._certified(key).public_key

    def _certified(self, key: str) -> CertifiedKey:
        certified = self._keys.get(key)
        if certified is None:
            raise ConfigurationError("appliance.toml", "key", f"a [[key]] named `{key}`")
        return certified


def _load_key(table: KeyRefTable) -> CertifiedKey:
    try:
        chain = x509.load_pem_x509_certificates(table.certificates.read_bytes())
    except OSError as exc:
        expected = f"a readable file ({exc.strerror})"
        raise ConfigurationError(str(table.certificates), "", expected) from exc
    except ValueError as exc:
        expected = "a PEM certificate chain, leaf first"
        raise ConfigurationError(str(table.certificates), "", expected) from exc
    public_key = chain[0].public_key()
    return CertifiedKey(
        table.name,
        _kind_of(public_key, table.certificates),
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        tuple(certificate.public_bytes(Encoding.DER) for certificate in chain),
        table.certificates,
        table.mechanism,
        chain[0].not_valid_after_utc,
    )


def _kind_of(public_key: object, file: Path) -> _Kind:
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa"
    if isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(
        public_key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        return "ec"
    raise ConfigurationError(str(file), "", "a certificate for an RSA, P-256 or P-384 key")


def _make_profile(
    key: CertifiedKey, signature_algorithm: str, key_info: KeyInfo, variant: Variant
) -> SignatureProfile:
    way, hash_name = _ALGORITHMS.get(signature_algorithm, (None, ""))
    if way != key.way:
        raise ConfigurationError(str(key.file), "", _say_fitting(key, way))
    return SignatureProfile(
        signature_algorithm=signature_algorithm,
        digest_algorithm=_DIGESTS[hash_name],
        public_key=key.public_key,
        certificates=key.certificates if key_info == "chain" else key.certificates[:1],
        variant=variant,
    )


def _say_fitting(key: CertifiedKey, wanted: _Way | None) -> str:
    """Say what the key can do, and what the algorithm that was asked for would need."""
    names, is_what = _WAYS[key.way]
    fitting = f"{names}: `{key.name}` is {is_what}"
    return fitting if wanted is None else f"{fitting}; what is named needs {_WAYS[wanted][1]}"
