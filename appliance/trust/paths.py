"""Who may speak for a partner: certificate path, revocation and pins, decided by OpenSSL at an explicit instant.

Promises that a chain is accepted only when it ends in a configured self-signed root and a current CRL vouches for every
certificate of the path (fail closed), at the instant given and not at the machine's time. Intermediates come from the message in
any order; nothing is fetched. An acceptance is remembered for at most a minute and never past a certificate's or CRL's end; a
refusal is not. One owner, one thread.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL.crypto import (
    X509,
    X509Store,
    X509StoreContext,
    X509StoreContextError,
    X509StoreFlags,
)

from appliance.clock import Clock
from appliance.errors import ConfigurationError, Reason, VectorRefused
from appliance.trust.certificates import (
    UNREADABLE,
    check_signer,
    has_sound_hash,
    has_strong_key,
    load_certificates,
    read_chain,
)
from appliance.trust.revocation import CrlDirectory, CrlSet

_REMEMBERED: Final = 1024
_REMEMBERED_FOR: Final = timedelta(seconds=60)

# X509_V_ERR_* of openssl/x509_vfy.h, as X509StoreContextError.errors[0] gives them.
_REVOKED: Final = 23
_REVOCATION_UNKNOWN: Final = frozenset(
    {
        3,  # UNABLE_TO_GET_CRL
        5,  # UNABLE_TO_DECRYPT_CRL_SIGNATURE
        8,  # CRL_SIGNATURE_FAILURE
        11,  # CRL_NOT_YET_VALID
        12,  # CRL_HAS_EXPIRED
        15,  # ERROR_IN_CRL_LAST_UPDATE_FIELD
        16,  # ERROR_IN_CRL_NEXT_UPDATE_FIELD
        33,  # UNABLE_TO_GET_CRL_ISSUER
        35,  # KEYUSAGE_NO_CRL_SIGN
        36,  # UNHANDLED_CRITICAL_CRL_EXTENSION
        44,  # DIFFERENT_CRL_SCOPE
        54,  # CRL_PATH_VALIDATION_ERROR
    }
)


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """Where a provider convention's trust comes from; conventions with equal settings share one `PartnerTrust`.

    Attributes:
        roots: files of trust anchors. A certificate in them that is not self-signed is never an anchor; it completes paths.
        crl_directory: CRLs, PEM or DER.
        certificates: when not empty, files of the only signers accepted.
        allow_sha1: accept SHA-1 in the chain and in CRLs, and RSA keys from 1024 bits.
    """

    roots: tuple[Path, ...]
    crl_directory: Path
    certificates: tuple[Path, ...]
    allow_sha1: bool


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """Whom a chain found good speaks for.

    Attributes:
        public_key: DER SubjectPublicKeyInfo.
        legacy_sha1: a certificate of the path, the root aside, is signed with SHA-1.
    """

    public_key: bytes
    legacy_sha1: bool


@dataclass(frozen=True, slots=True)
class _Acceptance:
    """A chain found good, with the CRLs and the instants for which that holds."""

    signer: TrustedSigner
    crls: CrlSet
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class _TimedStore:
    """An OpenSSL store for one set of CRLs and one second."""

    store: X509Store
    crls: CrlSet
    second: datetime


class PartnerTrust:
    """The trust of one provider convention, or of several with equal settings."""

    def __init__(self, settings: TrustSettings, clock: Clock) -> None:
        """Load the anchors and pins.

        Raises:
            ConfigurationError: a file cannot be read, or no self-signed root is among the roots.
        """
        given = [c for file in settings.roots for c in load_certificates(file)]
        roots = [certificate for certificate in given if certificate.subject == certificate.issuer]
        if not roots:
            raise ConfigurationError(
                ", ".join(map(str, settings.roots)), "", "at least one self-signed root certificate"
            )
        pins = [c for file in settings.certificates for c in load_certificates(file)]
        self._allow_sha1: Final = settings.allow_sha1
        self._anchors: Final = [X509.from_cryptography(root) for root in roots]
        self._intermediates: Final = [X509.from_cryptography(c) for c in given if c not in roots]
        self._pins: Final = frozenset(c.fingerprint(hashes.SHA256()) for c in pins)
        self._crls: Final = CrlDirectory(
            settings.crl_directory, clock, allow_sha1=settings.allow_sha1
        )
        self._accepted: OrderedDict[bytes, _Acceptance] = OrderedDict()
        self._timed_store: _TimedStore | None = None

    def check(self, chain: list[bytes], at: datetime) -> TrustedSigner:
        """Accept a chain (DER, signer first) that is good at `at`.

        Raises:
            VectorRefused: `certificate-…` or `revocation-unknown`.
        """
        crls = self._crls.current()
        name = _fingerprint(chain)
        known = self._accepted.get(name)
        if known is not None and known.crls is crls and known.begins <= at < known.ends:
            self._accepted.move_to_end(name)
            return known.signer
        try:
            acceptance = self._judge(chain, at, crls)
        except UNREADABLE as exc:
            raise VectorRefused(
                Reason.CERTIFICATE_INVALID, "KeyInfo holds a certificate that cannot be read"
            ) from exc
        self._accepted[name] = acceptance
        self._accepted.move_to_end(name)
        if len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        return acceptance.signer

    def _judge(self, chain: list[bytes], at: datetime, crls: CrlSet) -> _Acceptance:
        certificates = read_chain(chain)
        signer = certificates[0]
        check_signer(signer, allow_sha1=self._allow_sha1)
        if self._pins and signer.fingerprint(hashes.SHA256()) not in self._pins:
            raise _distrust("the signer's certificate is none of those the convention names")
        path = self._find_path(certificates, at, crls)
        self._check_strength(path)
        legacy_sha1 = not all(has_sound_hash(each, allow_sha1=False) for each in path[:-1])
        public_key = signer.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        ends = [at + _REMEMBERED_FOR, *(certificate.not_valid_after_utc for certificate in path)]
        next_update = crls.next_update_after(at)
        trusted = TrustedSigner(public_key, legacy_sha1)
        return _Acceptance(trusted, crls, at, min([*ends, next_update] if next_update else ends))

    def _find_path(
        self, certificates: Sequence[x509.Certificate], at: datetime, crls: CrlSet
    ) -> list[x509.Certificate]:
        signer, *others = map(X509.from_cryptography, certificates)
        context = X509StoreContext(
            self._store_at(at, crls), signer, [*others, *self._intermediates]
        )
        try:
            path = context.get_verified_chain()
        except X509StoreContextError as exc:
            raise _read_refusal(exc) from exc
        return [certificate.to_cryptography() for certificate in path]

    def _store_at(self, at: datetime, crls: CrlSet) -> X509Store:
        """Return a store for this second; one that has a time cannot be given another (X509_VERIFY_PARAM_set1 keeps the first)."""
        second = at.astimezone(UTC).replace(microsecond=0)
        timed = self._timed_store
        if timed is None or timed.crls is not crls or timed.second != second:
            store = X509Store()
            for anchor in self._anchors:
                store.add_cert(anchor)
            for crl in crls.crls:
                store.add_crl(crl)
            store.set_flags(X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL)
            store.set_time(second)
            timed = self._timed_store = _TimedStore(store, crls, second)
        return timed.store

    def _check_strength(self, path: Sequence[x509.Certificate]) -> None:
        """Refuse weak CAs; the anchor's own signature proves nothing and is not looked at."""
        for certificate in path:
            if not has_strong_key(certificate, allow_sha1=self._allow_sha1):
                raise _distrust("a CA of the path has a key that is too short")
        for certificate in path[:-1]:
            if not has_sound_hash(certificate, allow_sha1=self._allow_sha1):
                raise _distrust("a certificate of the path is signed with a hash that is refused")


def _fingerprint(chain: Sequence[bytes]) -> bytes:
    """Name a chain; each certificate's length goes in, so that no two chains share a name."""
    name = hashlib.sha256()
    for octets in chain:
        name.update(len(octets).to_bytes(8, "big"))
        name.update(octets)
    return name.digest()


def _read_refusal(exc: X509StoreContextError) -> VectorRefused:
    code, depth, text = exc.errors
    where = f"certificate {depth} of the path (0 is the signer): {text}"
    if code == _REVOKED:
        return VectorRefused(Reason.CERTIFICATE_REVOKED, where)
    if code in _REVOCATION_UNKNOWN:
        return VectorRefused(Reason.REVOCATION_UNKNOWN, where)
    return VectorRefused(Reason.CERTIFICATE_NOT_TRUSTED, where)


def _distrust(detail: str) -> VectorRefused:
    return VectorRefused(Reason.CERTIFICATE_NOT_TRUSTED, detail)
