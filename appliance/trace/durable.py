"""Files and directories made durable in one go, over a `Disk`: whatever of it fails, nothing half made takes another's place."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.trace.disk import Disk

_AT_ONCE: Final = 16
"""Files open at a time: a worker's descriptors are for its connections."""


def make_directories(disk: Disk, directory: Path) -> None:
    """Make a directory, and those above it that are missing; each name is on the medium.

    Raises:
        OSError: one of them is not.
    """
    for above in begin_directories(disk, directory):
        disk.fsync_directory(above)


def begin_directories(disk: Disk, directory: Path) -> list[Path]:
    """Make a directory, and those above it that are missing; return those whose new names are not on the medium yet, from above.

    Raises:
        OSError: one of them is not there.
    """
    if directory.is_dir():
        return []
    unsynced = begin_directories(disk, directory.parent)
    try:
        disk.make_directory(directory)
    except FileExistsError:
        if not directory.is_dir():  # otherwise another process was first
            raise
    return [*unsynced, directory.parent]


def write_files(disk: Disk, files: Sequence[tuple[Path, bytes]]) -> None:
    """Write files, over what they may hold; their octets are on the medium, their names may not be.

    The kernel is set to work on each before any is waited for: then a file system gives all of them their places in one transaction,
    instead of one after the other (ext4: two commits of the journal for sixteen files, instead of sixteen).

    Raises:
        OSError: some of them are not.
    """
    for at in range(0, len(files), _AT_ONCE):
        with contextlib.ExitStack() as opened:
            descriptors: list[int] = []
            for file, octets in files[at : at + _AT_ONCE]:
                descriptors.append(disk.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
                opened.callback(disk.close, descriptors[-1])
                rest = memoryview(octets)
                while rest:
                    rest = rest[disk.write(descriptors[-1], rest) :]
                disk.begin_writing(descriptors[-1])
            for descriptor in descriptors:
                disk.fdatasync(descriptor)


def replace_file(disk: Disk, file: Path, octets: bytes, beside: Path) -> None:
    """Put octets in the place of what `file` holds, whole or not at all, by way of a file `beside` on the same file system.

    Raises:
        OSError: the old ones may still stand.
    """
    write_files(disk, [(beside, octets)])
    disk.rename(beside, file)
    disk.fsync_directory(file.parent)
