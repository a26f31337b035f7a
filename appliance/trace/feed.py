"""Reads a spool back for its integrator, in the same process as its writer: entries that are durable, in order, each once.

Promises never to hand out an entry whose leaf hash is not the one written beside it: between the disk that acknowledged an entry and the
tree it enters, nothing may change it.
"""

import os
from pathlib import Path
from typing import Final

from appliance.errors import Reason, SpoolUnavailable
from appliance.trace import layout

_READ_OCTETS: Final = 8 * 1024**2
_LARGEST_FRAME: Final = layout.FRAME_OCTETS + 65_535
_SEGMENT_NAMES: Final = "[0-9]" * layout.INDEX_DIGITS + layout.SEGMENT_SUFFIX
_NO_SEGMENT: Final = -1


class SpoolFeed:
    """A place in a spool, before entry `index`."""

    def __init__(self, directory: Path, index: int) -> None:
        self.index = index
        self._directory: Final = directory
        self._segment = _NO_SEGMENT
        self._offset = 0
        self._position = 0  # index of the entry at `_offset`

    def __repr__(self) -> str:
        return f"SpoolFeed({self._directory.name}, index={self.index})"

    def first_index(self) -> int | None:
        """Return the index of the first entry the spool may still hold; None when it has no segment."""
        return min(self._firsts(), default=None)

    def take(self, until: int, most: int) -> tuple[list[bytes], list[bytes]]:
        """Read entries from the place up to index `until`, at most `most`; the place moves behind them with `advance`.

        Returns:
            The entries, and the leaf hash that stands beside each.

        Raises:
            SpoolUnavailable: the spool does not hold them.
            OSError: the disk refused.
        """
        entries: list[bytes] = []
        leaves: list[bytes] = []
        wanted = min(until - self.index, most)
        if wanted <= 0:
            return entries, leaves
        self._seek()
        segment, offset = self._segment, self._offset
        while len(entries) < wanted:
            octets = self._read(segment, offset)
            read = _read_frames(octets, wanted - len(entries), entries, leaves)
            if not read:
                segment, offset = self._following(segment, self.index + len(entries))
            offset += read
        self._segment, self._offset, self._position = segment, offset, self.index + len(entries)
        return entries, leaves

    def advance(self, count: int) -> None:
        """Move the place on: so many entries need not be read again."""
        self.index += count

    def _seek(self) -> None:
        """Find the segment that holds `index`, and the offset of it there."""
        if self._segment == _NO_SEGMENT or self._position != self.index:
            held = [first for first in self._firsts() if first <= self.index]
            if not held:
                raise self._missing(self.index)
            self._segment, self._offset = max(held), layout.HEAD_OCTETS
            self._position = self._segment
        while self._position < self.index:
            skipped: list[bytes] = []
            read = _read_frames(
                self._read(self._segment, self._offset), self.index - self._position, skipped, []
            )
            if not read:
                raise self._missing(self._position)
            self._offset += read
            self._position += len(skipped)

    def _read(self, segment: int, offset: int) -> bytes:
        file = self._directory / f"{segment:0{layout.INDEX_DIGITS}}{layout.SEGMENT_SUFFIX}"
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return b""  # read to its end and dropped: what follows is in the next
        try:
            return os.pread(descriptor, _READ_OCTETS, offset)
        finally:
            os.close(descriptor)

    def _following(self, segment: int, index: int) -> tuple[int, int]:
        if index not in self._firsts() or index == segment:
            raise self._missing(index)
        return index, layout.HEAD_OCTETS

    def _firsts(self) -> list[int]:
        return [int(file.stem) for file in self._directory.glob(_SEGMENT_NAMES)]

    def _missing(self, index: int) -> SpoolUnavailable:
        return SpoolUnavailable(
            Reason.SPOOL_UNAVAILABLE,
            f"log {self._directory.name}: its spool does not hold entry {index}, which had been acknowledged: "
            "restore the spool from a copy",
        )


def _read_frames(octets: bytes, most: int, entries: list[bytes], leaves: list[bytes]) -> int:
    """Cut up to `most` whole frames off the front; return how many octets they take."""
    at = 0
    for _ in range(most):
        start = at + layout.FRAME_OCTETS
        end = start + int.from_bytes(octets[at + 2 : at + 4], "big")
        if start > len(octets) or end > len(octets):
            break
        entries.append(octets[start:end])
        leaves.append(octets[at + 4 : start])
        at = end
    return at
