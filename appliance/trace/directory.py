"""One log's directory as whoever judges it finds it: what may lie there, what does, and where the entries that are kept begin.

Promises that whatever does not belong to a log of its size is named (`LogDamaged`): a foreign file or empty directory, a directory or a
pipe in a file's place, a link, a partial file that is not the beginning of what stands there now. Never writes, never follows a link.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from appliance.native import TreeRefused, bundle_path, tile_path
from appliance.trace.reader import LogDamaged
from appliance.trace.store import CHECKPOINT_FILE, TILE_WIDTH, cut_resource, read_resource
from appliance.trace.tree import HASH_OCTETS

_PARTIAL: Final = ".p"
_GROUP: Final = re.compile(r"x([0-9]{3})")
_LAST_GROUP: Final = re.compile(rf"([0-9]{{3}})({re.escape(_PARTIAL)})?")
_MOST_GROUPS: Final = 7  # of three digits each: more tiles than an index of 64 bits has
_PATH: Final = re.compile(
    r"tile/(?P<kind>entries|[0-9]+)/(?P<groups>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[0-9]{1,3}))?"
)
_FIRST_BELOW: Final = ("000", "x000/000", "x000/x000/000", "0/000")
"""Where the first file below a directory of groups, or below `tile`, would lie."""

Contents: TypeAlias = Sequence[tuple[str, bool]]
"""Paths below a log's directory, each with whether it is a directory, which then is empty."""


class LogDirectory:
    """A log directory and the faults found in it."""

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory

    def fault(self, index: int, what: str) -> LogDamaged:
        """Make the error that names log, entry and what is wrong."""
        return LogDamaged(self.path.name, index, what)

    def read_checkpoint(self) -> bytes:
        """Read the file `checkpoint`.

        Raises:
            LogDamaged: there is none that can be read.
        """
        try:
            return (self.path / CHECKPOINT_FILE).read_bytes()
        except FileNotFoundError:
            raise self.fault(0, "it has no checkpoint") from None
        except OSError as exc:
            raise self.fault(0, f"{CHECKPOINT_FILE} cannot be read ({exc.strerror})") from exc

    def read(self, path: str, index: int) -> bytes:
        """Read a tile or bundle; where a partial one has gone, from the full one.

        Raises:
            LogDamaged: it cannot be read; entry `index` is the first it concerns.
        """
        try:
            return read_resource(self.path, path)
        except FileNotFoundError:
            raise self.fault(index, f"{path} is missing") from None
        except OSError as exc:
            raise self.fault(index, f"{path} cannot be read ({exc.strerror})") from exc

    def read_front(self, path: str, size: int) -> bytes:
        """Read a tile of a smaller tree: the front of the one that stands there now, in a log of `size` entries.

        Raises:
            LogDamaged: it cannot be read.
        """
        kind, index, width = _read_path(path)
        octets = self.read(tile_path(int(kind or 0), index, size), 0)
        return octets if width is None else cut_resource(octets, path, width)

    def list_contents(self) -> Contents:
        """List every file, and every directory that holds none, before any of it is read.

        The checkpoint that is read afterwards covers all of it, however fast the log grows.

        Raises:
            LogDamaged: there is something else, or a directory cannot be read.
        """
        return [*self._list(self.path)]

    def _list(self, directory: Path) -> Iterator[tuple[str, bool]]:
        try:
            held = sorted(os.scandir(directory), key=lambda each: each.name)
        except (FileNotFoundError, NotADirectoryError):  # a writer may have removed it meanwhile
            return
        except OSError as exc:
            raise self.fault(0, f"{self._name(directory)} cannot be read ({exc.strerror})") from exc
        if not held:
            yield self._name(directory), True
        for each in held:
            path = Path(each.path)
            if each.is_dir(follow_symlinks=False):
                yield from self._list(path)
            elif each.is_file(follow_symlinks=False):
                yield self._name(path), False
            else:
                raise self.fault(0, f"{self._name(path)} is neither a file nor a directory")

    def check_contents(self, contents: Contents, size: int, first: int) -> None:
        """Hold what was listed against the files of a log of this size, kept from entry `first` on.

        Raises:
            LogDamaged: something belongs to no such log.
        """
        for name, is_directory in contents:
            is_expected = self._may_hold if is_directory else self._is_expected
            if name != CHECKPOINT_FILE and not is_expected(name, size, first):
                raise self.fault(
                    size,
                    f"{name} belongs to no log of {size} entries: the checkpoint is older, or it is foreign",
                )

    def _is_expected(self, path: str, size: int, first: int) -> bool:
        now = _path_now(path, size)
        _, index, width = _read_path(path)
        if now is None or path == now:
            return now is not None
        base, _, widest = now.partition(f"{_PARTIAL}/")
        limit = int(widest) if widest else TILE_WIDTH
        if width is None or not 0 < width < limit or path != f"{base}{_PARTIAL}/{width}":
            return False
        is_purged = path.startswith("tile/entries/") and (index + 1) * TILE_WIDTH <= first
        return not is_purged and self._is_beginning(path, now, index * TILE_WIDTH, width)

    def _is_beginning(self, path: str, now: str, start: int, width: int) -> bool:
        """Hold a partial file of an earlier checkpoint against what stands there now."""
        try:
            octets = (self.path / path).read_bytes()
        except FileNotFoundError:  # since it was listed, the full one has taken its place
            return True
        if octets != cut_resource(self.read(now, 0), path, width):
            raise self.fault(start, f"{path}: it is not the beginning of {now}")
        return True

    def _may_hold(self, directory: str, size: int, _first: int) -> bool:
        """Tell whether files of such a log lie in a directory, or lay there before they were full, or purged."""
        if directory.endswith(_PARTIAL):
            below = [directory.removesuffix(_PARTIAL)]
        else:
            below = [f"{directory}/{first}" for first in _FIRST_BELOW]
        bases = ((path, _path_now(path, size)) for path in below)
        return any(now and path == now.partition(f"{_PARTIAL}/")[0] for path, now in bases)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def first_kept(directory: Path, size: int) -> int:
    """Return the index of the first entry whose bundle is there; `size` when there is none. Costs a few listings, whatever the size."""
    for groups in range(_MOST_GROUPS):
        bundle = _lowest(directory / "tile" / "entries", 0, groups)
        if bundle is not None:
            return TILE_WIDTH * bundle
    return size


def first_difference(some: bytes, others: bytes) -> int:
    """Return the position of the first hash in which two sequences of hashes differ."""
    count = min(len(some), len(others)) // HASH_OCTETS
    for at in range(count):
        span = slice(HASH_OCTETS * at, HASH_OCTETS * (at + 1))
        if some[span] != others[span]:
            return at
    return count


def _lowest(directory: Path, above: int, groups: int) -> int | None:
    """Return the lowest number of a bundle with so many more groups in front of its last; names of anything else are passed over."""
    pattern = _GROUP if groups else _LAST_GROUP
    try:
        found = [
            (int(match[1]), match) for match in map(pattern.fullmatch, _names(directory)) if match
        ]
    except (FileNotFoundError, NotADirectoryError):
        return None
    for number, match in sorted(found, key=lambda each: each[0]):
        at = above * 1000 + number
        if groups:
            lowest = _lowest(directory / match[0], at, groups - 1)
            if lowest is not None:
                return lowest
        elif not match[2] or any((directory / match[0]).iterdir()):
            return at
    return None


def _names(directory: Path) -> Iterator[str]:
    return (each.name for each in directory.iterdir())


def _path_now(path: str, size: int) -> str | None:
    """Return where a log of this size has the tile or bundle that a path names, full or partial; None where it has none."""
    kind, index, _ = _read_path(path)
    if kind is None:
        return None
    try:
        return bundle_path(index, size) if kind == "entries" else tile_path(int(kind), index, size)
    except (TreeRefused, OverflowError):
        return None


def _read_path(path: str) -> tuple[str | None, int, int | None]:
    """Take a path apart into level or `entries`, index, and width of a partial one; (None, 0, None) for any other file."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None, 0, None
    index = int(found["groups"].replace("x", "").replace("/", ""))
    return found["kind"], index, None if found["width"] is None else int(found["width"])
