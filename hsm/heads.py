"""What the audit key signed last, per origin: durable, and shared by every lane with the same state directory.

Promises that a head is written whole or not at all, and under a lock that excludes the other lanes. Judges nothing.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from hsm.state import sync_directory


class SignedHead(msgspec.Struct, frozen=True):
    """The last checkpoint signed for an origin."""

    origin: str
    size: int
    root: bytes


class Heads:
    """The heads of one directory, while its lock is held; made by `locked_heads`."""

    def __init__(self, state: Path) -> None:
        self._state: Final = state

    def read(self, origin: str) -> SignedHead:
        """Return the last head signed; one of size 0 without a root where there is none."""
        try:
            octets = self._file(origin).read_bytes()
        except FileNotFoundError:
            return SignedHead(origin, 0, b"")
        return msgspec.json.decode(octets, type=SignedHead)

    def write(self, head: SignedHead) -> None:
        """Make the head durable."""
        file = self._file(head.origin)
        beside = file.with_suffix(".new")
        with beside.open("wb") as stream:
            stream.write(msgspec.json.encode(head))
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(file)
        sync_directory(self._state)

    def adopt(self, heads: Iterable[SignedHead]) -> None:
        """Keep what was signed elsewhere in the home where it goes further."""
        for head in heads:
            if head.size > self.read(head.origin).size:
                self.write(head)

    def _file(self, origin: str) -> Path:
        return self._state / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"


@contextlib.contextmanager
def locked_heads(state: Path) -> Iterator[Heads]:
    """Exclude the other lanes; each holds the lock for two small files' time."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Heads(state)


def read_heads(state: Path) -> list[SignedHead]:
    """Return what lanes with this state remember to have signed; what cannot be read is left out."""
    heads: list[SignedHead] = []
    for file in sorted(state.glob("*.json")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            heads.append(msgspec.json.decode(file.read_bytes(), type=SignedHead))
    return heads
