"""Which user a process of a service is that root starts: whoever takes over one that parses the network should not reach the PIN.

Owns the choice where the configuration names nobody. Promises that a worker is never the user of a lane, as long as the worker's user
can get to the home at all; where it cannot, everything stays with whoever starts it, and `doctor` says so.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from hsm.program import program_places
from hsm.user import User

WORKER: Final = User(61100, 61100)
LANE: Final = User(61101, 61101)
"""Whom nobody else is: numbers without an account, from a range that systemd's list of uids leaves unused (60706 to 61183), and within
the 65,536 that a container has."""


def default_worker(home: Path) -> str | None:
    """Return as whom workers run when nobody is named: `WORKER`; None when that cannot be, or this is not root."""
    if os.geteuid() != 0 or find_barrier(WORKER, home) is not None:
        return None
    return str(WORKER.uid)


def default_lane(pin_file: Path | None) -> str | None:
    """Return as whom lanes run when nobody is named: the owner of the PIN file, which only its owner may read; None is whoever starts."""
    if os.geteuid() != 0 or pin_file is None:
        return None
    try:
        owner = pin_file.stat().st_uid
    except OSError:
        return None  # whoever reads the PIN says it better
    if owner == 0:
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def find_barrier(user: User, home: Path) -> Path | None:
    """Return the directory, by its mode, that keeps the user from the home or from the program; None when none does.

    The way to the program may be closed (`hsm.program`), its own directories may not.
    """
    closed = [
        *(each for each in reversed(home.parents) if not _may(stat.S_IXOTH, each.stat(), user)),
        *(each for each in program_places() if not may_read(each.stat(), user)),
    ]
    return closed[0] if closed else None


def may_read(status: os.stat_result, user: User) -> bool:
    """Whether its mode lets the user read the file, or look into the directory and pass."""
    is_directory = stat.S_ISDIR(status.st_mode)
    return _may(stat.S_IROTH | (stat.S_IXOTH if is_directory else 0), status, user)


def _may(bits: int, status: os.stat_result, user: User) -> bool:
    """Whether the user has all of these rights, given as those of others."""
    if status.st_uid == user.uid:
        bits <<= 6
    elif status.st_gid == user.gid:
        bits <<= 3
    return status.st_mode & bits == bits
