"""What is checked of a convention file beyond its types; every method raises `ConfigurationError` with file, key and what was expected."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, cast, get_args

from appliance.conventions.model import (
    Environment,
    Period,
    ReplayPolicy,
    TraceLevel,
    TracePolicy,
)
from appliance.conventions.tables import ConventionTable, TraceTable
from appliance.errors import ConfigurationError
from appliance.toml import read_toml
from appliance.trust.download import read_http_address
from appliance.trust.names import NamePattern
from appliance.vectors.characters import is_stated

PAGM_ATTRIBUTE: Final = "PAGM"
_FORMATS_OF_2: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:"

_MODELS: Final = {"A": "A"}
_YEARS: Final = re.compile(r"([1-6])y", re.ASCII)
_ONE_LINE: Final = frozenset("\t\r\n")
_DAY: Final = 86400
_RETENTION: Final = "1y to 6y, in whole years"

Chosen = TypeVar("Chosen")
Table = TypeVar("Table", bound=ConventionTable)


class FileChecks:
    """The checks of one file."""

    def __init__(self, file: Path) -> None:
        self.file: Final = file

    def refuse(self, key: str, expected: str) -> ConfigurationError:
        """Make the refusal of a key."""
        return ConfigurationError(str(self.file), key, expected)

    def choose(self, key: str, value: str, choices: Mapping[str, Chosen]) -> Chosen:
        """Return what a word stands for."""
        if value not in choices:
            raise self.refuse(key, f"one of {', '.join(choices)}; got `{value}`")
        return choices[value]

    def word(self, key: str, value: str, kind: object) -> str:
        """Return a word that a `Literal` lists."""
        words = cast("tuple[str, ...]", get_args(kind))
        return self.choose(key, value, {word: word for word in words})

    def texts(self, **values: str) -> None:
        """Check single texts."""
        for key, value in values.items():
            self.text(key, value)

    def text(self, key: str, value: str) -> None:
        """Check one text; it stands in messages, traces and attributes of XML, where a line end would not survive."""
        if not is_stated(value) or not _ONE_LINE.isdisjoint(value):
            raise self.refuse(key, "a text on one line, without white space at its ends, not empty")

    def list_(self, key: str, values: tuple[str, ...]) -> None:
        """Check a list of texts, each once."""
        for at, value in enumerate(values):
            self.text(f"{key}[{at}]", value)
            if value in values[:at]:
                raise self.refuse(f"{key}[{at}]", f"each value once; `{value}` stands twice")

    def some(self, key: str, values: tuple[object, ...]) -> None:
        """Check that a list is not empty."""
        if not values:
            raise self.refuse(key, "at least one value")

    def positive(self, key: str, value: float | None) -> None:
        """Check a duration that must not be zero."""
        if value is not None and value <= 0:
            raise self.refuse(key, "more than zero")

    def days(self, key: str, value: float, most: int) -> float:
        """Return a duration of so many days at most, in seconds; dates that it moves stay dates."""
        if value > most * _DAY:
            raise self.refuse(key, f"{most}d at most; got {value / _DAY:.0f} days")
        return float(value)

    def known(self, key: str, values: Iterable[str], pagms: tuple[str, ...]) -> None:
        """Check that each value is a PAGM of the catalogue."""
        for at, value in enumerate(values):
            if value not in pagms:
                raise self.refuse(f"{key}[{at}]", f"a PAGM that `pagms` lists; got `{value}`")

    def address(self, key: str, text: str) -> str:
        """Check the address of a server that is asked."""
        try:
            read_http_address(text)
        except ValueError as exc:
            expected = f"an address such as http://ocsp.example/path ({exc}; what is signed needs no https)"
            raise self.refuse(key, f"{expected}; got `{text}`") from exc
        return text

    def names(self, key: str, texts: tuple[str, ...]) -> tuple[NamePattern, ...]:
        """Read patterns of distinguished names."""
        self.list_(key, texts)
        patterns: list[NamePattern] = []
        for at, text in enumerate(texts):
            try:
                patterns.append(NamePattern.read(text))
            except ValueError as exc:
                raise self.refuse(
                    f"{key}[{at}]", f"a whole name such as `CN=*,O=Organisme,C=FR` ({exc})"
                ) from exc
        return tuple(patterns)


def read_shared(file: Path, kind: type[Table]) -> tuple[FileChecks, Table]:
    """Read a file, and check what both roles have."""
    checks, read = FileChecks(file), read_toml(file, kind)
    checks.choose("model", read.model, _MODELS)
    checks.texts(issuer=read.issuer, audience=read.audience, recipient=read.recipient)
    checks.text("no_user", read.no_user)
    checks.some("levels", read.levels)
    checks.list_("levels", read.levels)
    checks.some("pagms", read.pagms)
    checks.list_("pagms", read.pagms)
    checks.list_("attributes", read.attributes)
    if PAGM_ATTRIBUTE in read.attributes:
        raise checks.refuse("attributes", f"no `{PAGM_ATTRIBUTE}`: profiles belong in `pagms`")
    return checks, read


def check_name_id_format(checks: FileChecks, key: str, value: str, versions: Iterable[str]) -> None:
    """Check that one of the SAML versions knows the Format: those of SAML 2.0 mean nothing in a 1.1 assertion."""
    checks.text(key, value)
    if value.startswith(_FORMATS_OF_2) and "2.0" not in versions:
        raise checks.refuse(key, f"a Format that SAML 1.1 knows; got `{value}`")


def read_period(checks: FileChecks, read: ConventionTable) -> Period:
    """Read when the convention is in force."""
    begins, ends = read.valid_from, read.valid_until
    if begins is not None and ends is not None and ends <= begins:
        raise checks.refuse("valid_until", f"an instant after `valid_from`; got {_say(ends)}")
    return Period(begins, ends)


def read_environment(checks: FileChecks, read: ConventionTable) -> Environment:
    """Read which of the two worlds the convention belongs to."""
    return cast("Environment", checks.word("environment", read.environment, Environment))


def read_replay(checks: FileChecks, read: ConventionTable) -> ReplayPolicy:
    """Read the replay policy."""
    return cast("ReplayPolicy", checks.word("replay", read.replay, ReplayPolicy))


def read_trace(checks: FileChecks, read: TraceTable) -> TracePolicy:
    """Read what the trace says, and for how long."""
    years = _YEARS.fullmatch(read.retention)
    if years is None:
        raise checks.refuse("trace.retention", f"{_RETENTION}; got `{read.retention}`")
    level = checks.word("trace.level", read.level, TraceLevel)
    return TracePolicy(cast("TraceLevel", level), int(years[1]))


def _say(instant: datetime) -> str:
    return instant.isoformat()
