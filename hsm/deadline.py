"""The call deadline: a module that does not answer ends the process, because nothing else can end the call."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

_AT_ONCE = 1e-6


@contextmanager
def call_deadline(seconds: float) -> Iterator[None]:
    """Let the kernel end this process (SIGALRM) if the body takes longer; within another deadline the earlier one holds.

    A PKCS#11 call that hangs cannot be cancelled and holds the only thread; the process is the unit of replacement.
    """
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    begun = time.monotonic()
    if outer and outer < seconds:
        signal.setitimer(signal.ITIMER_REAL, outer)
    try:
        yield
    finally:
        left = outer and max(_AT_ONCE, outer - (time.monotonic() - begun))
        signal.setitimer(signal.ITIMER_REAL, left)
