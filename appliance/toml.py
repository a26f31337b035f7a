"""Reads a TOML file into a typed value, whole or not at all.

Promises that a wrong or unknown key is refused with file, dotted key and what was expected (`ConfigurationError`); that a
`Duration` reads like `90s` and a `Size` like `10MiB`. Refuses to guess: there is no coercion and no silent default for a typo.
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import msgspec
from msgspec import inspect

from appliance.errors import ConfigurationError

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OCTETS: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_QUANTITY: Final = re.compile(r"(\d{1,15})(ms|s|m|h|d|B|KiB|MiB|GiB)", re.ASCII)
_PLAIN: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "list": "a list",
    "object": "a table",
    "dict": "a table",
    "datetime": "an instant",
    "date": "a date",
    "time": "a time of day",
}
"""What msgspec and Python call the kinds of values, in the words of whoever writes the file."""

_INSTANT: Final = "an instant with its time zone, such as 2026-01-01T00:00:00Z"
_AT_PATH: Final = re.compile(r"(?P<what>.*?) - at `\$\.?(?P<key>.*)`", re.DOTALL)


class Duration(float):
    """A duration in seconds, written `500ms`, `90s`, `5m`, `2h` or `6d`."""

    __slots__ = ()


class Timeout(Duration):
    """A duration that is more than nothing: what must be done within none of it could never be done."""

    __slots__ = ()


class Size(int):
    """A size in octets, written `512B`, `32KiB`, `10MiB` or `1GiB`."""

    __slots__ = ()


def read_duration(text: str) -> Duration:
    """Read `90s`.

    Raises:
        ValueError: the text is not a duration.
    """
    return Duration(_read_quantity(text, _SECONDS, "a duration such as 500ms, 90s, 5m, 2h or 6d"))


def read_timeout(text: str) -> Timeout:
    """Read `500ms`.

    Raises:
        ValueError: the text is not a duration, or it is one of nothing.
    """
    duration = read_duration(text)
    if not duration:
        raise ValueError(f"a duration of more than nothing, such as 500ms or 2s, got `{text}`")
    return Timeout(duration)


def write_duration(seconds: float) -> str:
    """Write seconds as `read_duration` reads them, in the largest unit that is exact."""
    milliseconds = round(seconds * 1000)
    for unit, length in reversed(_SECONDS.items()):
        count, rest = divmod(milliseconds, round(length * 1000))
        if not rest and (count or unit == "s"):
            return f"{count}{unit}"
    raise AssertionError("a whole number of milliseconds is one")


def read_size(text: str) -> Size:
    """Read `10MiB`.

    Raises:
        ValueError: the text is not a size.
    """
    return Size(_read_quantity(text, _OCTETS, "a size such as 512B, 32KiB, 10MiB or 1GiB"))


Table = TypeVar("Table")


def read_toml(file: Path, kind: type[Table]) -> Table:
    """Read a TOML file into `kind`, a msgspec Struct that forbids unknown fields.

    Raises:
        ConfigurationError: the file cannot be read, is not TOML, or does not fit `kind`.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigurationError(str(file), "", f"valid TOML in UTF-8 ({exc})") from exc
    try:
        return msgspec.convert(document, type=kind, dec_hook=_read_custom)
    except msgspec.ValidationError as exc:
        found = _AT_PATH.fullmatch(str(exc))
        key, what = (found["key"], found["what"]) if found else ("", str(exc))
        raise ConfigurationError(str(file), key, _say_expected(what, kind, key)) from exc


def _read_custom(kind: type, value: object) -> object:
    readers: dict[type, Callable[[str], object]] = {
        Duration: read_duration,
        Timeout: read_timeout,
        Size: read_size,
        Path: _read_path,
    }
    if not isinstance(value, str):
        found = _PLAIN[type(value).__name__]
        raise ValueError(f"a text in quotes, got {found}")  # noqa: TRY004 - msgspec adds the path to ValueError
    return readers[kind](value)


def _read_path(text: str) -> Path:
    if not text.strip() or not text.isprintable():
        raise ValueError("the path of a file or directory")
    return Path(text)


def _say_expected(what: str, kind: type, key: str) -> str:
    """Turn msgspec's sentence into the end of ours, which already says `expected`."""
    choice = re.fullmatch(r"Invalid enum value '(.*)'", what, re.DOTALL)
    if choice:
        return f"{_list_choices(kind, key)}, got `{choice[1]}`"
    if what == "Invalid RFC3339 encoded datetime":
        return _INSTANT
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        return f"no key `{unknown[1]}` here (unknown key; check the spelling)"
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        return f"a key `{missing[1]}` (it is missing)"
    return _in_plain_words(what.removeprefix("Expected ")) if what.startswith("Expected ") else what


def _in_plain_words(what: str) -> str:
    """Say "an instant" for `datetime | null`."""
    if "timezone" in what:
        return _INSTANT

    def name(found: re.Match[str]) -> str:
        kinds = [kind for kind in found[1].split(" | ") if kind != "null"]
        return " or ".join(_PLAIN.get(kind, f"`{kind}`") for kind in kinds)

    return re.sub(r"`([a-z]+(?: \| [a-z]+)*)`", name, what)


def _list_choices(kind: type, key: str) -> str:
    """Name the values that a key takes; msgspec names only the one that it does not."""
    found = inspect.type_info(kind)
    for step in key.split("."):
        name, bracket, _ = step.partition("[")
        if isinstance(found, inspect.StructType):
            found = next(field.type for field in found.fields if field.encode_name == name)
        if bracket and isinstance(found, inspect.VarTupleType):
            found = found.item_type
    values = found.values if isinstance(found, inspect.LiteralType) else ()
    return "one of " + ", ".join(f"`{value}`" for value in values)


def _read_quantity(text: str, units: dict[str, float] | dict[str, int], expected: str) -> float:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"{expected}, got `{text}`")
    return int(found[1]) * cast("dict[str, float]", units)[found[2]]
