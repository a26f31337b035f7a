"""Every system call of the trace's write path, one method each, so that a test can fail any one of them over a real disk.

Nothing here decides: what a failure means is the writer's business. Every method raises `OSError` as the kernel reports it.
"""

import os
from pathlib import Path
from typing import Final

_PRIVATE: Final = 0o600  # entries name persons
_PRIVATE_DIRECTORY: Final = 0o700
_SHARED: Final = 0o640
_SHARED_DIRECTORY: Final = 0o750
"""For what root writes in a directory of its own that has a group of readers."""


class Disk:
    """The disk under a spool and its log."""

    def open(self, file: Path, flags: int) -> int:
        """Open, or create for the owner only; a link is not followed."""
        descriptor = os.open(file, flags | os.O_NOFOLLOW, _PRIVATE)
        if flags & os.O_CREAT:
            _leave(descriptor, file.parent, _SHARED)
        return descriptor

    def write(self, descriptor: int, octets: memoryview) -> int:
        """Write at the end; return how many octets were taken, which may be fewer than given."""
        return os.write(descriptor, octets)

    def begin_writing(self, descriptor: int) -> None:
        """Have the kernel begin to write a file's pages to the medium, and wait for nothing; a hint (it may drop them afterwards)."""
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def fdatasync(self, descriptor: int) -> None:
        """Return once the octets, and the length that finds them again, are on the medium."""
        os.fdatasync(descriptor)

    def ftruncate(self, descriptor: int, length: int) -> None:
        """Cut the file to `length` octets."""
        os.ftruncate(descriptor, length)

    def make_directory(self, directory: Path) -> None:
        """Make a directory for the owner only."""
        directory.mkdir(_PRIVATE_DIRECTORY)
        _leave(directory, directory.parent, _SHARED_DIRECTORY)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in the place of the one that has it."""
        os.rename(old, new)  # noqa: PTH104 - the system call, by its own name

    def unlink(self, file: Path) -> None:
        """Remove a file."""
        os.unlink(file)  # noqa: PTH108 - the system call, by its own name

    def remove_directory(self, directory: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(directory)  # noqa: PTH106 - the system call, by its own name

    def fsync_directory(self, directory: Path) -> None:
        """Return once the names made and removed in `directory` are on the medium."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def forget_cached(self, descriptor: int) -> None:
        """Drop the clean pages of a file, so that the next read tells what the medium holds.

        After a failed fsync Linux keeps pages that never reached the medium and calls them clean.
        """
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self, descriptor: int) -> None:
        """Close; whatever matters has been synchronised before."""
        os.close(descriptor)


def _leave(made: int | Path, directory: Path, shared: int) -> None:
    """Give what root makes to whom its directory belongs: the workers' user reads it, and may be the next to write it.

    Where the directory is root's and has a group, which is the workers', that group reads it.
    """
    if os.geteuid() != 0:
        return
    owner = directory.stat()
    if owner.st_uid:
        os.chown(made, owner.st_uid, owner.st_gid)
    elif owner.st_gid != os.getegid():
        os.chown(made, -1, owner.st_gid)
        os.chmod(made, shared)  # noqa: PTH101 - of a descriptor, too
