"""The files of a state directory, whoever makes them: the record of a refused PIN, and how a file is locked, durable and its owner's.

Promises that what goes wrong with them is named and is no traceback.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from hsm.errors import Finding, HsmError, Target

_LOCK_POLL: Final = 0.02


class Undecided(msgspec.Struct, frozen=True):
    """A login that the token answered by a code that says nothing of the PIN, which it may have seen and counted.

    Attributes:
        at: seconds of wall time, since it must outlive a restart of the machine.
    """

    at: float
    code: str


class RefusedPin(msgspec.Struct, frozen=True):
    """The record of a refusal: enough to know the same source again, nothing about the PIN itself.

    Attributes:
        source: identity of the PIN's source; for a file it includes inode and mtime.
        settled: False while the token's answer is not known; a record left so means the process died asking.
        undecided: logins since the last good one after which nobody knows what the token thought of the PIN.
        names: other names by which the configuration has called the token since.
    """

    token: str
    serial: str
    source: str
    code: str
    settled: bool
    undecided: tuple[Undecided, ...] = ()
    names: tuple[str, ...] = ()

    def is_of(self, token: str) -> bool:
        """Whether the configuration calls, or has called, the token so."""
        return token == self.token or token in self.names

    @property
    def place(self) -> str:
        """Name token and source, whatever the configuration calls them and whatever the source holds."""
        place = self.source.rsplit(":", 3)[0] if self.source.startswith("file:") else self.source
        return hashlib.sha256(f"{self.serial}\0{place}".encode()).hexdigest()[:16]

    @property
    def file_name(self) -> str:
        """Name the record's file."""
        return f"pin-refused-{self.place}.json"


@contextmanager
def naming_failures(directory: Path) -> Iterator[None]:
    """Give what goes wrong with the files of a state directory its name.

    Raises:
        HsmError: STATE_UNUSABLE.
    """
    try:
        yield
    except (OSError, msgspec.DecodeError) as exc:
        raise HsmError(
            Target("", str(directory)),
            Finding(
                "STATE_UNUSABLE",
                "device",
                f"what lanes remember of their tokens cannot be read or kept by uid {os.geteuid()} ({exc})",
                f"give {directory} and the files in it to the user of the lanes, and room to write; then start again as before",
            ),
        ) from exc


def await_lock(descriptor: int, directory: Path, wait: float) -> None:
    """Take the lock of an open file, for the sake of opening a token.

    Raises:
        HsmError: OPEN_BUSY: somebody else held it for `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise HsmError(
                    Target("", str(directory)),
                    Finding(
                        "OPEN_BUSY",
                        "capacity",
                        f"another process has been opening a token for {wait:.0f} s",
                        "look for a lane that hangs in its driver",
                    ),
                ) from None
            time.sleep(_LOCK_POLL)
        else:
            return


def hand_over(descriptor: int, directory: Path) -> None:
    """Have what root makes here belong to the directory's owner, so that the lanes may use it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sync_directory(directory: Path) -> None:
    """Make names written into a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
