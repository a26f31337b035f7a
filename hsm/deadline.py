"""The call deadline: a module that does not answer ends the process, because nothing else can end the call."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def call_deadline(seconds: float) -> Iterator[None]:
    """Let the kernel end this process (SIGALRM) if the body takes longer.

    A PKCS#11 call that hangs cannot be cancelled and holds the only thread; the process is the unit of replacement.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
