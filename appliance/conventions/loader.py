"""Reads convention files: one TOML file each, validated whole; the file's name is the convention's id.

Promises that an unknown, wrong or contradictory key is refused with file, key and what was expected. Paths are relative to the
home, the directory that holds `conventions/`. Opens no file that a convention names: `Registry` does. `tables` lists the keys,
`client_file` and `provider_file` check them, `docs/conventions.md` describes them.
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from appliance.conventions.client_file import load_client
from appliance.conventions.file_checks import FileChecks
from appliance.conventions.model import Convention
from appliance.conventions.provider_file import load_provider
from appliance.conventions.tables import EitherTable
from appliance.errors import ConfigurationError
from appliance.home import CONVENTION_FILES
from appliance.toml import read_toml

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_convention_id(text: str) -> bool:
    """Tell whether a text can be a convention's id, and so the name of its file."""
    return _ID.fullmatch(text) is not None


def load_conventions(directory: Path) -> tuple[Convention, ...]:
    """Load every `*.toml` of a directory, in the order of their ids.

    Raises:
        ConfigurationError: of the first file that cannot be used.
    """
    return ConventionFiles(directory).load()


def load_convention(file: Path) -> Convention:
    """Load one convention.

    Raises:
        ConfigurationError: the file cannot be read, or a key of it cannot be used.
    """
    readers: dict[str, Callable[[Path], Convention]] = {
        "client": load_client,
        "provider": load_provider,
    }
    checks = FileChecks(file)
    if not is_convention_id(file.stem):
        raise checks.refuse("", "a file name (the convention's id) of letters, digits, . _ and -")
    either = read_toml(file, EitherTable)
    role = either.role or ("provider" if either.trust is not None else "")
    return checks.choose("role", role, readers)(file)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a file from the next."""

    inode: int
    size: int
    modified: int


def _stamp_of(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


class ConventionChanges:
    """Notices that convention files changed, once nobody is changing them any more: two looks in a row that see the same."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._taken = self._seen = self._look()

    def settled(self) -> bool:
        """Look once; True when the files differ from those of the last True (or of the beginning) and have come to rest."""
        found = self._look()
        is_settled = found == self._seen and found != self._taken
        self._seen = found
        if is_settled:
            self._taken = found
        return is_settled

    def _look(self) -> dict[str, _Stamp]:
        with contextlib.suppress(OSError):
            return _list(self._directory)
        return {}


def _list(directory: Path) -> dict[str, _Stamp]:
    """Return the convention files of a directory, by name; none where there is no directory.

    Raises:
        OSError: it cannot be read, or a file in it cannot be looked at.
    """
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return {}
    with entries:
        return {
            entry.name: _stamp_of(entry.stat())
            for entry in entries
            if fnmatchcase(entry.name, CONVENTION_FILES)
        }


@dataclass(slots=True)
class ConventionFiles:
    """The files of one directory, re-read only where they changed: ten thousand of them make a reload slow otherwise."""

    directory: Path
    _known: dict[str, tuple[_Stamp, Convention]] = field(default_factory=dict)

    def load(self) -> tuple[Convention, ...]:
        """Do as `load_conventions`.

        Raises:
            ConfigurationError: of the first file that cannot be used; what was known stays known.
        """
        try:
            found = _list(self.directory)
        except OSError as exc:  # no file less must be taken for a convention that ended
            expected = (
                f"a directory of conventions that can be read ({exc.filename}: {exc.strerror})"
            )
            raise ConfigurationError(str(self.directory), "", expected) from exc
        loaded: dict[str, tuple[_Stamp, Convention]] = {}
        for name in sorted(found):
            known = self._known.get(name)
            if known is None or known[0] != found[name]:
                known = (found[name], load_convention(self.directory / name))
            loaded[name] = known
        self._known = loaded
        return tuple(convention for _, convention in loaded.values())
