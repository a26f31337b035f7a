"""Files that processes map into memory: made with all their room, so that no change of a mapped octet can find the disk full.

A mapped octet of a file with holes gets its room when it is first written; where there is none the kernel ends the process (SIGBUS),
which no handler can turn into a refusal. So room is taken when a file is made, and again when it is found, for a copy may have holes:
what is missing is an error then, by name. File systems that write every octet anew (btrfs, ZFS) promise no such room: a home lies on
ext4 or XFS, or on memory.
"""

import contextlib
import errno
import mmap
import os
from pathlib import Path
from typing import Final

from appliance.errors import ConfigurationError

_MIB: Final = 1024**2


def take_room(descriptor: int, octets: int) -> None:
    """Give every octet of an open file a place on the disk, lengthening it to `octets` where it is shorter.

    Raises:
        OSError: there is no room; the file may have become longer.
    """
    os.posix_fallocate(descriptor, 0, octets)


def make_mapped(file: Path, head: bytes, octets: int) -> None:
    """Make a file of so many octets, durable and for the owner only: `head`, then zeros.

    Raises:
        OSError: there is no room for it; nothing is left of it.
    """
    try:
        with file.open("wb") as made:
            os.fchmod(made.fileno(), 0o600)
            take_room(made.fileno(), octets)
            made.write(head)
            made.flush()
            os.fsync(made.fileno())
    except OSError:
        with contextlib.suppress(OSError):  # the first failure is the one to tell
            file.unlink()
        raise


def open_mapped(file: Path, what: str) -> tuple[int, mmap.mmap]:
    """Open and map a file that `appliance serve` makes; the caller closes both.

    Raises:
        ConfigurationError: it is not there.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigurationError(
            str(file), "", f"{what}, which `appliance serve` makes ({exc.strerror})"
        ) from exc
    return descriptor, mmap.mmap(descriptor, 0)


def no_room(file: Path, setting: str, octets: int, exc: OSError) -> ConfigurationError:
    """Say how much room a mapped file wants, and which setting it follows."""
    is_full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    advice = ": free so much on its disk, or state less" if is_full else ""
    return ConfigurationError(
        str(file), setting, f"a place for {-(-octets // _MIB)} MiB ({exc.strerror}){advice}"
    )
