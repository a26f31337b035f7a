"""Recovery: whatever a crash leaves behind the last acknowledged commit, what was acknowledged is read back and nothing torn is."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from appliance.errors import SpoolUnavailable
from appliance.trace.disk import Disk
from appliance.trace.reader import LogDamaged
from appliance.trace.segments import SegmentWriter
from tests.trace_entries import make_frame, octets_of, segments_of, write_log

# Entries are JSON, so they hold no NUL; that is all recovery knows of them.
entries = st.binary(min_size=1, max_size=60).map(lambda octets: octets.replace(b"\0", b"0"))
commits = st.lists(entries, min_size=1, max_size=4)
segment_octets = st.sampled_from([60, 200, 1024**2])


@given(
    acknowledged=st.lists(commits, max_size=6),
    interrupted=commits,
    segment_octets=segment_octets,
    data=st.data(),
)
def test_crash_keeps_a_prefix_that_holds_all_that_was_acknowledged(
    acknowledged: list[list[bytes]],
    interrupted: list[bytes],
    segment_octets: int,
    data: st.DataObject,
) -> None:
    """A commit cut anywhere, its pages lost in any pattern, costs at most itself; the log goes on behind it."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        write_log(log, acknowledged, segment_octets)
        last = segments_of(log)[-1]
        durable = last.read_bytes()
        left = bytearray(b"\x80" + b"".join(map(make_frame, interrupted))[1:])
        for at in data.draw(st.lists(st.integers(0, len(left) - 1), max_size=3)):
            left[at : at + 16] = bytes(len(left[at : at + 16]))
        cut = data.draw(st.integers(0, len(left)))
        last.write_bytes(durable + bytes(left[:cut]))

        write_log(log, [[b"next"]], segment_octets)

        told = [entry for commit in acknowledged for entry in commit]
        held = octets_of(log)
        assert held[-1] == b"next"
        assert held[: len(told)] == told
        assert held[len(told) : -1] == interrupted[: len(held) - 1 - len(told)]


def first_damage(log: Path) -> int | None:
    """The index of the first entry that cannot be read, None when all can."""
    try:
        octets_of(log)
    except LogDamaged as damaged:
        return damaged.index
    return None


@given(
    log_commits=st.lists(commits, min_size=2, max_size=5),
    segment_octets=segment_octets,
    data=st.data(),
)
def test_flipped_bit_before_the_last_commit_is_never_believed(
    log_commits: list[list[bytes]], segment_octets: int, data: st.DataObject
) -> None:
    """Whichever bit flips in what a later commit stands behind, the reader names damage or still reads every entry right."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        write_log(log, log_commits[:-1], segment_octets)
        settled = {file: file.stat().st_size for file in segments_of(log)}
        write_log(log, log_commits[-1:], segment_octets)
        file = data.draw(st.sampled_from(sorted(settled)))
        bit = data.draw(st.integers(0, 8 * settled[file] - 1))
        octets = bytearray(file.read_bytes())
        octets[bit // 8] ^= 1 << bit % 8
        file.write_bytes(octets)

        told = [entry for commit in log_commits for entry in commit]
        damaged_at = first_damage(log)
        if damaged_at is None:
            assert octets_of(log) == told
        elif file == segments_of(log)[-1]:
            with pytest.raises(SpoolUnavailable, match=f"damaged at entry {damaged_at}, "):
                SegmentWriter(log, segment_octets, Disk())
