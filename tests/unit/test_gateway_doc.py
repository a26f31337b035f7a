"""docs/gateway.md describes every key of the gateway's tables, and no other."""

import re
from pathlib import Path

import msgspec
import pytest

from appliance.gateway.tables import (
    InboundRouteTable,
    InboundTable,
    OutboundRouteTable,
    OutboundTable,
    PartnerTable,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "gateway.md"
ROW = re.compile(r"^\| `([a-z0-9_]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


@pytest.mark.parametrize(
    ("marker", "table"),
    [
        ("`[[partner]]` is", PartnerTable),
        ("`[[outbound]]` is", OutboundTable),
        ("`[[outbound.route]]` says", OutboundRouteTable),
        ("`[[inbound]]` is", InboundTable),
        ("`[[inbound.route]]` says", InboundRouteTable),
    ],
)
def test_every_key_is_described(marker: str, table: type[msgspec.Struct]) -> None:
    """Each with its unit, its default and what it means."""
    text = DOCUMENT.read_text().split(marker)[1]
    rows = text[: text.index("\n\n", text.index("| --- |"))]
    fields = {field.encode_name for field in msgspec.structs.fields(table)} - {"route"}
    assert set(ROW.findall(rows)) == fields
