"""docs/conventions.md describes every key of a convention file, and no other, with the default that it has."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from appliance.conventions.tables import ClientTable, ConventionTable, ProviderTable
from appliance.toml import Duration, read_duration

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"
ROW = re.compile(
    r"^\| `(?P<key>[a-z0-9_.A-Z]+)` \| (?P<unit>[^|]+) \| (?P<default>[^|]+) \| (?P<example>[^|]+) \|"
)


def defaults_of(table: type[msgspec.Struct], prefix: str = "") -> dict[str, object]:
    """Every dotted key of a table with its default; a table of free names stands as `roles.ROLE`."""
    keys: dict[str, object] = {}
    for field in msgspec.structs.fields(table):
        inner = field.type if isinstance(field.type, type) else None
        nested = [
            kind
            for kind in (inner, *get_args(field.type))
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        ]
        name = f"{prefix}{field.encode_name}"
        if nested:
            keys |= defaults_of(nested[0], f"{name}.")
        elif field.name == "roles":
            keys[f"{name}.ROLE"] = ()
        else:
            keys[name] = field.default
    return keys


def keys_of(table: type[msgspec.Struct]) -> set[str]:
    """Every dotted key of a table."""
    return set(defaults_of(table))


def documented(heading: str) -> dict[str, str]:
    """The keys of one table of the document, with what stands there as their defaults."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    found = [ROW.match(row) for row in rows]
    assert all(found), [row for row, match in zip(rows, found, strict=True) if match is None]
    return {match["key"]: match["default"].strip() for match in found if match is not None}


def test_both_roles() -> None:
    """What both roles have, and how the role is said."""
    assert documented("Both roles").keys() == keys_of(ConventionTable) | {"role"}


@pytest.mark.parametrize(
    ("heading", "table"), [("Client", ClientTable), ("Provider", ProviderTable)]
)
def test_each_role(heading: str, table: type[msgspec.Struct]) -> None:
    """What each role has beside it; every row has unit, default and example."""
    assert documented(heading).keys() == keys_of(table) - keys_of(ConventionTable) - {"role"}


@pytest.mark.parametrize(
    ("heading", "table"),
    [("Both roles", ConventionTable), ("Client", ClientTable), ("Provider", ProviderTable)],
)
def test_defaults(heading: str, table: type[msgspec.Struct]) -> None:
    """What stands as a key's default is the one that it has; `required` where it has none, and no value where it means nothing is set."""
    defaults = defaults_of(table)
    for key, said in documented(heading).items():
        if key in {"role", "rollover.key"}:  # neither has a default of its own
            continue
        default, stated = defaults[key], re.findall(r"`([^`]+)`", said.partition(";")[0])
        if default is msgspec.NODEFAULT:
            assert said.startswith("required"), key
        elif default is None or default == ():
            assert not re.fullmatch(r"`[^`]*`", said), key
        elif isinstance(default, Duration):
            assert [read_duration(each) for each in stated] == [default], key
        elif isinstance(default, bool):
            assert stated == [str(default).lower()], key
        else:
            assert stated == ([default] if isinstance(default, str) else [*default]), key
