"""A timer that keeps microseconds: uvloop's own count whole milliseconds, which an arrival every 200 microseconds cannot wait for."""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK, TFD_CLOEXEC: the same numbers
_ABSOLUTE: Final = 1
_TICKS: Final = 8
_ITIMERSPEC: Final = struct.Struct("@qqqq")  # interval and value, each in seconds and nanoseconds


class Alarm:
    """Calls back at instants of `time.perf_counter()`, which is CLOCK_MONOTONIC here (timerfd_create(2)).

    Raises:
        OSError: the system has no timer left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc: Final = ctypes.CDLL(None, use_errno=True)
        self._file: Final = self._check(self._libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        self._loop: Final = loop
        self._ring: Final = ring
        loop.add_reader(self._file, self._wake)

    def set(self, instant: float) -> None:
        """Ring once at `instant`, at once when it has passed; an earlier setting is forgotten."""
        nanoseconds = max(1, int(instant * 1e9))
        setting = _ITIMERSPEC.pack(0, 0, *divmod(nanoseconds, 1_000_000_000))
        self._check(self._libc.timerfd_settime(self._file, _ABSOLUTE, setting, None))

    def close(self) -> None:
        """Ring no more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _wake(self) -> None:
        try:
            os.read(self._file, _TICKS)
        except BlockingIOError:  # set anew since the loop saw it ring
            return
        self._ring()

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
