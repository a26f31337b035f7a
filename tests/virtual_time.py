"""An event loop whose time is what its timers say: it passes only when nothing is left to do, and then at once.

Sockets between tasks of the same loop work as ever: what one writes the other can read before any time passes.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TypeVar

Result = TypeVar("Result")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that never waits for a timer."""

    def __init__(self) -> None:
        self._now = time.monotonic()
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Seconds, from the machine's own at the start."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; if nothing is, jump to the instant that was to be waited for."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self._loop.pass_time(timeout)
        return ready


class VirtualClock:
    """The time of the running loop."""

    def now(self) -> datetime:
        """An instant; nothing here hangs on it."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Seconds that pass as the loop says."""
        return asyncio.get_running_loop().time()


def run_virtually(scene: Coroutine[None, None, Result]) -> Result:
    """Run a scene to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scene)
