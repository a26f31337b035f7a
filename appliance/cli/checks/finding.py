"""A finding: what was looked at, where it is, what was found, and what to do about it."""

from enum import StrEnum, unique

import msgspec

from appliance.errors import ConfigurationError


@unique
class Level(StrEnum):
    """How bad it is: an error keeps the service from starting or from serving; a warning will, one day, or weakens it."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's report; `remedy` is empty when nothing is to be done."""

    level: Level
    check: str
    where: str
    found: str
    remedy: str = ""


def passed(check: str, where: object, found: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(Level.OK, check, str(where), found)


def warned(check: str, where: object, found: str, remedy: str) -> Finding:
    """Return a finding that can wait."""
    return Finding(Level.WARNING, check, str(where), found, remedy)


def failed(check: str, where: object, found: str, remedy: str) -> Finding:
    """Return a finding that cannot."""
    return Finding(Level.ERROR, check, str(where), found, remedy)


def unreadable(check: str, error: ConfigurationError) -> Finding:
    """Return the finding of a file that cannot be used."""
    key = f"key `{error.key}`: " if error.key else ""
    return failed(check, error.file, f"{key}expected {error.expected}", "correct the file")
