"""Vectors shared by the workers of one appliance, in a mapped file: readers take no lock, writers one among themselves.

A ring of records, the newest over the oldest, and an index of places beside it. A reader looks its place up, copies the record, and
believes it only if name, length and checksum agree and the writer has not come round meanwhile; anything else is a miss. So a reader
never waits, and what a writer is just changing costs at worst one signature. Writers have just spent one: they may wait for each
other (fcntl lock, dropped by the kernel with its holder), some milliseconds; what cannot be written by then is not shared, nor is anything
waited for again until whoever holds the lock goes on.

Bounded by the size of the file and by the places of its index. Holds signed vectors, no secrets; readable by the owner only.
"""

import fcntl
import mmap
import os
import struct
import time
import zlib
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from appliance.mapped import make_mapped, no_room, open_mapped

_HEADER: Final = struct.Struct("<16sQQQ")  # magic, places, ring size, octets ever written
_MAGIC: Final = b"shared-vectors1\0"
_WRITTEN_AT: Final = 32
_PLACE: Final = struct.Struct("<QQ")  # first octets of the name; where its record begins, plus one
_RECORD: Final = struct.Struct("<32sII")  # name, length, checksum of name and octets
_LOCK_WITHIN: Final = 0.01
_LOCK_PAUSE: Final = 0.0002
_WAYS: Final = 4
_TYPICAL: Final = 4096


class SharedMemory:
    """One process's view of the ring; of `cache.vector_cache`'s kind `SharedVectors`."""

    def __init__(self, file: Path) -> None:
        """Map a ring that `prepare_shared_memory` made.

        Raises:
            ConfigurationError: there is none.
        """
        self._descriptor, self._map = open_mapped(file, "the shared vectors")
        _, self._places, self._ring, _ = _HEADER.unpack_from(self._map)
        self._base: Final = mmap.PAGESIZE + self._places * _PLACE.size
        self._patience = _LOCK_WITHIN

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._map.close()
        os.close(self._descriptor)

    async def find(self, key: bytes) -> bytes | None:
        """Return what was kept; None when it is not there, or is just being written."""
        return self.read(key)

    async def keep(self, key: bytes, octets: bytes, ends: datetime) -> None:  # noqa: ARG002 - the ring forgets by itself
        """Keep octets until the ring comes round."""
        self.write(key, octets)

    def read(self, key: bytes) -> bytes | None:
        """Look for a record without a lock."""
        mark = int.from_bytes(key[:8], "little")
        for place in self._ways(key):
            found, begin = _PLACE.unpack_from(self._map, place)
            if found == mark and begin:
                return self._read_record(key, begin - 1)
        return None

    def write(self, key: bytes, octets: bytes) -> None:
        """Write a record over the oldest; one that would fill a quarter of the ring, or finds it held by a process that stands still, is dropped."""
        size = _RECORD.size + len(octets)
        if size > self._ring // 4 or not self._lock():
            return
        try:
            begin = self._written()
            if begin % self._ring + size > self._ring:  # a record lies in one piece
                begin += self._ring - begin % self._ring
            # First what is about to go is given up, so that a reader of it notices; then the record; its place comes last.
            struct.pack_into("<Q", self._map, _WRITTEN_AT, begin + size)
            at = self._base + begin % self._ring
            checksum = zlib.crc32(octets, zlib.crc32(key))
            self._map[at : at + size] = _RECORD.pack(key, len(octets), checksum) + octets
            mark = int.from_bytes(key[:8], "little")
            _PLACE.pack_into(self._map, self._choose_place(key, mark), mark, begin + 1)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        """Take the lock; whoever has held it for so long stands still, and is not waited for a second time."""
        until = time.monotonic() + self._patience
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= until:
                    self._patience = 0.0
                    return False
                time.sleep(_LOCK_PAUSE)
            else:
                self._patience = _LOCK_WITHIN
                return True

    def _read_record(self, key: bytes, begin: int) -> bytes | None:
        if begin + self._ring < self._written():
            return None
        at = self._base + begin % self._ring
        name, length, checksum = _RECORD.unpack_from(self._map, at)
        if name != key or length > self._ring // 4:
            return None
        octets = self._map[at + _RECORD.size : at + _RECORD.size + length]
        is_whole = begin + self._ring >= self._written()
        return octets if is_whole and zlib.crc32(octets, zlib.crc32(key)) == checksum else None

    def _written(self) -> int:
        [written] = struct.unpack_from("<Q", self._map, _WRITTEN_AT)
        return int(written)

    def _ways(self, key: bytes) -> range:
        row = int.from_bytes(key[8:16], "little") % (self._places // _WAYS)
        first = mmap.PAGESIZE + row * _WAYS * _PLACE.size
        return range(first, first + _WAYS * _PLACE.size, _PLACE.size)

    def _choose_place(self, key: bytes, mark: int) -> int:
        """Return the place of the same name, or else that of the oldest record."""
        found = [(_PLACE.unpack_from(self._map, place), place) for place in self._ways(key)]
        for (known, _), place in found:
            if known == mark:
                return place
        return min(found, key=lambda each: each[0][1])[1]


def prepare_shared_memory(file: Path, octets: int) -> None:
    """Make an empty ring of so many octets in the place of the last; before any worker maps it.

    Raises:
        ConfigurationError: the file cannot be made.
    """
    places = max(_WAYS, octets // _TYPICAL * 2 // _WAYS * _WAYS)
    length = mmap.PAGESIZE + places * _PLACE.size + octets
    new = file.with_suffix(".new")
    try:
        file.unlink(
            missing_ok=True
        )  # its room is wanted; a worker of an earlier run keeps its own view
        make_mapped(new, _HEADER.pack(_MAGIC, places, octets, 0), length)
        new.replace(file)
    except OSError as exc:
        raise no_room(file, "vector_cache.shared_memory", length, exc) from exc
