"""The files in which the processes of a service share their metric values: prometheus_client's own, given room before they are mapped.

prometheus_client lengthens a file and maps it; on a full disk the first octet written then ends the process (`appliance.mapped`).
Promises that a value does not, nor fails what is counted: one that finds no room waits in the memory of its process, is missing from
scrapes, and enters the file by a later change, once there is room.
"""

import os
import time
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from appliance.mapped import take_room

_INITIAL: Final = 64 * 1024
"""Octets that prometheus_client gives an empty file; it doubles them as it needs."""

_AROUND: Final = 32
"""Octets that an entry takes beside its key, at most: length, padding, value and time."""

_RETRY_EVERY: Final = 1.0


class RoomyDict(MmapedDict):
    """The values of one process and kind; called under prometheus_client's lock."""

    def __init__(self, filename: str) -> None:
        self._file: Final = Path(filename)
        self._waiting: Final[dict[str, tuple[float, float]]] = {}
        self._again_at = 0.0
        self._positions: dict[str, int] = {}
        self._is_mapped = False
        self._f = None  # type: ignore[assignment]  # what `close` asks for while nothing is mapped

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time; a new one is zero."""
        if not self._has_place(key):
            return self._waiting.setdefault(key, (0.0, 0.0))
        value, timestamp = super().read_value(key)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        return value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value and its time."""
        if self._has_place(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
            self._waiting.pop(key, None)
        else:
            self._waiting[key] = (value, timestamp)

    def _has_place(self, key: str) -> bool:
        """Tell whether the file holds the key, or has room for it; a full disk is asked again after a while."""
        if key in self._positions:
            return True
        now = time.monotonic()
        if now < self._again_at:
            return False
        try:
            self._take_room(len(key.encode()) + _AROUND)
        except OSError:
            self._again_at = now + _RETRY_EVERY
            return False
        return True

    def _take_room(self, octets: int) -> None:
        """Take room for so many octets more, as prometheus_client is about to take it.

        Raises:
            OSError: there is none.
        """
        if not self._is_mapped:
            with self._file.open("a+b") as file:
                take_room(file.fileno(), max(_INITIAL, os.fstat(file.fileno()).st_size))
            super().__init__(str(self._file))  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
            self._is_mapped = True
        capacity = self._capacity
        while self._used + octets > capacity:
            capacity *= 2
        if capacity > self._capacity:
            with self._file.open("a+b") as file:
                take_room(file.fileno(), capacity)


def share_values() -> None:
    """Have prometheus_client keep shared values so; before the first metric is made."""
    setattr(values, "MmapedDict", RoomyDict)  # noqa: B010 - a name of the library's own, which it does not export
