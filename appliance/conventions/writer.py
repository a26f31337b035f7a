"""Writes convention files: a new one from what two organisations agreed, beside the comments that explain the rest.

What is written was read back first: a file that the service would refuse is never left behind, nor half of what belongs to one.
"""

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from appliance.conventions.loader import is_convention_id
from appliance.conventions.model import Convention
from appliance.errors import ConfigurationError

Value = str | Sequence[str] | bool | int | datetime

_PRIVATE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def fill_template(template: str, values: Mapping[str, Value]) -> str:
    """Put values in the place of those a model file states, commented or not; keys the model lacks stand at its end.

    Args:
        template: a model file, tables included.
        values: dotted keys; None of them names a table.
    """
    lines, table, missing = template.splitlines(), "", dict(values)
    for at, line in enumerate(lines):
        header = re.fullmatch(r"\[([a-z_.]+)\]", line)
        table = f"{header[1]}." if header else table
        setting = re.fullmatch(r"(?:# )?([a-z0-9_]+) = .*", line)
        key = f"{table}{setting[1]}" if setting else ""
        if key in missing:
            lines[at] = f"{key.removeprefix(table)} = {write_value(missing.pop(key))}"
    for key, value in missing.items():
        head, _, name = key.rpartition(".")
        # A key without a table goes first: behind one it would belong to it.
        place = lines.index(f"[{head}]") + 1 if f"[{head}]" in lines else 0
        lines.insert(place, f"{name if place else key} = {write_value(value)}")
    return "\n".join(lines) + "\n"


def write_value(value: Value) -> str:
    """Write a TOML value; a basic string is a JSON string for the texts that a convention takes (TOML 1.0, String)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"[{', '.join(map(write_value, value))}]"


def check_free(directory: Path, convention_id: str) -> Path:
    """Return the file that a new convention will have.

    Raises:
        ConfigurationError: the id cannot be one, or it is taken.
    """
    file = directory / f"{convention_id}.toml"
    if not is_convention_id(convention_id):
        raise ConfigurationError(str(file), "", "an id of letters, digits, . _ and -")
    if file.exists():
        raise ConfigurationError(str(file), "", "an id that no convention has yet")
    return file


def save_convention(
    directory: Path,
    convention_id: str,
    text: str,
    check: Callable[[Path], Convention],
    beside: Mapping[Path, bytes | None] | None = None,
) -> Convention:
    """Put a new file among the conventions, with what it names on disk, once `check` takes it: all of it, or nothing.

    Args:
        directory: of the conventions.
        convention_id: the name of the file.
        text: what it says.
        check: loads a convention, and raises `ConfigurationError` where it could not be served.
        beside: files that the convention names, and directories (None); what is there already stays, if it says the same.

    Raises:
        ConfigurationError: the id cannot be one, it is taken, `check` refuses the file, or something else lies in its place.
    """
    file = check_free(directory, convention_id)
    with contextlib.ExitStack() as undone:
        for path, octets in (beside or {}).items():
            _make(path, octets, undone)
        # As far below the home as the file will be: the paths in it start at the home.
        trial = file.parent.parent / f".{file.stem}.{os.getpid()}"
        _make(trial, None, undone)
        draft = trial / file.name
        _make(draft, text.encode(), undone)
        try:
            check(draft)
        except ConfigurationError as exc:
            where = str(file) if exc.file == str(draft) else exc.file
            raise ConfigurationError(where, exc.key, exc.expected) from exc
        try:
            draft.rename(file)
        except OSError as exc:
            raise ConfigurationError(
                str(file), "", f"a place to write to ({exc.strerror})"
            ) from exc
        undone.pop_all()
    trial.rmdir()
    return check(file)


def _make(path: Path, octets: bytes | None, undone: contextlib.ExitStack) -> None:
    """Make a file, or a directory, with the directories above it; `undone` takes away again what was not there before.

    Raises:
        ConfigurationError: something else is there, or it cannot be made.
    """
    try:
        if octets is None and path.is_dir():
            return
        if path.exists():
            if octets is None or path.read_bytes() != octets:
                raise ConfigurationError(str(path), "", "a free place; something else is there")
            return
        for above in reversed([each for each in path.parents if not each.exists()]):
            _make(above, None, undone)
        if octets is None:
            path.mkdir(mode=_PRIVATE_DIRECTORY)
            undone.callback(_take_away, path.rmdir)
            return
        undone.callback(_take_away, path.unlink)
        with os.fdopen(os.open(path, _NEW, _PRIVATE), "wb") as made:
            made.write(octets)
            made.flush()
            os.fsync(made.fileno())
    except OSError as exc:
        raise ConfigurationError(str(path), "", f"a place to write to ({exc.strerror})") from exc


def _take_away(remove: Callable[[], None]) -> None:
    """Remove what was made; what others have put beside it, or moved, stays as it is."""
    with contextlib.suppress(OSError):
        remove()
