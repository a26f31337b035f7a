"""A real disk on which any one system call of the trace's write path can be made to fail, short, or slow.

Everything that is not made to fail reaches the file system. A failed fdatasync also destroys what was not yet durable, because
that is what a kernel may do: it drops the pages it could not write.
"""

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from appliance.trace.disk import Disk

Call = Literal[
    "open", "write", "fdatasync", "ftruncate", "fsync_directory", "close",
    "make_directory", "rename", "unlink", "remove_directory",
]  # fmt: skip
CALLS: tuple[Call, ...] = get_args(Call)
FAULTS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EROFS": errno.EROFS,
    "EDQUOT": errno.EDQUOT,
}
SHORT = "short"
FAULTS_OF: dict[Call, tuple[str, ...]] = {
    "open": ("ENOSPC", "EROFS", "EDQUOT", "EIO"),
    "write": ("ENOSPC", "EIO", "EDQUOT", "EROFS"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "ftruncate": ("EIO", "EROFS"),
    "fsync_directory": ("EIO", "ENOSPC", "EROFS"),
    "close": ("EIO", "ENOSPC", "EDQUOT"),
    "make_directory": ("ENOSPC", "EDQUOT", "EROFS", "EIO"),
    "rename": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "remove_directory": ("EIO", "EROFS"),
}
"""With which of them each call may fail (man 2; a file system that was put to rights read-only, a quota, late allocation)."""


def every_fault(made: Counter[str], *, whole: bool) -> Iterator[tuple[Call, int, str]]:
    """Each occurrence of each call that was `made`, failing.

    Args:
        made: how often each call is made.
        whole: with every error that it may fail with; otherwise with one of them in turn, for nothing of the product looks at which.
            A write is always short too.
    """
    for call in CALLS:
        for occurrence in range(1, made[call] + 1):
            faults = FAULTS_OF[call]
            taken = faults if whole else (faults[occurrence % len(faults)],)
            for fault in (*taken, SHORT) if call == "write" else taken:
                yield call, occurrence, fault


class FaultDisk(Disk):
    """Counts calls and fails the planned ones.

    Attributes:
        met: how often each call was made so far.
        is_ill: every write and synchronisation fails with ENOSPC while set.
        gate: fdatasync answers only while it is open.
    """

    def __init__(self, *plan: tuple[Call, int, str]) -> None:
        """Plan faults: the name of a call, which occurrence of it (from 1), and a key of `FAULTS` or `SHORT`."""
        self.met: Counter[str] = Counter()
        self.is_ill = False
        self.gate = threading.Event()
        self.gate.set()
        self._plan = {(call, at): fault for call, at, fault in plan}
        self._durable: dict[int, int] = {}

    def plan(self, call: Call, occurrence: int, fault: str) -> None:
        """Plan one more fault."""
        self._plan[call, occurrence] = fault

    def open(self, file: Path, flags: int) -> int:
        self._meet("open")
        descriptor = super().open(file, flags)
        status = os.fstat(descriptor)
        if status.st_size == 0:
            self._durable[status.st_ino] = 0
        self._durable.setdefault(status.st_ino, status.st_size)
        return descriptor

    def write(self, descriptor: int, octets: memoryview) -> int:
        fault = self._meet("write")
        if fault == SHORT and len(octets) > 1:
            octets = octets[: len(octets) // 2]
        return super().write(descriptor, octets)

    def fdatasync(self, descriptor: int) -> None:
        assert self.gate.wait(10)
        try:
            self._meet("fdatasync")
        except OSError:
            self._lose_pages(descriptor)
            raise
        super().fdatasync(descriptor)
        status = os.fstat(descriptor)
        self._durable[status.st_ino] = status.st_size

    def ftruncate(self, descriptor: int, length: int) -> None:
        self._meet("ftruncate")
        super().ftruncate(descriptor, length)
        inode = os.fstat(descriptor).st_ino
        self._durable[inode] = min(self._durable[inode], length)

    def fsync_directory(self, directory: Path) -> None:
        self._meet("fsync_directory")
        super().fsync_directory(directory)

    def close(self, descriptor: int) -> None:
        super().close(descriptor)  # Linux lets go of the descriptor even when close fails
        self._meet("close")

    def make_directory(self, directory: Path) -> None:
        self._meet("make_directory")
        super().make_directory(directory)

    def rename(self, old: Path, new: Path) -> None:
        self._meet("rename")
        super().rename(old, new)

    def unlink(self, file: Path) -> None:
        self._meet("unlink")
        super().unlink(file)

    def remove_directory(self, directory: Path) -> None:
        self._meet("remove_directory")
        super().remove_directory(directory)

    def _meet(self, call: Call) -> str | None:
        self.met[call] += 1
        fault = self._plan.get((call, self.met[call]))
        if self.is_ill and call in {"write", "fdatasync"}:
            fault = "ENOSPC"
        if fault in FAULTS:
            raise OSError(FAULTS[fault], os.strerror(FAULTS[fault]))
        return fault

    def _lose_pages(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        durable = self._durable[status.st_ino]
        writable = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY)
        os.pwrite(writable, bytes(status.st_size - durable), durable)
        os.close(writable)
