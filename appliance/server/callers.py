"""Who is at the other end of our socket (CONTRACT 3): a unix uid, a bearer key, or loopback.

Promises that a key that is shown is also judged: a wrong one is refused even where no key would have been needed. Keys are kept
as SHA-256 only and compared in constant time, all of them, so timing tells neither which key nor how much of it was right.
"""

import asyncio
import hmac
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from ssl import SSLObject
from typing import Final, cast

from appliance.errors import Reason, UnknownCaller
from appliance.vectors.model import Caller

UNIX_HOSTS: Final = frozenset({b"appliance", b"localhost"})
"""What `Host` may say on a unix socket, where no name is needed to get here."""

_SCHEME: Final = b"bearer "
_MAPPED: Final = "::ffff:"  # RFC 4291, 2.5.5.2
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of one connection, as the kernel tells it.

    Attributes:
        listener: name of the listener it came through.
        hosts: what its `Host` may say, lower case.
        address: IP address, or `uid:1000` on a unix socket.
        uid: SO_PEERCRED on a unix socket, else None.
        is_loopback: a TCP peer on this machine.
        tls: what TLS knows of the connection; None in clear.
    """

    listener: str
    hosts: frozenset[bytes]
    address: str
    uid: int | None
    is_loopback: bool
    tls: SSLObject | None = field(default=None, repr=False, compare=False)


NOBODY: Final = Peer("", frozenset(), "", None, is_loopback=False)
"""Stands in until the kernel has told who connects."""


def read_peer(transport: asyncio.Transport) -> Peer:
    """Ask the kernel who connects.

    Raises:
        OSError: the peer is already gone.
    """
    sock = cast("socket.socket", transport.get_extra_info("socket"))
    if sock.family == socket.AF_UNIX:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = cast("tuple[int, int, int]", _UCRED.unpack(credentials))
        return Peer(str(sock.getsockname()), UNIX_HOSTS, f"uid:{uid}", uid, is_loopback=False)
    here = cast("tuple[str, int]", sock.getsockname()[:2])
    address = plain_address(str(sock.getpeername()[0]))
    listener, hosts = _listener_facts(*here)
    tls = cast("SSLObject | None", transport.get_extra_info("ssl_object"))
    return Peer(listener, hosts, address, None, ip_address(address).is_loopback, tls)


def plain_address(text: str) -> str:
    """Return the IPv4 address of a peer that reached a listener of both families by IPv4; any other as it is."""
    mapped = IPv6Address(text).ipv4_mapped if text.startswith(_MAPPED) else None
    return text if mapped is None else str(mapped)


@lru_cache(maxsize=64)
def _listener_facts(address: str, port: int) -> tuple[str, frozenset[bytes]]:
    """Name a TCP listener, and list what `Host` may say to it: its address or a name of loopback, with its port or none."""
    literal = f"[{address}]" if ":" in address else address
    names = {literal, "127.0.0.1", "localhost", "[::1]"}
    forms = (form for name in names for form in (name, f"{name}:{port}"))
    return f"{literal}:{port}", frozenset(form.encode("ascii") for form in forms)


@dataclass(frozen=True, slots=True)
class BearerKey:
    """A configured key: who it stands for, the SHA-256 of its text, and the conventions it may use (None: all)."""

    name: str
    sha256: bytes
    conventions: frozenset[str] | None = None


class CallerDirectory:
    """Recognises callers; immutable, replaced whole on reload."""

    def __init__(self, keys: Sequence[BearerKey], own_uid: int) -> None:
        self._keys: Final = tuple(
            (key.sha256, Caller(key.name, "key", key.conventions)) for key in keys
        )
        self._own_uids: Final = frozenset({0, own_uid})

    def recognise(self, peer: Peer, authorization: bytes | None) -> Caller:
        """Say who calls.

        Raises:
            UnknownCaller: a credential that is not ours, or none where the connection alone is not enough.
        """
        if authorization is not None:
            return self._recognise_key(authorization)
        if peer.uid in self._own_uids:
            return Caller(peer.address, "unix")
        if peer.is_loopback:
            return Caller("loopback", "loopback")
        raise UnknownCaller(
            Reason.UNKNOWN_CALLER,
            "show a configured key as `Authorization: Bearer KEY`, or call as the service's own user",
        )

    def _recognise_key(self, authorization: bytes) -> Caller:
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise UnknownCaller(Reason.UNKNOWN_CALLER, "the only scheme taken is `Bearer KEY`")
        shown = sha256(authorization[len(_SCHEME) :].strip()).digest()
        found: Caller | None = None
        for digest, caller in self._keys:
            if hmac.compare_digest(digest, shown):
                found = caller
        if found is None:
            raise UnknownCaller(
                Reason.UNKNOWN_CALLER, "no caller is configured with this bearer key"
            )
        return found
