"""Whether a token can be reached: a circuit per token, so that callers are refused at once while it cannot.

Owns the verdict. Open (no current flows) means that no lane is up and that it is known why (one said so, its call never returned, or the
supervisor could not open another), or that none came back within the time that replacing one takes. Closed again when a lane has proven its keys; the supervisor's probing lane is the one that finds out.
"""

import math
from typing import Final

from appliance import metrics
from appliance.errors import HsmUnavailable, Reason
from hsm.errors import PIN_REFUSALS
from hsm.wire import Refused

OUTAGE_GRACE: Final = 1.0
"""Seconds without any lane, and without a reason, after which jobs are refused at once; replacing a lane takes less."""

_SPEAKING: Final = frozenset({"device", "capacity", "human"})
"""Kinds of failure that say the token itself is out of reach; after the others a new lane is likely to do."""


class Circuit:
    """What a worker knows of one token as a whole."""

    def __init__(self, token: str) -> None:
        self.token: Final = token
        self._lanes_up = 0
        self._silent_until = math.inf
        self._cause: Refused | None = None
        self._is_open = False
        self._gauge: Final = metrics.CIRCUIT_OPEN.labels(token)
        self._gauge.set(0)
        metrics.LANES_UP.labels(token).set(0)

    def __repr__(self) -> str:
        return f"Circuit({self.token}, {'open' if self._is_open else 'closed'}, {self._lanes_up} lanes)"

    @property
    def lanes_up(self) -> int:
        """How many lanes can be sent frames."""
        return self._lanes_up

    def is_open(self) -> bool:
        """Whether jobs for this token are refused at once."""
        return self._is_open

    def start(self, now: float) -> None:
        """Begin to wait for the first lane."""
        self._silent_until = now + OUTAGE_GRACE

    def lane_opened(self) -> None:
        """A lane has proven its keys."""
        self._lanes_up += 1
        self._cause = None
        self._set(is_open=False)

    def lane_lost(self, cause: Refused | None, now: float) -> None:
        """A lane is gone; `cause` is what it said last, or what its silence said."""
        self._lanes_up -= 1
        if cause is not None and cause.kind in _SPEAKING:
            self._cause = cause
        if not self._lanes_up:
            self._silent_until = now + OUTAGE_GRACE
            self._set(is_open=self._cause is not None)

    def blame(self, cause: Refused) -> bool:
        """Take the supervisor's word for why no lane is up; says whether it opens the circuit, or changes what callers are told."""
        if self._lanes_up or cause.kind not in _SPEAKING:
            return False
        self._cause = cause
        self._set(is_open=True)
        return True

    def look(self, now: float) -> float:
        """Open when no lane has come within the grace; returns the instant at which to look again, infinity when nothing is awaited."""
        if self._lanes_up or self._is_open:
            return math.inf
        if now < self._silent_until:
            return self._silent_until
        self._set(is_open=True)
        return math.inf

    def refusal(self) -> HsmUnavailable:
        """What callers are told."""
        if self._cause is not None:
            refused = self._cause.code in PIN_REFUSALS
            reason = Reason.PIN_REFUSED if refused else Reason.HSM_UNAVAILABLE
            return HsmUnavailable(reason, self._cause.detail)
        detail = f"no lane of token `{self.token}` is up; `appliance doctor` says why"
        return HsmUnavailable(Reason.HSM_UNAVAILABLE, detail)

    def _set(self, *, is_open: bool) -> None:
        self._is_open = is_open
        self._gauge.set(int(is_open))
