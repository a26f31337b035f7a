"""Who may speak for a partner: certificate path and revocation, decided by OpenSSL at an explicit instant.

Promises that a chain is accepted only when it ends in a configured self-signed root and a current CRL vouches for every
certificate of the path (fail closed), at the instant given and not at the machine's time; a grace that the convention sets lets a
CRL count a while after its next update, and is flagged. Intermediates come from the message in any order; nothing is fetched. An
acceptance is remembered for at most a minute and never past a certificate's or CRL's end; a refusal is not. One owner, one thread.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
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

from appliance.errors import ConfigurationError, Reason, VectorRefused
from appliance.trust.certificates import (
    UNREADABLE,
    check_signer,
    has_sound_hash,
    has_strong_key,
    load_certificates,
    read_chain,
)
from appliance.trust.revocation import CrlDirectories, CrlSet
from appliance.vectors.characters import shorten

_REMEMBERED: Final = 1024
_REMEMBERED_FOR: Final = timedelta(seconds=60)
_REMEMBERED_IN_GRACE: Final = timedelta(seconds=1)

_RSA_BITS: Final = 2048
_RSA_BITS_LEGACY: Final = 1024

_NO_CHECK_TIME: Final = (
    0x200000  # X509_V_FLAG_NO_CHECK_TIME of openssl/x509_vfy.h, which pyOpenSSL does not name
)

# X509_V_ERR_* of openssl/x509_vfy.h, as X509StoreContextError.errors[0] gives them.
_REVOKED: Final = 23
_CRL_HAS_EXPIRED: Final = 12
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
        allow_sha1: accept SHA-1 in the chain and in CRLs, and RSA keys from 1024 bits.
        minimum_rsa_bits: of every key of the path; None: 2048, or 1024 where SHA-1 is allowed.
        crl_grace: seconds for which a CRL still counts after its next update.
    """

    roots: tuple[Path, ...]
    crl_directory: Path
    allow_sha1: bool
    minimum_rsa_bits: int | None = None
    crl_grace: float = 0.0


class TrustedSigner(msgspec.Struct, frozen=True):
    """Whom a chain found good speaks for.

    Attributes:
        public_key: DER SubjectPublicKeyInfo.
        subject, anchor: names of the signer and of the trust anchor actually used.
        fingerprint: SHA-256 of the signer's certificate.
        path: DER, the signer first, the anchor last.
        legacy_sha1: a certificate of the path, the root aside, is signed with SHA-1.
        in_grace: a CRL past its next update was relied on.
        crls: SHA-256, hexadecimal, of the CRLs that vouch for the path, that of the signer's issuer first.
        ocsp: the responder that also vouches for the signer, where a convention asks one.
    """

    public_key: bytes
    subject: x509.Name
    anchor: x509.Name
    fingerprint: bytes
    path: tuple[bytes, ...]
    legacy_sha1: bool
    in_grace: bool
    crls: tuple[str, ...]
    ocsp: str | None = None


@dataclass(frozen=True, slots=True)
class _Path:
    """The certificates from the signer to the anchor, and whether a CRL past its next update vouched for one of them."""

    certificates: tuple[x509.Certificate, ...]
    in_grace: bool = False


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
    """The trust of one provider convention, or of several with equal settings.

    Attributes:
        settings: what it was made from.
        names: subjects, DER, of every certificate in the files of roots; a good chain was issued under one of them.
        authorities: those certificates.
        crls: where revocation is looked up.
    """

    def __init__(self, settings: TrustSettings, directories: CrlDirectories) -> None:
        """Load the anchors.

        Raises:
            ConfigurationError: a file cannot be read, or no self-signed root is among the roots.
        """
        given = [c for file in settings.roots for c in load_certificates(file)]
        roots = [certificate for certificate in given if certificate.subject == certificate.issuer]
        if not roots:
            raise ConfigurationError(
                ", ".join(map(str, settings.roots)), "", "at least one self-signed root certificate"
            )
        self.settings: Final = settings
        self.authorities: Final = tuple(given)
        self.names: Final = frozenset(c.subject.public_bytes() for c in given)
        self.crls: Final = directories.at(settings.crl_directory, allow_sha1=settings.allow_sha1)
        default = _RSA_BITS_LEGACY if settings.allow_sha1 else _RSA_BITS
        self._rsa_bits: Final = settings.minimum_rsa_bits or default
        self._grace: Final = timedelta(seconds=settings.crl_grace)
        self._anchors: Final = [X509.from_cryptography(root) for root in roots]
        self._intermediates: Final = [X509.from_cryptography(c) for c in given if c not in roots]
        self._accepted: OrderedDict[bytes, _Acceptance] = OrderedDict()
        self._timed_store: _TimedStore | None = None

    def __repr__(self) -> str:
        return f"PartnerTrust({len(self._anchors)} anchors, {self.crls!r})"

    def check(self, chain: list[bytes], at: datetime) -> TrustedSigner:
        """Accept a chain (DER, signer first) that is good at `at`.

        Raises:
            VectorRefused: `certificate-…` or `revocation-unknown`.
        """
        crls = self.crls.current()
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
        check_signer(certificates[0], rsa_bits=self._rsa_bits)
        path = self._find_path(certificates, at, crls)
        self._check_strength(path.certificates)
        ends = [at + _REMEMBERED_FOR, *(each.not_valid_after_utc for each in path.certificates)]
        next_update = crls.next_update_after(at)
        if next_update is not None:
            ends.append(next_update)
        if path.in_grace:
            ends.append(at + _REMEMBERED_IN_GRACE)
        usable = crls.within(at, self._grace if path.in_grace else timedelta())
        return _Acceptance(_describe(path, usable), crls, at, min(ends))

    def _find_path(
        self, certificates: Sequence[x509.Certificate], at: datetime, crls: CrlSet
    ) -> _Path:
        try:
            return _Path(self._ask_openssl(self._store_at(at, crls), certificates))
        except X509StoreContextError as exc:
            if exc.errors[0] != _CRL_HAS_EXPIRED or not self._grace:
                raise _read_refusal(exc) from exc
        return self._find_path_in_grace(certificates, at, crls)

    def _find_path_in_grace(
        self, certificates: Sequence[x509.Certificate], at: datetime, crls: CrlSet
    ) -> _Path:
        """Ask again with the CRLs that are stale by no more than the grace; OpenSSL then leaves time to us."""
        store = self._make_store(crls.within(at, self._grace))
        store.set_flags(_NO_CHECK_TIME)
        signer, *others = certificates
        if not _is_valid_at(signer, at):
            raise _distrust("the signer's certificate is not valid at this time")
        try:
            path = self._ask_openssl(store, [signer, *(c for c in others if _is_valid_at(c, at))])
        except X509StoreContextError as exc:
            raise _read_refusal(exc) from exc
        if not all(_is_valid_at(certificate, at) for certificate in path):
            raise _distrust("a certificate of the path is not valid at this time")
        return _Path(path, in_grace=True)

    def _ask_openssl(
        self, store: X509Store, certificates: Sequence[x509.Certificate]
    ) -> tuple[x509.Certificate, ...]:
        signer, *others = map(X509.from_cryptography, certificates)
        context = X509StoreContext(store, signer, [*others, *self._intermediates])
        return tuple(each.to_cryptography() for each in context.get_verified_chain())

    def _make_store(self, crls: Sequence[x509.CertificateRevocationList]) -> X509Store:
        store = X509Store()
        for anchor in self._anchors:
            store.add_cert(anchor)
        for crl in crls:
            store.add_crl(crl)
        store.set_flags(X509StoreFlags.CRL_CHECK | X509StoreFlags.CRL_CHECK_ALL)
        return store

    def _store_at(self, at: datetime, crls: CrlSet) -> X509Store:
        """Return a store for this second; one that has a time cannot be given another (X509_VERIFY_PARAM_set1 keeps the first)."""
        second = at.astimezone(UTC).replace(microsecond=0)
        timed = self._timed_store
        if timed is None or timed.crls is not crls or timed.second != second:
            store = self._make_store(crls.crls)
            store.set_time(second)
            timed = self._timed_store = _TimedStore(store, crls, second)
        return timed.store

    def _check_strength(self, path: Sequence[x509.Certificate]) -> None:
        """Refuse weak CAs; the anchor's own signature proves nothing and is not looked at."""
        for certificate in path:
            if not has_strong_key(certificate, rsa_bits=self._rsa_bits):
                raise _distrust("a CA of the path has a key that is too short")
        for certificate in path[:-1]:
            if not has_sound_hash(certificate, allow_sha1=self.settings.allow_sha1):
                raise _distrust("a certificate of the path is signed with a hash that is refused")


def load_pins(files: Sequence[Path]) -> frozenset[bytes]:
    """Load pinned certificates as their fingerprints.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    pinned = (certificate for file in files for certificate in load_certificates(file))
    return frozenset(certificate.fingerprint(hashes.SHA256()) for certificate in pinned)


def _describe(path: _Path, crls: Sequence[x509.CertificateRevocationList]) -> TrustedSigner:
    signer, anchor = path.certificates[0], path.certificates[-1]
    return TrustedSigner(
        public_key=signer.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ),
        subject=signer.subject,
        anchor=anchor.subject,
        fingerprint=signer.fingerprint(hashes.SHA256()),
        path=tuple(each.public_bytes(Encoding.DER) for each in path.certificates),
        legacy_sha1=not all(has_sound_hash(c, allow_sha1=False) for c in path.certificates[:-1]),
        in_grace=path.in_grace,
        crls=tuple(_name_crls(path, crls)),
    )


def _name_crls(path: _Path, crls: Sequence[x509.CertificateRevocationList]) -> Iterator[str]:
    """Yield the digest of each CA's newest CRL, the CAs in the order of the path."""
    newest: dict[x509.Name, x509.CertificateRevocationList] = {}
    for crl in crls:
        known = newest.get(crl.issuer)
        if known is None or known.last_update_utc < crl.last_update_utc:
            newest[crl.issuer] = crl
    for issuer in dict.fromkeys(each.issuer for each in path.certificates):
        if issuer in newest:
            yield newest[issuer].fingerprint(hashes.SHA256()).hex()


def _is_valid_at(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _fingerprint(chain: Sequence[bytes]) -> bytes:
    """Name a chain; each certificate's length goes in, so that no two chains share a name."""
    name = hashlib.sha256()
    for octets in chain:
        name.update(len(octets).to_bytes(8, "big"))
        name.update(octets)
    return name.digest()


def _read_refusal(exc: X509StoreContextError) -> VectorRefused:
    code, depth, text = exc.errors
    issuer = _issuer_of(exc.certificate)
    where = f"certificate {depth} of the path (0 is the signer), issued by {issuer}: {text}"
    if code == _REVOKED:
        return VectorRefused(Reason.CERTIFICATE_REVOKED, where)
    if code in _REVOCATION_UNKNOWN:
        return VectorRefused(Reason.REVOCATION_UNKNOWN, where)
    return VectorRefused(Reason.CERTIFICATE_NOT_TRUSTED, where)


def _issuer_of(certificate: X509) -> str:
    """Name the CA whose CRL, or whose certificate, is looked for."""
    try:
        return shorten(certificate.to_cryptography().issuer.rfc4514_string())
    except UNREADABLE:
        return "a CA whose name cannot be read"


def _distrust(detail: str) -> VectorRefused:
    return VectorRefused(Reason.CERTIFICATE_NOT_TRUSTED, detail)
