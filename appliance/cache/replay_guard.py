"""Which vectors were accepted and may not come again: one table for all workers of an appliance, in shared memory.

The table is a mapped file, so it survives the end of every process; each worker maps it itself and asks nobody. A vector has one
bucket; check and insertion happen under that bucket's advisory lock (fcntl, which the kernel drops with its holder), so of two workers
that hold the same vector at the same instant one finds it fresh. About ten microseconds a vector, whatever the table holds.

Promises that no vector is found fresh twice, and that a bucket without room refuses by name (`ReplayGuardFull`). What is kept of a
vector is its own NotOnOrAfter, the same whatever a convention tolerates beyond it: neither a clock set back, nor a reload that tolerates
more, nor another convention opens a gap, because a bucket remembers the latest end among the entries it dropped and takes no vector
for fresh that could be one of them. Entries reach the medium within a second (`flush`): a power cut may forget that second.
"""

import asyncio
import fcntl
import math
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import msgspec

from appliance.errors import (
    ConfigurationError,
    Reason,
    ReplayGuardFull,
    ReplayGuardUnavailable,
)
from appliance.log import Log
from appliance.mapped import make_mapped, no_room, open_mapped, take_room

_LOG: Final = Log("cache")
_MAGIC: Final = b"replay-guard-1\n\0"
_HEADER: Final = struct.Struct("<16sQ")
_HEADER_OCTETS: Final = mmap.PAGESIZE
_SLOTS: Final = 127
_DIGEST: Final = 16
_WORDS: Final = (
    1 + _SLOTS + _SLOTS * 2
)  # horizon, ends (ms since 1970), digests: of eight octets each
_BUCKET: Final = _WORDS * 8
_EXPECTED: Final = 64
"""Vectors for which a bucket is made: at the stated capacity it is half full, and overflows once in 10^14."""

_UNUSED: Final = bytes(8)
_FLUSH_EVERY: Final = 1.0
_LOCK_WITHIN: Final = 0.5
_LOCK_PAUSE: Final = 0.0002


class Received(msgspec.Struct, frozen=True):
    """What identifies an accepted vector, and until when it may be presented again.

    Attributes:
        ends: its NotOnOrAfter, exactly.
        tolerated: how long after its end some convention in force would still take a vector.
    """

    issuer: str
    assertion_id: str
    ends: datetime
    tolerated: timedelta = timedelta(0)

    @property
    def digest(self) -> bytes:
        """Name the vector; the issuer's length goes in, so that no two share a name."""
        issuer = self.issuer.encode()
        return sha256(b"%d:%b%b" % (len(issuer), issuer, self.assertion_id.encode())).digest()


class ReplayGuard:
    """One process's view of the table."""

    def __init__(self, file: Path) -> None:
        """Map a table that `prepare_guard` made.

        Raises:
            ConfigurationError: there is none.
        """
        self._descriptor, self._map = open_mapped(file, "a replay guard")
        self.buckets: Final = _read_buckets(file, self._map[: _HEADER.size])
        self._words: Final = memoryview(self._map)[_HEADER_OCTETS:].cast("Q")

    def __repr__(self) -> str:
        return f"ReplayGuard({self.buckets} buckets)"

    def close(self) -> None:
        """Unmap the table; it stays."""
        self._words.release()
        self._map.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def take_room(self) -> None:
        """See that every octet has its place on the disk, as a copy of a table may not; before any other process maps it.

        Raises:
            OSError: there is no room.
        """
        take_room(self._descriptor, len(self._map))

    def flush(self) -> None:
        """Bring what was recorded to the medium; for a thread beside the event loop.

        Raises:
            OSError: the disk refuses.
        """
        os.fdatasync(
            self._descriptor
        )  # writes what the map changed too, and lets other threads run

    def record(self, received: Received, now: datetime) -> bool:
        """Record a vector; False when it was there already, or could have been.

        Raises:
            ReplayGuardFull: its bucket has no room.
            ReplayGuardUnavailable: somebody has held the bucket for half a second.
        """
        digest = received.digest[:_DIGEST]
        ends = math.ceil(received.ends.timestamp() * 1000)
        over = int((now.timestamp() - received.tolerated.total_seconds()) * 1000)
        with self._locked(self._bucket_of(digest)):
            return self._record(digest, ends, over)

    def forget(self, received: Received) -> None:
        """Take a vector back: what was recorded is free again.

        Raises:
            ReplayGuardUnavailable: somebody has held the bucket for half a second.
        """
        digest = received.digest[:_DIGEST]
        bucket = self._bucket_of(digest)
        with self._locked(bucket):
            found = self._find(bucket, digest)
            if found is not None:
                self._words[bucket * _WORDS + 1 + found] = 0

    def _bucket_of(self, digest: bytes) -> int:
        return int.from_bytes(digest[:8], "little") % self.buckets

    def _record(self, digest: bytes, ends: int, over: int) -> bool:
        """Record a vector under its bucket's lock; nobody takes one any more that ended at `over` or before."""
        bucket = self._bucket_of(digest)
        words, horizon = self._words, bucket * _WORDS
        first = horizon + 1
        found = self._find(bucket, digest)
        if found is not None and words[first + found] > over:
            return False
        if ends <= words[horizon] or (found is not None and ends <= words[first + found]):
            return False
        slot = self._choose_slot(bucket, over) if found is None else found
        words[horizon] = max(words[horizon], words[first + slot])
        # The end goes last: a process that dies in between leaves a free slot.
        words[first + slot] = 0
        at = _HEADER_OCTETS + bucket * _BUCKET + 8 * (1 + _SLOTS) + slot * _DIGEST
        self._map[at : at + _DIGEST] = digest
        words[first + slot] = ends
        return True

    def _choose_slot(self, bucket: int, over: int) -> int:
        """Return a slot never used, or the one of the vector that ended first.

        Raises:
            ReplayGuardFull: somebody may still take every one of them.
        """
        begin = _HEADER_OCTETS + bucket * _BUCKET + 8
        at = self._map.find(_UNUSED, begin, begin + 8 * _SLOTS)
        if at >= 0:
            return -((begin - at) // 8)  # upwards: the high octets of the end before are zero too
        first = bucket * _WORDS + 1
        ends = self._words[first : first + _SLOTS].tolist()
        oldest = min(ends)
        if oldest > over:
            raise ReplayGuardFull(
                Reason.REPLAY_GUARD_FULL,
                "the replay guard holds as many vectors as it can: raise replay.capacity",
            )
        return ends.index(oldest)

    def _find(self, bucket: int, digest: bytes) -> int | None:
        begin = _HEADER_OCTETS + bucket * _BUCKET + 8 * (1 + _SLOTS)
        end = begin + _SLOTS * _DIGEST
        at = self._map.find(digest, begin, end)
        while at >= 0 and (at - begin) % _DIGEST:
            at = self._map.find(digest, at + 1, end)
        return None if at < 0 else (at - begin) // _DIGEST

    @contextmanager
    def _locked(self, bucket: int) -> Iterator[None]:
        until = None
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, bucket)
                break
            except OSError as exc:
                now = time.monotonic()
                until = until or now + _LOCK_WITHIN
                if now > until:
                    raise ReplayGuardUnavailable(
                        Reason.REPLAY_GUARD_UNAVAILABLE,
                        "another worker holds the replay guard and does not let go: restart it",
                    ) from exc
                time.sleep(_LOCK_PAUSE)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, bucket)

    def holdings(self) -> Iterator[tuple[bytes, int]]:
        """Yield what the table holds, run out or not: each name with its end."""
        for bucket in range(self.buckets):
            first = bucket * _WORDS + 1
            begin = _HEADER_OCTETS + bucket * _BUCKET + 8 * (1 + _SLOTS)
            for slot, ends in enumerate(self._words[first : first + _SLOTS].tolist()):
                at = begin + slot * _DIGEST
                if ends:
                    yield self._map[at : at + _DIGEST], ends

    def latest_horizon(self) -> int:
        """Return the latest end among the vectors that were dropped."""
        return max(self._words[bucket * _WORDS] for bucket in range(self.buckets))

    def take_over(self, older: "ReplayGuard", now: datetime) -> None:
        """Take in what another table holds; before any other process maps this one."""
        for digest, ends in older.holdings():
            self._record(digest, ends, int(now.timestamp() * 1000))
        latest = older.latest_horizon()
        for bucket in range(self.buckets):
            horizon = bucket * _WORDS
            self._words[horizon] = max(self._words[horizon], latest)


class LocalReplayGate:
    """The table of this appliance, as the operations ask it."""

    def __init__(self, guard: ReplayGuard) -> None:
        self._guard: Final = guard

    async def record(self, received: Received, now: datetime) -> bool:
        """Record a vector; False when it came before, or may have.

        Raises:
            ReplayGuardFull, ReplayGuardUnavailable: as `ReplayGuard.record`.
        """
        return self._guard.record(received, now)

    async def forget(self, received: Received) -> None:
        """Take a vector back.

        Raises:
            ReplayGuardUnavailable: as `ReplayGuard.forget`.
        """
        self._guard.forget(received)


async def keep_flushed(guard: ReplayGuard) -> None:
    """Bring a table to the disk every second, until cancelled; a disk that refuses is said once, and asked again."""
    is_refused = False
    while True:
        await asyncio.sleep(_FLUSH_EVERY)
        try:
            await asyncio.to_thread(guard.flush)
        except OSError as exc:
            if not is_refused:
                _LOG.error("replay-guard-not-flushed", cause=str(exc), next="see to the disk")
            is_refused = True
        else:
            is_refused = False


def prepare_guard(file: Path, capacity: int, now: datetime) -> None:
    """Make the table where there is none, or take over one of another capacity; before any worker maps it.

    Args:
        file: where the table lies.
        capacity: vectors that it holds at once.
        now: the time, to tell which vectors still count.

    Raises:
        ConfigurationError: the file cannot be made, is something else, or holds more than the new capacity.
    """
    buckets = max(1, -(-capacity // _EXPECTED))
    length = _HEADER_OCTETS + buckets * _BUCKET
    head, new = _HEADER.pack(_MAGIC, buckets), file.with_suffix(".new")
    try:
        if not file.exists():
            make_mapped(new, head, length)
        else:
            with ReplayGuard(file) as older:
                if older.buckets == buckets:
                    older.take_room()
                    return
                make_mapped(new, head, length)
                with ReplayGuard(new) as guard:
                    guard.take_over(older, now)
                    guard.flush()
        new.replace(file)
    except ReplayGuardFull as exc:
        new.unlink()
        raise ConfigurationError(
            str(file), "replay.capacity", "room for the vectors that the guard holds already"
        ) from exc
    except OSError as exc:
        raise no_room(file, "replay.capacity", length, exc) from exc


def _read_buckets(file: Path, header: bytes) -> int:
    """Read the header; the file is as long as it says, or it is something else.

    Raises:
        ConfigurationError: it is something else.
    """
    if len(header) == _HEADER.size:
        magic, buckets = _HEADER.unpack(header)
        if magic == _MAGIC and file.stat().st_size == _HEADER_OCTETS + buckets * _BUCKET:
            return int(buckets)
    raise ConfigurationError(
        str(file), "", "a replay guard; move the file away to begin with an empty one"
    )
