"""The reader: what it hands out, where it starts, how it follows a writer, and what it calls damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import Reason
from appliance.trace.disk import Disk
from appliance.trace.reader import LogDamaged, LogReader, log_names, read_log, read_tree_head
from appliance.trace.segments import SegmentWriter
from appliance.trace.tree import EMPTY_ROOT, leaf_hash, root_hash
from tests.trace_entries import make_frame, octets_of, segments_of, write_log

THREE_SEGMENTS = [[b"0"], [b"1"], [b"2"], [b"3"], [b"4"], [b"5"]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of six entries in three segments of two."""
    write_log(tmp_path / "log", THREE_SEGMENTS, segment_octets=80)
    assert len(segments_of(tmp_path / "log")) == 3
    return tmp_path / "log"


@pytest.mark.parametrize("start", range(8))
def test_reading_starts_where_it_is_told(log: Path, start: int) -> None:
    """Entries before the start are left out, in whatever segment it lies."""
    assert [stored.index for stored in read_log(log, start)] == list(range(start, 6))


@pytest.mark.parametrize("count", range(8))
def test_tail_is_the_last_entries(log: Path, count: int) -> None:
    """The tail reaches back over segments and is never longer than the log."""
    tail = [stored.octets for stored in LogReader.at_tail(log, count).read()]
    assert tail == [b"0", b"1", b"2", b"3", b"4", b"5"][max(0, 6 - count) :]


def test_tree_head_is_the_root_over_all_entries(log: Path) -> None:
    """Size and root are those of the Merkle tree over the entries."""
    head = read_tree_head(log)
    assert head.size == 6
    assert head.root == root_hash(leaf_hash(b"%d" % number) for number in range(6))


def test_empty_spool_has_no_logs_and_an_empty_log_no_entries(tmp_path: Path) -> None:
    """Nothing yet is not an error."""
    assert log_names(tmp_path / "absent") == ()
    write_log(tmp_path / "b", [])
    write_log(tmp_path / "a", [])
    assert log_names(tmp_path) == ("a", "b")
    assert read_tree_head(tmp_path / "a").root == EMPTY_ROOT
    assert list(read_log(tmp_path / "absent")) == []


def test_reader_follows_a_live_writer(tmp_path: Path) -> None:
    """Each reading yields what came since the last, over a rolled segment too."""
    writer = SegmentWriter(tmp_path / "log", 80, Disk())
    reader = LogReader(tmp_path / "log")
    seen = []
    for number in range(7):
        writer.commit([make_frame(b"%d" % number)])
        seen.append([stored.octets for stored in reader.read()])
    assert seen == [[b"%d" % number] for number in range(7)]
    assert list(reader.read()) == []
    writer.close()


def test_entry_still_being_written_is_not_there_yet(tmp_path: Path) -> None:
    """At whatever octet the writer is, the reader sees whole entries only, and the next one once it is whole."""
    log = tmp_path / "log"
    write_log(log, [[b"one"]])
    frame = make_frame(b"two")
    reader = LogReader(log)
    assert [stored.octets for stored in reader.read()] == [b"one"]
    for octet in frame[:-1]:
        with segments_of(log)[0].open("ab") as segment:
            segment.write(bytes([octet]))
        assert list(reader.read()) == []
    with segments_of(log)[0].open("ab") as segment:
        segment.write(frame[-1:])
    assert [stored.octets for stored in reader.read()] == [b"two"]


def test_follower_goes_back_with_a_withdrawn_commit(tmp_path: Path) -> None:
    """What was seen of a commit that failed is forgotten, and its successor is read under the same index."""
    log = tmp_path / "log"
    write_log(log, [[b"one"]])
    segment = segments_of(log)[0]
    durable = segment.read_bytes()
    segment.write_bytes(durable + make_frame(b"withdrawn"))
    reader = LogReader(log)
    assert [stored.octets for stored in reader.read()] == [b"one", b"withdrawn"]
    segment.write_bytes(durable)
    assert list(reader.read()) == []
    write_log(log, [[b"two"]])
    assert [(stored.index, stored.octets) for stored in reader.read()] == [(1, b"two")]


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes | None]]] = {
    "middle segment gone": lambda s: [s[0], None, s[2]],
    "middle segment short": lambda s: [s[0], s[1][:-1], s[2]],
    "middle segment long": lambda s: [s[0], s[1] + make_frame(b"inserted"), s[2]],
    "octets behind the middle segment": lambda s: [s[0], s[1] + b"\0", s[2]],
    "middle segment of another place": lambda s: [s[0], s[2], s[2]],
    "head of the last": lambda s: [s[0], s[1], b"X" + s[2][1:]],
    "entry before the last commit": lambda s: [s[0], s[1], s[2][:52] + b"x" + s[2][53:]],
}
"""What a disk or a hand may do to the octets of three segments; None is a segment that is gone."""


def damage(log: Path, kind: str) -> None:
    """Harm a log of three segments."""
    files = segments_of(log)
    for file, octets in zip(files, DAMAGE[kind]([f.read_bytes() for f in files]), strict=True):
        if octets is None:
            file.unlink()
        else:
            file.write_bytes(octets)


@pytest.mark.parametrize(
    ("kind", "index", "sentence"),
    [
        ("middle segment gone", 2, "the next segment begins at entry 4"),
        ("middle segment short", 3, r"octet 53 of 0{19}2\.segment"),
        ("middle segment long", 5, "the next segment begins at entry 4"),
        ("octets behind the middle segment", 4, "the next segment begins at entry 4"),
        ("middle segment of another place", 2, "head of the segment is wrong"),
        ("head of the last", 4, "head of the segment is wrong"),
        ("entry before the last commit", 4, "yet later ones do"),
    ],
)
def test_damage_is_reported_by_name(log: Path, kind: str, index: int, sentence: str) -> None:
    """The error says which log, which entry, and where in which file."""
    damage(log, kind)
    with pytest.raises(LogDamaged, match=sentence) as damaged:
        octets_of(log)
    assert (damaged.value.log, damaged.value.index) == ("log", index)
    assert damaged.value.reason is Reason.LOG_DAMAGED


def test_segment_that_vanishes_under_a_follower_is_damage(log: Path) -> None:
    """A follower does not go on as if nothing had been there."""
    reader = LogReader(log)
    assert len(list(reader.read())) == 6
    segments_of(log)[-1].unlink()
    with pytest.raises(LogDamaged, match="its segment is gone"):
        list(reader.read())


def test_octets_that_are_no_entry_are_damage(log: Path) -> None:
    """A whole frame around something that is not an entry is reported when it is decoded."""
    stored = next(read_log(log))
    with pytest.raises(LogDamaged, match="no entry of a known version"):
        _ = stored.entry
