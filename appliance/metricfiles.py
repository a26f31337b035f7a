"""The files in which the processes of a service share their metric values: prometheus_client's own, given room before they are mapped.

prometheus_client lengthens a file and maps it; on a full disk the first octet written then ends the process (`appliance.mapped`).
Promises that a value does not, nor fails what is counted: one that finds no room waits in the memory of its process, is missing from
scrapes, and enters the file once there is room. A change is kept in memory too, and written within a tenth of a second, before the
process answers a scrape (`write_changed`), and at its end: one request changes some twenty values, and most of them again in the next.
A process that is killed takes that tenth of a second with it.
"""

import atexit
import os
import time
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from appliance.log import Log
from appliance.mapped import take_room

_LOG: Final = Log("metrics")
_INITIAL: Final = 64 * 1024
"""Octets that prometheus_client gives an empty file; it doubles them as it needs."""

_AROUND: Final = 32
"""Octets that an entry takes beside its key, at most: length, padding, value and time."""

_RETRY_EVERY: Final = 1.0
_WRITE_EVERY: Final = 0.1


class RoomyDict(MmapedDict):
    """The values of one process and kind; changed under prometheus_client's lock, written by any thread."""

    def __init__(self, filename: str) -> None:
        self._file: Final = Path(filename)
        self._changed: Final[dict[str, tuple[float, float]]] = {}
        # The file, under the lock.
        self._lock: Final = Lock()
        self._again_at = 0.0
        self._positions: dict[str, int] = {}
        self._is_mapped = False
        self._f = None  # type: ignore[assignment]  # what `close` asks for while nothing is mapped
        _writer.take(self)

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time; a new one is zero."""
        with self._lock:
            if key in self._changed or not self._has_place(key):
                return self._changed.setdefault(key, (0.0, 0.0))
            value, timestamp = super().read_value(key)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        return value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value and its time."""
        self._changed[key] = (value, timestamp)
        if not _writer.is_due:
            _writer.wake()

    def write_changed(self) -> bool:
        """Bring what has changed into the file; False where there is no room for some of it."""
        with self._lock:
            for key in list(self._changed):
                if self._has_place(key):
                    # Taken out first: what is counted meanwhile is a change of its own.
                    value, timestamp = self._changed.pop(key)
                    super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
        return not self._changed

    def close(self) -> None:
        """Write what has changed, and let go of the file."""
        _writer.leave(self)
        self.write_changed()
        super().close()  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped

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


class _Writer:
    """The thread of a process that writes what has changed; it sleeps while nothing does.

    Attributes:
        is_due: whether it will look again without being woken.
    """

    def __init__(self) -> None:
        self.is_due = False
        self._files: Final[set[RoomyDict]] = set()
        self._woken: Final = Event()
        self._thread: Thread | None = None
        self._has_failed = False

    def take(self, file: RoomyDict) -> None:
        """Write the changes of a file from now on."""
        self._files.add(file)
        if self._thread is None:
            atexit.register(self.write)
            self._thread = Thread(target=self._run, name="metrics", daemon=True)
            self._thread.start()

    def leave(self, file: RoomyDict) -> None:
        """Have nothing more to do with a file."""
        self._files.discard(file)

    def wake(self) -> None:
        """Have it look within a tenth of a second."""
        self.is_due = True
        self._woken.set()

    def write(self) -> bool:
        """Write what has changed now; False where there is no room for some of it."""
        waiting = [file for file in tuple(self._files) if not file.write_changed()]
        return not waiting

    def _run(self) -> None:
        while self._woken.wait():
            time.sleep(_WRITE_EVERY)
            self._woken.clear()
            self.is_due = False
            if not self._try_to_write():
                self.wake()

    def _try_to_write(self) -> bool:
        """Write, whatever happens: without this thread nothing that is counted would be seen any more."""
        try:
            return self.write()
        except Exception as exc:  # noqa: BLE001 - the edge of the thread; it says so once and tries again
            if not self._has_failed:
                self._has_failed = True
                _LOG.error("metrics-not-written", exc)
            return False


_writer: Final = _Writer()


def write_changed() -> None:
    """Bring what this process has counted into its files; before they are read."""
    _writer.write()


def share_values() -> None:
    """Have prometheus_client keep shared values so; before the first metric is made.

    It asks the kernel at every change whether this is still the process that it was: ours never fork.
    """
    setattr(values, "MmapedDict", RoomyDict)  # noqa: B010 - a name of the library's own, which it does not export
    if values.ValueClass is not values.MutexValue:
        pid = os.getpid()
        setattr(values, "ValueClass", values.MultiProcessValue(lambda: pid))  # type: ignore[no-untyped-call]  # noqa: B010 - likewise
