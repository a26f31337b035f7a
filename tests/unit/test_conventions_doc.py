"""docs/conventions.md describes every key of a convention file, and no other."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from appliance.conventions.tables import ClientTable, ConventionTable, ProviderTable

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"
ROW = re.compile(
    r"^\| `(?P<key>[a-z0-9_.A-Z]+)` \| (?P<unit>[^|]+) \| (?P<default>[^|]+) \| (?P<example>[^|]+) \|"
)


def keys_of(table: type[msgspec.Struct], prefix: str = "") -> set[str]:
    """Every dotted key of a table; a table of free names stands as `roles.ROLE`."""
    keys: set[str] = set()
    for field in msgspec.structs.fields(table):
        inner = field.type if isinstance(field.type, type) else None
        nested = [
            kind
            for kind in (inner, *get_args(field.type))
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        ]
        name = f"{prefix}{field.encode_name}"
        if nested:
            keys |= keys_of(nested[0], f"{name}.")
        elif field.name == "roles":
            keys.add(f"{name}.ROLE")
        else:
            keys.add(name)
    return keys


def documented(heading: str) -> set[str]:
    """The keys of one table of the document."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    found = [ROW.match(row) for row in rows]
    assert all(found), [row for row, match in zip(rows, found, strict=True) if match is None]
    return {match["key"] for match in found if match is not None}


def test_both_roles() -> None:
    """What both roles have, and how the role is said."""
    assert documented("Both roles") == keys_of(ConventionTable) | {"role"}


@pytest.mark.parametrize(
    ("heading", "table"), [("Client", ClientTable), ("Provider", ProviderTable)]
)
def test_each_role(heading: str, table: type[msgspec.Struct]) -> None:
    """What each role has beside it; every row has unit, default and example."""
    assert documented(heading) == keys_of(table) - keys_of(ConventionTable) - {"role"}
