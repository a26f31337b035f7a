"""Bounds what refusals may write: so many entries for each peer, the excess counted and stated in one entry.

Promises that no refusal is forgotten (each stands in an entry of its own or in a count), that a peer which is refused without end costs a
few entries a second, and that the memory of peers is bounded: the least recent give way, their counts stated.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from appliance.clock import Clock, format_instant
from appliance.trace.record import TraceEntry

_PEERS: Final = 4096


@dataclass(frozen=True, slots=True)
class RefusalSettings:
    """How many refusals of one peer get an entry of their own.

    Attributes:
        burst: at once.
        per_second: for ever.
        summary: seconds after which an excess is stated.
    """

    burst: int = 50
    per_second: float = 5.0
    summary: float = 10.0


@dataclass(slots=True)
class _Peer:
    """A token bucket, and what did not fit in it."""

    tokens: float
    filled_at: float
    excess: int = 0
    since: str = ""


class RefusalLimiter:
    """Counts the refusals of one worker."""

    def __init__(self, settings: RefusalSettings, clock: Clock) -> None:
        self._settings: Final = settings
        self._clock: Final = clock
        self._peers: Final[OrderedDict[str, _Peer]] = OrderedDict()
        self._displaced: list[TraceEntry] = []

    def admits(self, peer: str) -> bool:
        """Tell whether a refusal to `peer` gets an entry of its own; it is counted where it does not."""
        now = self._clock.monotonic()
        known = self._peers.get(peer)
        if known is None:
            known = self._peers[peer] = _Peer(self._settings.burst, now)
            self._make_room()
        self._peers.move_to_end(peer)
        earned = (now - known.filled_at) * self._settings.per_second
        known.tokens, known.filled_at = min(self._settings.burst, known.tokens + earned), now
        if known.tokens >= 1:
            known.tokens -= 1
            return True
        if not known.excess:
            known.since = format_instant(self._clock.now())
        known.excess += 1
        return False

    def summaries(self) -> list[TraceEntry]:
        """Return an entry for each excess, and forget it."""
        summaries, self._displaced = self._displaced, []
        for name, peer in self._peers.items():
            if peer.excess:
                summaries.append(self._summarise(name, peer))
                peer.excess = 0
        return summaries

    def _make_room(self) -> None:
        while len(self._peers) > _PEERS:
            name, peer = self._peers.popitem(last=False)
            if peer.excess:
                self._displaced.append(self._summarise(name, peer))

    def _summarise(self, name: str, peer: _Peer) -> TraceEntry:
        return TraceEntry(
            event="refusals-summarised",
            time=format_instant(self._clock.now()),
            peer=name,
            count=peer.excess,
            since=peer.since,
        )
