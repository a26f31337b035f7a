"""Who may connect and what a head must look like before anything is spent on it.

Counts connections by listener and by peer, refuses a foreign `Host` or any `Origin` (the shape of a browser turned against us),
and knows whether the service drains. Refuses by name; never waits.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from appliance.errors import ForeignRequest, Pushback, Reason
from appliance.metrics import CONNECTIONS
from appliance.server.callers import Peer
from appliance.server.settings import ServerSettings

Fields = Mapping[bytes, bytes]
"""The header fields that admission and routes look at, by lower-case name."""


class Arrival(msgspec.Struct, frozen=True):
    """What the protocol hands to the application beside the ASGI scope, as `scope["extensions"]["appliance"]["arrival"]`.

    Attributes:
        abort: cuts the connection, whatever was written.
        is_gone: tells whether the connection is closing.
    """

    peer: Peer
    fields: Fields
    abort: Callable[[], None]
    is_gone: Callable[[], bool]


class Admission:
    """The door of one process."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings: Final = settings
        self.is_draining = False
        self._by_listener: Final = Counter[str]()
        self._by_peer: Final = Counter[tuple[str, str]]()
        self._lingering = 0

    def __repr__(self) -> str:
        return f"Admission(connections={dict(self._by_listener)}, draining={self.is_draining})"

    def enter(self, peer: Peer) -> None:
        """Count a connection in.

        Raises:
            Pushback: one more than the listener or the peer may have; it has not been counted.
        """
        settings = self.settings
        if self._by_listener[peer.listener] >= settings.connections:
            raise Pushback(
                Reason.CONNECTION_LIMIT,
                f"this listener serves {settings.connections} connections at a time; keep fewer open",
            )
        if self._by_peer[peer.listener, peer.address] >= settings.connections_per_peer:
            raise Pushback(
                Reason.CONNECTION_LIMIT,
                f"one peer may hold {settings.connections_per_peer} connections; reuse them",
            )
        self._by_listener[peer.listener] += 1
        self._by_peer[peer.listener, peer.address] += 1
        CONNECTIONS.labels(peer.listener).inc()

    def leave(self, peer: Peer) -> None:
        """Count a connection out that `enter` counted in."""
        self._by_listener[peer.listener] -= 1
        self._by_peer[peer.listener, peer.address] -= 1
        if not self._by_peer[peer.listener, peer.address]:
            del self._by_peer[peer.listener, peer.address]
        CONNECTIONS.labels(peer.listener).dec()

    def may_linger(self) -> bool:
        """Let a connection over the limit hear why, unless as many as one peer may have are hearing it already."""
        if self._lingering >= self.settings.connections_per_peer:
            return False
        self._lingering += 1
        return True

    def lingered(self) -> None:
        """Count out a connection that `may_linger` let in."""
        self._lingering -= 1


def check_foreign(peer: Peer, fields: Fields) -> None:
    """Refuse what a web page could make a browser send here; the protocol has made sure of one Host.

    Raises:
        ForeignRequest: the Host is not one of ours, or there is an Origin.
    """
    host = fields[b"host"]
    if host not in peer.hosts and host.lower() not in peer.hosts:
        raise ForeignRequest(
            Reason.FOREIGN_HOST, "the Host field does not name this service; use its own address"
        )
    if b"origin" in fields:
        raise ForeignRequest(
            Reason.FOREIGN_ORIGIN,
            "requests with an Origin field are refused; browsers have no business here",
        )
