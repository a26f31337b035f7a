"""How long a connection has been doing what it does, judged at the worker's tick and not by a timer of its own.

A phase's clock starts at the first tick that finds it, so that a request which comes and goes between two ticks never reads the
clock; a limit in time may thus be overrun by two ticks. Holds no socket.
"""

import math
from enum import Enum, auto
from typing import Final

from appliance.server.settings import ServerSettings


class Phase(Enum):
    """What the peer is expected to do next."""

    OPENING = auto()
    """Connected, nothing sent yet."""
    HEAD = auto()
    BODY = auto()
    IDLE = auto()
    """The last request is complete; its answer may be under way."""
    ENDED = auto()
    """Nothing more is read; an answer is still due."""
    CLOSING = auto()
    """The last answer is written; the peer is given time to read it."""


class Pace:
    """The clock of one connection.

    Attributes:
        phase: set with `enter`.
        body_octets: what came since the current look at a body began; the protocol adds to it.
    """

    __slots__ = (
        "_limits",
        "_pending",
        "_settings",
        "_since",
        "_stalled_since",
        "body_octets",
        "phase",
    )

    def __init__(self, settings: ServerSettings) -> None:
        self.phase = Phase.OPENING
        self.body_octets = 0
        self._settings: Final = settings
        self._limits: Final = {
            Phase.OPENING: settings.head_timeout,
            Phase.HEAD: settings.head_timeout,
            Phase.IDLE: settings.keep_alive,
            Phase.ENDED: math.inf,
            Phase.CLOSING: settings.linger,
        }
        self._since: float | None = None
        self._stalled_since = 0.0
        self._pending = 0

    def __repr__(self) -> str:
        return f"Pace({self.phase.name}, since={self._since})"

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase = phase
        self._since = None

    def is_overrun(self, now: float, *, is_paused: bool) -> bool:
        """Tell whether the phase has lasted too long; while paused by us its clock stands at zero."""
        if self._since is None or is_paused:
            self._since = now
            self.body_octets = 0
            return False
        waited = now - self._since
        if self.phase is Phase.BODY:
            return waited >= self._settings.body_grace and self._is_body_slow(now, waited)
        return waited > self._limits[self.phase]

    def _is_body_slow(self, now: float, waited: float) -> bool:
        came, self.body_octets = self.body_octets, 0
        self._since = now
        return came < self._settings.body_rate * waited

    def is_stalled(self, now: float, pending: int) -> bool:
        """Tell whether the peer has taken nothing of the `pending` octets of its answer for too long."""
        if not pending or pending < self._pending or not self._pending:
            self._stalled_since = now
        self._pending = pending
        return now - self._stalled_since > self._settings.write_timeout
