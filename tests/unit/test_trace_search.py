"""Searching: every given fact must hold, several logs come merged by time."""

from pathlib import Path

import pytest

from appliance.trace.record import write_entry
from appliance.trace.search import Selection, find, search
from appliance.trace.view import LogPlace
from tests.trace_entries import make_entry, write_log

CREATED = make_entry(assertion_id="_c", pagms=("PAGM_CONSULTATION", "PAGM_GESTION"))
REFUSED = make_entry(
    event="received",
    time="2026-03-01T10:00:02.000Z",
    assertion_id="_r",
    issuer="urn:other",
    subject=None,
    name_id="b*",
    convention="demo-provider",
    verdict="refused",
    reason="expired",
)
LATER = make_entry(
    time="2026-03-02T00:00:00.000Z", assertion_id="_c", event="reused", subject="é", name_id="é"
)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Two logs whose entries interleave in time."""
    write_log(tmp_path / "worker-0", [[write_entry(CREATED)], [write_entry(LATER)]])
    write_log(tmp_path / "worker-1", [[write_entry(REFUSED)]])
    return tmp_path


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [CREATED, REFUSED, LATER]),
        (Selection(assertion_id="_c"), [CREATED, LATER]),
        (Selection(issuer="urn:other"), [REFUSED]),
        (Selection(subject="agent-0042"), [CREATED]),
        (Selection(subject="b*"), [REFUSED]),
        (Selection(subject="é"), [LATER]),
        (Selection(pagm="PAGM_GESTION"), [CREATED]),
        (Selection(pagm="PAGM"), []),
        (Selection(convention="demo-provider"), [REFUSED]),
        (Selection(verdict="refused"), [REFUSED]),
        (Selection(verdict="accepted"), []),
        (Selection(event="reused"), [LATER]),
        (Selection(since="2026-03-01T10:00:02.000Z"), [REFUSED, LATER]),
        (Selection(until="2026-03-01T10:00:02.000Z"), [CREATED]),
        (Selection(assertion_id="_c", event="created"), [CREATED]),
        (Selection(assertion_id="_r", event="created"), []),
        # The text stands in the entry, but not where it is looked for.
        (Selection(issuer="_c"), []),
    ],
)
def test_selection_picks_what_matches(spool: Path, selection: Selection, expected: list) -> None:
    """Every given fact must hold, in its own field."""
    place = LogPlace(spool / "log", spool)
    assert [found.entry for found in search(place, selection)] == expected


def test_find_tells_the_story_of_one_vector(spool: Path) -> None:
    """All entries about a vector, from all logs, with their places."""
    places = [
        (found.stored.log, found.stored.index)
        for found in find(LogPlace(spool / "log", spool), "_c")
    ]
    assert places == [("worker-0", 0), ("worker-0", 1)]
    assert find(LogPlace(spool / "log", spool), "_absent") == ()
