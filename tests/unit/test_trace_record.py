"""The entry: what its JSON holds and what is too large for it."""

import msgspec
import pytest

from appliance.errors import Reason, RequestTooLarge
from appliance.trace.record import MAX_ENTRY_OCTETS, read_entry, write_entry
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
    with pytest.raises(msgspec.ValidationError):
        read_entry(octets)


def test_entry_over_the_limit_is_refused_by_name() -> None:
    """65,535 octets are written, one more is refused."""
    room = MAX_ENTRY_OCTETS - len(write_entry(make_entry(subject="")))
    assert len(write_entry(make_entry(subject="s" * room))) == MAX_ENTRY_OCTETS
    with pytest.raises(RequestTooLarge) as refused:
        write_entry(make_entry(subject="s" * (room + 1)))
    assert refused.value.reason is Reason.ENTRY_TOO_LARGE
    assert "65536 octets" in refused.value.detail
