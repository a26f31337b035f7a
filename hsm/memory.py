"""What lanes of a home remember beyond their own life: which PINs were refused, and which checkpoints were signed.

Owns how it follows the lanes from one user to another. Promises that neither a new name of a token nor a new user of its lanes forgets
it. Refuses to write in a user's directory as root: what root has read of the others is written by the user himself.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hsm.guard import PinGuard
from hsm.heads import SignedHead, locked_heads
from hsm.state import RefusedPin, naming_failures

_OF_USER: Final = "lanes-"
_LARGEST: Final = 65536

Kept = TypeVar("Kept", RefusedPin, SignedHead)


class Memory(msgspec.Struct, frozen=True):
    """What was found in the other state directories of a home."""

    refusals: list[RefusedPin] = []
    heads: list[SignedHead] = []

    def keep(self, directory: Path, module: str) -> None:
        """Add what is news to a state directory, under its locks; as the user it belongs to.

        Raises:
            HsmError: OPEN_BUSY or STATE_UNUSABLE.
        """
        if self.refusals:
            with PinGuard.locked(directory, module=module) as guard:
                guard.adopt(self.refusals)
        if self.heads:
            with naming_failures(directory), locked_heads(directory / "checkpoints") as heads:
                heads.adopt(self.heads)


def directory_of(run: Path, uid: int) -> Path:
    """Return where the lanes of a user keep sockets, locks and memory."""
    return run / f"{_OF_USER}{uid}"


def other_directories(directory: Path) -> list[Path]:
    """Return the other state directories of the same home: those of other users, and `token-NAME` of homes before 2026.11."""
    is_of_user = re.fullmatch(rf"{_OF_USER}\d+", directory.name) is not None
    run = directory.parent if is_of_user else directory
    found = [run, *sorted(run.glob(f"{_OF_USER}*")), *sorted(run.glob("token-*"))]
    return [each for each in found if each != directory]


def read_memory(directory: Path) -> Memory:
    """Read, as root, what the other state directories of the home remember.

    Raises:
        HsmError: STATE_UNUSABLE.
    """
    refusals: list[RefusedPin] = []
    heads: list[SignedHead] = []
    for other in other_directories(directory):
        with naming_failures(other):
            refusals += _read_all(other, "pin-refused-*.json", RefusedPin)
            heads += _read_all(other, "checkpoints/*.json", SignedHead)
    return Memory(refusals, heads)


def forget_refusals(directory: Path, module: str, token: str) -> bool:
    """Forget, in every state directory of the home, that a token refused its PIN; says whether it had.

    Raises:
        HsmError: OPEN_BUSY or STATE_UNUSABLE.
    """
    others = other_directories(directory)
    everywhere = [directory, *(each for each in others if os.access(each, os.R_OK | os.W_OK))]
    forgotten: list[RefusedPin] = []
    for each in everywhere:
        with PinGuard.locked(each, module=module) as guard:
            forgotten += guard.resume(token)
    for each in everywhere:  # elsewhere the same refusal may stand under an earlier name
        with PinGuard.locked(each, module=module) as guard:
            guard.forget(forgotten)
    return bool(forgotten)


def _read_all(directory: Path, pattern: str, kind: type[Kept]) -> list[Kept]:
    """Read regular files of a bounded size: who owns the directory must not have root read anything else for him."""
    found: list[Kept] = []
    for file in sorted(directory.glob(pattern)):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        with os.fdopen(descriptor, "rb") as stream:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                found.append(msgspec.json.decode(stream.read(_LARGEST), type=kind))
    return found
