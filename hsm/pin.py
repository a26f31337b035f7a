"""The PIN: where it comes from, how a change of it is seen, and how it is kept out of sight.

Owns `Pin` and `PinSource`. Promises that a source has another name when it holds something else, as far as that shows. Refuses to show
a PIN.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from hsm.errors import Finding, HsmError, Target

_PIN_LIMIT: Final = 1024
_START_TIME: Final = 19
"""Place of the start time in proc(5)'s stat, counted after the name."""


class PinFile(msgspec.Struct, frozen=True, tag="file"):
    """A file that only its owner may read; a final newline is not part of the PIN."""

    path: str


class PinVariable(msgspec.Struct, frozen=True, tag="variable"):
    """An environment variable, removed from the environment once read."""

    name: str


class PinCredential(msgspec.Struct, frozen=True, tag="credential"):
    """A systemd credential: a file below `$CREDENTIALS_DIRECTORY`."""

    name: str


PinSource = PinFile | PinVariable | PinCredential


class Pin:
    """A PIN that shows itself to nobody who does not ask for it by name, and can be wiped."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = bytearray(octets)

    def reveal(self) -> str:
        """Return the text C_Login wants; the caller drops it at once."""
        return self._octets.decode()

    def wipe(self) -> None:
        """Overwrite our copy (the text Python made for the call may outlive it)."""
        self._octets[:] = bytes(len(self._octets))

    def __repr__(self) -> str:
        return "Pin(redacted)"


def read_pin(source: PinSource, target: Target) -> Pin:
    """Read the PIN from its source.

    Raises:
        HsmError: PIN_SOURCE_UNUSABLE: absent, empty, not UTF-8, or a file others may read.
    """
    octets = (
        _read_variable(source) if isinstance(source, PinVariable) else _read_file(source, target)
    )
    if octets is None:
        raise _unusable(target, f"the source {source} does not exist", "create it")
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    try:
        octets.decode()
    except UnicodeDecodeError:
        raise _unusable(target, "the PIN is not UTF-8", "write it as UTF-8 text") from None
    if not octets:
        raise _unusable(target, "the PIN is empty", "write the PIN there")
    return Pin(octets)


def identify(source: PinSource) -> str:
    """Name a source so that a changed one is seen by whoever corrects it.

    A variable has no mtime and a systemd credential gets a new one at every start of the service, which would unbind the
    refusal from restarts: both are known by name only, so a person has to resume after changing them.
    """
    if isinstance(source, PinVariable):
        return f"variable:{source.name}"
    if isinstance(source, PinCredential):
        return f"credential:{source.name}"
    return _identify_file(Path(source.path)) or f"file:{source.path}"


def identify_content(source: PinSource) -> str | None:
    """Name what a source holds now, so that nothing else it may come to hold has the same name; None where that cannot be told.

    A variable stays what it is for as long as our parent lives, from whom we have it.
    """
    if isinstance(source, PinVariable):
        return _identify_variable(source.name, os.getppid())
    path = _locate(source)
    return None if path is None else _identify_file(path)


def is_current(content: str) -> bool:
    """Whether a source may still hold what `identify_content` named: the file is the same, or whoever had the variable lives."""
    kind, _, place = content.partition(":")
    try:
        if kind == "variable":
            name, process, _ = place.rsplit(":", 2)
            return _identify_variable(name, int(process)) == content
        return _identify_file(Path(place.rsplit(":", 3)[0])) == content
    except ValueError:  # torn
        return False


def _identify_variable(name: str, process: int) -> str | None:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"variable:{name}:{process}:{fields[_START_TIME]}"


def _identify_file(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return f"file:{path}:{status.st_dev}:{status.st_ino}:{status.st_mtime_ns}"


def _read_variable(source: PinVariable) -> bytes | None:
    return os.environb.pop(os.fsencode(source.name), None)


def _read_file(source: PinFile | PinCredential, target: Target) -> bytes | None:
    path = _locate(source)
    if path is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unusable(target, f"{path} cannot be read ({exc.strerror})", "correct it") from exc
    with os.fdopen(descriptor, "rb") as stream:
        if isinstance(source, PinFile) and os.fstat(descriptor).st_mode & 0o077:
            raise _unusable(target, f"others may read {path}", f"run `chmod 600 {path}`")
        return stream.read(_PIN_LIMIT)


def _locate(source: PinFile | PinCredential) -> Path | None:
    if isinstance(source, PinFile):
        return Path(source.path)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory, source.name) if directory else None


def _unusable(target: Target, cause: str, next_step: str) -> HsmError:
    return HsmError(target, Finding("PIN_SOURCE_UNUSABLE", "human", cause, next_step))
