"""One timer for any number of deadlines: it goes off at the earliest and is told the next."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from appliance.clock import Clock


class Expiry:
    """Calls `expire(now)` no later than the earliest instant it was given since; what that returns is the next one."""

    def __init__(self, clock: Clock, expire: Callable[[float], float]) -> None:
        self._clock: Final = clock
        self._expire: Final = expire
        self._timer: asyncio.TimerHandle | None = None
        self._instant = math.inf

    def at(self, instant: float) -> None:
        """See to it that `expire` is called at `instant` (monotonic) or earlier."""
        if instant >= self._instant:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._instant = instant
        delay = max(0.0, instant - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._go_off)

    def cancel(self) -> None:
        """Let nothing go off any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _go_off(self) -> None:
        self._timer, self._instant = None, math.inf
        following = self._expire(self._clock.monotonic())
        if following < math.inf:
            self.at(following)
