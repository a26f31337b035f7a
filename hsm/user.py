"""The user a process ends up as: started as root, it lets go of everything else before it touches a token or the network.

Promises that a process which cannot become the user it is told to be does not go on as another.
"""

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from hsm.program import hold_program

_TRAVERSABLE = 0o711


class User(msgspec.Struct, frozen=True):
    """An account, by number: one need not have a name."""

    uid: int
    gid: int


class NotThatUser(Exception):
    """This process is neither root nor the user it should be."""


def own_directory(directory: Path, user: User) -> None:
    """Make a directory that is the user's, with the files in it; others may pass through it, and the one it is in, to a name they know."""
    directory.mkdir(mode=_TRAVERSABLE, exist_ok=True)
    directory.parent.chmod(directory.parent.stat().st_mode | _TRAVERSABLE)
    directory.chmod(_TRAVERSABLE)
    os.chown(directory, user.uid, user.gid)
    for each in (*directory.iterdir(), *directory.glob("checkpoints/*")):
        with contextlib.suppress(FileNotFoundError):
            _give(each, user)


def _give(path: Path, user: User) -> None:
    """Hand over what is the directory's alone: not where a link leads, nor a file that has a second name elsewhere."""
    status = path.lstat()
    is_alone = stat.S_ISDIR(status.st_mode) or (
        stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    )
    if is_alone and status.st_uid != user.uid:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def become(user: User | None) -> None:
    """Be the user from here on, for good, without any group but its own; None changes nothing.

    Raises:
        NotThatUser: only root can become somebody else.
    """
    if user is None or os.geteuid() == user.uid:
        return
    if os.geteuid() != 0:
        raise NotThatUser(f"uid {os.geteuid()} cannot become uid {user.uid}; start as root")
    hold_program()
    os.setgroups([])
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
