"""The entry: what its JSON holds and what is too large for it."""

import json
from pathlib import Path

import pytest

from appliance.errors import Reason, RequestTooLarge
from appliance.trace.record import (
    MAX_ENTRY_OCTETS,
    REQUIRED,
    EntryInvalid,
    entry_schema,
    read_entry,
    write_entry,
)
from tests.trace_entries import make_entry


def test_entry_survives_writing_and_reading() -> None:
    """What is written is read back equal."""
    entry = make_entry(subject='élève "42"\n', verdict="refused", legacy_sha1=True)
    assert read_entry(write_entry(entry)) == entry


def test_json_states_the_version_and_leaves_out_what_is_not_known() -> None:
    """The version always stands first; an absent fact takes no room."""
    octets = write_entry(make_entry())
    assert octets.startswith(b'{"version":1,"event":"created"')
    assert b"verdict" not in octets
    assert b"\n" not in octets


def test_entry_of_another_version_is_not_read() -> None:
    """A version we do not know is refused rather than misread."""
    octets = write_entry(make_entry()).replace(b'"version":1', b'"version":2')
    with pytest.raises(EntryInvalid):
        read_entry(octets)


def test_entry_over_the_limit_is_refused_by_name() -> None:
    """65,535 octets are written, one more is refused."""
    room = MAX_ENTRY_OCTETS - len(write_entry(make_entry(subject="")))
    assert len(write_entry(make_entry(subject="s" * room))) == MAX_ENTRY_OCTETS
    with pytest.raises(RequestTooLarge) as refused:
        write_entry(make_entry(subject="s" * (room + 1)))
    assert refused.value.reason is Reason.ENTRY_TOO_LARGE
    assert "65536 octets" in refused.value.detail


def test_schema_on_the_page_is_the_one_in_force() -> None:
    """`docs/trace-entry.schema.json` is what entries are validated by, personal fields marked."""
    page = Path(__file__).parents[2] / "docs" / "trace-entry.schema.json"
    assert json.loads(page.read_text()) == json.loads(json.dumps(entry_schema()))
    fields = json.loads(page.read_text())["properties"]
    personal = {
        name
        for name, field in fields.items()
        if any(kind.get("x-personal") for kind in field.get("anyOf", [field]))
    }
    assert personal == {"subject", "name_id"}


@pytest.mark.parametrize("event", list(REQUIRED))
def test_entry_without_what_its_event_needs_is_refused(event: str) -> None:
    """Each required field, missing, is named; with all of them the entry is read."""
    for field in REQUIRED[event]:
        if field == "pagms":
            continue  # none is a list too
        entry = make_entry(**{"event": event, **COMPLETE, field: None})
        with pytest.raises(EntryInvalid, match=f"without `{field}`"):
            read_entry(write_entry(entry))
    complete = make_entry(**{"event": event, **COMPLETE})
    assert read_entry(write_entry(complete)) == complete


COMPLETE = {
    "verdict": "refused",
    "reason": "expired",
    "count": 2,
    "since": "2026-03-01T10:00:00.000Z",
    "origin": "a/b",
    "audit_key": "a/b+00000000+AQ",
    "log": "worker-0.standard.2026",
    "minimum_index": 256,
    "detail": "a sentence",
    "component": "token demo",
    "sha256": "0" * 64,
    "signatures": 9,
    "proofs": 2,
}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{}",
        b"[]",
        b'{"version":1,"event":"created"}',
        b'{"version":1,"event":"unheard-of","time":"2026-03-01T10:00:00Z"}',
        b'{"version":1,"event":"reloaded","time":"yesterday"}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z","extra":1}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z","sha256":"xyz"}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z","detail":"\xff"}',
        b'{"version":1,"event":"reloaded","time":"2026-13-01T10:00:00Z"}',
        b'{"version":1,"event":"reloaded","time":"2026-02-29T10:00:00Z"}',
        b'{"version":1,"event":"reloaded","time":"9999-99-99T10:00:00Z"}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T25:00:00Z"}',
        b'{"event":"reloaded","time":"2026-03-01T10:00:00Z"}',
        b'{"version":1.0,"event":"reloaded","time":"2026-03-01T10:00:00Z"}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z","version":1}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z","detail":"a","d\\u0065tail":"b"}',
        b'{"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z"}\n',
        b' {"version":1,"event":"reloaded","time":"2026-03-01T10:00:00Z"}',
        b'{"version":1,\n"event":"reloaded","time":"2026-03-01T10:00:00Z"}',
    ],
)
def test_what_the_schema_forbids_is_refused(octets: bytes) -> None:
    """Unknown events and fields, instants that do not exist, digests, repeated names, another form: none is an entry."""
    with pytest.raises(EntryInvalid):
        read_entry(octets)


def test_entry_of_another_writer_is_read() -> None:
    """Names in another order, blanks between them, escapes where none are needed: the same entry."""
    octets = (
        b'{"time": "2026-03-01T10:00:00Z", "d\\u0065tail": "x", "event": "reloaded", "version": 1}'
    )
    entry = read_entry(octets)
    assert (entry.event, entry.detail) == ("reloaded", "x")
