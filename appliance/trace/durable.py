"""Files and directories made durable in one go, over a `Disk`: whatever of it fails, nothing half made takes another's place."""

import os
from pathlib import Path

from appliance.trace.disk import Disk


def make_directories(disk: Disk, directory: Path) -> None:
    """Make a directory, and those above it that are missing; each name is on the medium.

    Raises:
        OSError: one of them is not.
    """
    if directory.is_dir():
        return
    make_directories(disk, directory.parent)
    try:
        disk.make_directory(directory)
    except FileExistsError:
        if not directory.is_dir():  # otherwise another process was first
            raise
    disk.fsync_directory(directory.parent)


def write_file(disk: Disk, file: Path, octets: bytes) -> None:
    """Write a file, over what it may hold; its octets are on the medium, its name may not be.

    Raises:
        OSError: they are not.
    """
    descriptor = disk.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        rest = memoryview(octets)
        while rest:
            rest = rest[disk.write(descriptor, rest) :]
        disk.fdatasync(descriptor)
    finally:
        disk.close(descriptor)


def replace_file(disk: Disk, file: Path, octets: bytes, beside: Path) -> None:
    """Put octets in the place of what `file` holds, whole or not at all, by way of a file `beside` on the same file system.

    Raises:
        OSError: the old ones may still stand.
    """
    write_file(disk, beside, octets)
    disk.rename(beside, file)
    disk.fsync_directory(file.parent)
