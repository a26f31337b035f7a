"""A fault disk that shows, at each system call, what a process or a machine that ends there leaves behind.

Of three kinds: what the file system shows (the process was killed), only what was synchronised (the power went), and that with every rename
on the medium although nobody had waited for it (the power went, the journal was quick). What was unlinked is gone in all of them.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from tests.fault_disk import Call, FaultDisk

Image = dict[Path, bytes | None]
"""Octets of files, and None for directories, by path below the home."""


class CrashDisk(FaultDisk):
    """Takes the three images before each system call, while no other call is under way; behind the fault where one is planned.

    Attributes:
        has_struck: the planned fault lies behind, if there is one.
    """

    def __init__(
        self, home: Path, see: Callable[[Image], None], *plan: tuple[Call, int, str]
    ) -> None:
        """Watch a home of empty directories, durable; `see` is given each image, from whatever thread makes the call."""
        super().__init__(*plan)
        self.has_struck = not plan
        self._home = home
        self._see = see
        self._lock = threading.RLock()
        self._files: dict[int, int] = {}  # by inode, for inodes are given out again
        self._octets: list[bytes] = []  # on the medium, by file
        self._names: dict[Path, int | None] = dict.fromkeys(
            home.iterdir()
        )  # on the medium: the file, None of a directory
        self._renamed: dict[Path, int] = {}  # shown, and perhaps on the medium

    def open(self, file: Path, flags: int) -> int:
        with self._lock:
            was_there = file.exists()
            descriptor = super().open(file, flags)
            if not was_there:
                self._files[os.fstat(descriptor).st_ino] = len(self._octets)
                self._octets.append(b"")
            return descriptor

    def write(self, descriptor: int, octets: memoryview) -> int:
        with self._lock:
            return super().write(descriptor, octets)

    def fdatasync(self, descriptor: int) -> None:
        with self._lock:
            super().fdatasync(descriptor)
            held = Path(f"/proc/self/fd/{descriptor}").read_bytes()
            self._octets[self._files[os.fstat(descriptor).st_ino]] = held

    def ftruncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            super().ftruncate(descriptor, length)

    def make_directory(self, directory: Path) -> None:
        with self._lock:
            super().make_directory(directory)

    def fsync_directory(self, directory: Path) -> None:
        with self._lock:
            super().fsync_directory(directory)
            for path in directory.iterdir():
                self._names[path] = None if path.is_dir() else self._file(path)
                self._renamed.pop(path, None)

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            super().rename(old, new)
            self._names.pop(old, None)
            self._renamed[new] = self._file(new)

    def unlink(self, file: Path) -> None:
        with self._lock:
            super().unlink(file)
            self._names.pop(file, None)
            self._renamed.pop(file, None)

    def remove_directory(self, directory: Path) -> None:
        with self._lock:
            super().remove_directory(directory)
            self._names.pop(directory, None)

    def close(self, descriptor: int) -> None:
        with self._lock:
            super().close(descriptor)

    def _meet(self, call: Call) -> str | None:
        with self._lock:
            if self.has_struck:
                for image in (self._shown(), self._kept({}), self._kept(self._renamed)):
                    self._see(image)
            try:
                return super()._meet(call)
            except OSError:
                self.has_struck = True
                raise

    def _file(self, path: Path) -> int:
        return self._files[path.stat().st_ino]

    def _shown(self) -> Image:
        return {
            path.relative_to(self._home): None if path.is_dir() else path.read_bytes()
            for path in sorted(self._home.rglob("*"))
        }

    def _kept(self, renamed: dict[Path, int]) -> Image:
        """Names that are on the medium, in directories whose names are, with the octets that are."""
        kept: Image = {}
        for path, file in sorted((self._names | renamed).items()):
            at = path.relative_to(self._home)
            if len(at.parts) == 1 or at.parent in kept:
                kept[at] = None if file is None else self._octets[file]
        return kept


def lay_out(image: Image, home: Path) -> None:
    """Make a home of an image."""
    home.mkdir()
    for path, octets in image.items():
        if octets is None:
            (home / path).mkdir()
        else:
            (home / path).write_bytes(octets)
