"""TLS with partners: contexts of 1.2 and 1.3 with modern suites, and whom a connection shows.

Promises that chain, revocation and pin are checked on every connection, resumed or not: OpenSSL's handshake turns strangers away,
and what it let through is held against the CRLs in force at that instant. A session resumed from a ticket shows the leaf alone; the
chain it came with the first time is remembered beside it. The private key is read from a file; `TlsIdentity` is the place for one in
a token.
"""

import ssl
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from cryptography import x509

from appliance.errors import ConfigurationError, Reason, VectorRefused
from appliance.trust.names import NamePattern, any_matches
from appliance.trust.paths import PartnerTrust

_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all sound
_DER: Final = 2  # _ssl.ENCODING_DER
_CHAINS: Final = 4096


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """Who we are to a TLS peer: a chain, PEM, leaf first, and the file of its private key."""

    certificates: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """Whom a connection shows: the leaf, DER, and its subject."""

    certificate: bytes
    subject: x509.Name


class ResumingContext(ssl.SSLContext):
    """A client's context that offers the last session of its peer again.

    The standard library lets a session be given only where the object is made, which event loops do themselves.
    """

    session: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Make a connection's object with the session in it."""
        return super().wrap_bio(
            incoming, outgoing, server_side, server_hostname, session or self.session
        )


def server_context(identity: TlsIdentity, roots: Sequence[Path]) -> ssl.SSLContext:
    """Make a context that serves; with roots it asks for a certificate under one of them, and takes no connection without.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = _modern(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _load_identity(context, identity)
    if roots:
        _load_roots(context, roots)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(identity: TlsIdentity | None, roots: Sequence[Path]) -> ResumingContext:
    """Make a context that connects to a peer under one of the roots; whether its name is right is checked too.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    _modern(context)
    _load_roots(context, roots)
    if identity is not None:
        _load_identity(context, identity)
    return context


class TlsPeers:
    """Those of a partner: trusted chain, current CRLs, and where the partner names any, its pins and its names."""

    def __init__(
        self, trust: PartnerTrust, pins: frozenset[bytes], names: Sequence[NamePattern]
    ) -> None:
        self._trust: Final = trust
        self._pins: Final = pins
        self._names: Final = tuple(names)
        self._chains: Final[OrderedDict[bytes, list[bytes]]] = OrderedDict()

    def __repr__(self) -> str:
        return f"TlsPeers({self._trust!r}, pins={len(self._pins)}, names={len(self._names)})"

    def check(self, shown: ssl.SSLObject, at: datetime) -> TlsPeer:
        """Check whom a connection shows.

        Raises:
            VectorRefused: `certificate-…`, `revocation-unknown` or `tls-peer`.
        """
        chain = self._remember(read_shown(shown))
        signer = self._trust.check(chain, at)
        if self._pins and signer.fingerprint not in self._pins:
            raise VectorRefused(
                Reason.TLS_PEER, "the TLS certificate is none of those that are pinned"
            )
        if self._names and not any_matches(self._names, signer.subject):
            raise VectorRefused(
                Reason.TLS_PEER, "the TLS certificate has another name than the partner's"
            )
        return TlsPeer(chain[0], signer.subject)

    def _remember(self, chain: list[bytes]) -> list[bytes]:
        """Return the chain, for one that is a leaf alone the chain it came with before."""
        leaf = sha256(chain[0]).digest()
        if len(chain) == 1:
            return self._chains.get(leaf, chain)
        self._chains[leaf] = chain
        self._chains.move_to_end(leaf)
        if len(self._chains) > _CHAINS:
            self._chains.popitem(last=False)
        return chain


def read_shown(shown: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that the peer showed, DER, its own first.

    Raises:
        VectorRefused: it showed none.
    """
    leaf = shown.getpeercert(binary_form=True)
    if not isinstance(leaf, bytes):
        raise VectorRefused(Reason.TLS_PEER, "the TLS peer showed no certificate")
    return [leaf, *(other for other in _others(shown) if other != leaf)]


def _others(shown: ssl.SSLObject) -> list[bytes]:
    """What came with the leaf; public from Python 3.13 on, there before."""
    public = getattr(shown, "get_unverified_chain", None)
    if public is not None:
        return list(cast("list[bytes]", public()))
    inner = getattr(shown, "_sslobj")  # noqa: B009 - a private attribute that the type does not state
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_identity(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    file = identity.private_key
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(str(file), "", "a file for its owner only: chmod 600")
        context.load_cert_chain(identity.certificates, file, password=_no_password)
    except ssl.SSLError as exc:
        raise ConfigurationError(
            str(identity.certificates),
            "",
            f"a PEM chain that fits the key in {file} ({exc.reason})",
        ) from exc
    except OSError as exc:
        raise ConfigurationError(
            str(exc.filename or file), "", f"a readable file ({exc.strerror})"
        ) from exc


def _no_password() -> str:
    """Answer for an encrypted key: there is nobody to ask."""
    return ""


def _load_roots(context: ssl.SSLContext, roots: Sequence[Path]) -> None:
    for file in roots:
        try:
            context.load_verify_locations(file)
        except ssl.SSLError as exc:
            raise ConfigurationError(str(file), "", "certificates in PEM") from exc
        except OSError as exc:
            raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc
