"""How often the keys of a lane have signed, in memory that the lane shares with its parent and that outlives its process.

Owns the layout. Promises that what a lane has written is there however it ends: a signature is counted before its answer leaves, so a
lane that is killed takes no count of an answered signature with it. A worker cannot reach it.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from typing import Final, Self

import msgspec

_OCTETS: Final = 1024 * 1024
"""Room for 65,536 keys; memory that is not written takes no room."""

_COUNTS: Final = struct.Struct("=QQ")


class LaneCounts(msgspec.Struct, frozen=True):
    """How often each key has signed by now.

    Attributes:
        signatures: per key, proofs included.
        proofs: per key, those of them with which the lane, or a readiness probe, has proven the key.
    """

    signatures: dict[str, int]
    proofs: dict[str, int]


class LaneCounters:
    """The counts of one lane, by the place of each key in its settings."""

    def __init__(self, memory: mmap.mmap, keys: Sequence[str]) -> None:
        self._memory: Final = memory
        self._places: Final = {key: at * _COUNTS.size for at, key in enumerate(keys)}

    @classmethod
    def inherited(cls, descriptor: int | None, keys: Sequence[str]) -> Self:
        """Map what the parent has passed on; without one the counts are nobody's but ours."""
        if descriptor is None:
            return cls(mmap.mmap(-1, _OCTETS), keys)
        try:
            return cls(mmap.mmap(descriptor, _OCTETS), keys)
        finally:
            os.close(descriptor)

    def write(self, key: str, signatures: int, proofs: int) -> None:
        """State the counts of one key."""
        _COUNTS.pack_into(self._memory, self._places[key], signatures, proofs)

    def read(self) -> LaneCounts:
        """Return the counts of all keys."""
        found = {
            key: _COUNTS.unpack_from(self._memory, place) for key, place in self._places.items()
        }
        return LaneCounts(
            {key: counts[0] for key, counts in found.items()},
            {key: counts[1] for key, counts in found.items()},
        )


def make_memory() -> int:
    """Make memory that a lane can inherit; returns its descriptor.

    Raises:
        OSError: the machine has no room for it.
    """
    descriptor = os.memfd_create("lane-counts")
    os.ftruncate(descriptor, _OCTETS)
    return descriptor


def map_memory(descriptor: int) -> mmap.mmap:
    """Map memory made by `make_memory`."""
    return mmap.mmap(descriptor, _OCTETS)
