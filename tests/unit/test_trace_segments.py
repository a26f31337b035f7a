"""The segments of a log: names, rolling, the lock, and what opening makes of what it finds."""

from pathlib import Path

import pytest

from appliance.errors import Reason, SpoolUnavailable
from appliance.trace.disk import Disk
from appliance.trace.segments import SegmentWriter
from tests.fault_disk import FaultDisk
from tests.trace_entries import make_frame, octets_of, segments_of, write_log

ROOMY = 1024**2


def test_frame_is_as_documented() -> None:
    """Mark, length, leaf hash, entry: every octet of a frame is where the layout says."""
    frame = make_frame(b"{}")
    assert frame[:4] == b"\x00\x00\x00\x02"
    assert frame[4:36].hex() == "28a3a18f6cd6406b086e9ffda1f9b8a13dbcf44b0f3f32cb9031a11fd053acf9"
    assert frame[36:] == b"{}"


def test_log_is_private_to_its_owner(tmp_path: Path) -> None:
    """Entries name persons: nobody but the owner can read a log or list it."""
    log = tmp_path / "spool" / "worker-0"
    write_log(log, [[b"a"]])
    assert log.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in log.iterdir()} == {0o600}


def test_segments_roll_and_are_named_by_their_first_index(tmp_path: Path) -> None:
    """A commit that finds its segment full begins the next one, named by the index of its first entry."""
    write_log(tmp_path / "log", [[b"one", b"two"], [b"three"], [b"four"]], segment_octets=100)
    names = [file.stem for file in segments_of(tmp_path / "log")]
    assert [int(name) for name in names] == [0, 3]
    assert {len(name) for name in names} == {20}
    assert octets_of(tmp_path / "log") == [b"one", b"two", b"three", b"four"]


def test_reopened_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """The next writer gives the next index, in the same segment."""
    write_log(tmp_path / "log", [[b"one"]])
    writer = SegmentWriter(tmp_path / "log", ROOMY, Disk())
    assert writer.recovery.torn_octets == 0
    assert writer.commit([make_frame(b"two")]) == 1
    writer.close()
    assert octets_of(tmp_path / "log") == [b"one", b"two"]
    assert len(segments_of(tmp_path / "log")) == 1


def test_repair_after_the_failed_segment_was_dropped(tmp_path: Path) -> None:
    """The next segment was begun before the disk failed: the full one may be covered and gone by the time the writer goes on."""
    disk = FaultDisk()
    writer = SegmentWriter(tmp_path / "log", 50, disk)
    assert writer.commit([make_frame(b"one")]) == 0
    disk.plan("fsync_directory", disk.met["fsync_directory"] + 1, "EIO")
    with pytest.raises(OSError, match="Input/output"):
        writer.commit([make_frame(b"refused")])
    writer.drop_before(1)
    assert [int(file.stem) for file in segments_of(tmp_path / "log")] == [1]
    writer.repair()
    assert writer.commit([make_frame(b"two")]) == 1
    writer.close()
    again = SegmentWriter(tmp_path / "log", 50, Disk())
    assert again.next_index == 2
    again.close()


def test_log_has_one_writer(tmp_path: Path) -> None:
    """A second writer is refused by name while the first lives, and welcome after."""
    writer = SegmentWriter(tmp_path / "log", ROOMY, Disk())
    with pytest.raises(SpoolUnavailable, match="another process") as refused:
        SegmentWriter(tmp_path / "log", ROOMY, Disk())
    assert refused.value.reason is Reason.SPOOL_UNAVAILABLE
    writer.close()
    SegmentWriter(tmp_path / "log", ROOMY, Disk()).close()


@pytest.mark.parametrize("kept", [1, 35, 36, 37])
def test_torn_tail_is_cut(tmp_path: Path, kept: int) -> None:
    """Of a frame that was not written whole nothing remains, and the next entry takes its place."""
    log = tmp_path / "log"
    write_log(log, [[b"one"]])
    with segments_of(log)[0].open("ab") as segment:
        segment.write(make_frame(b"torn")[:kept])
    assert octets_of(log) == [b"one"]
    writer = SegmentWriter(log, ROOMY, Disk())
    assert (writer.recovery.entries, writer.recovery.torn_octets) == (1, kept)
    assert writer.commit([make_frame(b"two")]) == 1
    writer.close()
    assert octets_of(log) == [b"one", b"two"]


@pytest.mark.parametrize("octets", [b"", b"VISPOOL", bytes(16), bytes(5000)])
def test_segment_that_was_never_finished_is_made_again(tmp_path: Path, octets: bytes) -> None:
    """A segment whose making was interrupted holds nothing durable and does not stop the log."""
    log = tmp_path / "log"
    write_log(log, [[b"one"], [b"two"]])
    unfinished = log / f"{2:020}.segment"
    unfinished.write_bytes(octets)
    assert octets_of(log) == [b"one", b"two"]
    write_log(log, [[b"three"]])
    assert octets_of(log) == [b"one", b"two", b"three"]


def test_damage_is_not_taken_for_a_torn_tail(tmp_path: Path) -> None:
    """A broken entry with a later commit behind it stops the log by name, and nothing is cut."""
    log = tmp_path / "log"
    write_log(log, [[b"one"], [b"two"], [b"three"]])
    segment = segments_of(log)[0]
    before = segment.read_bytes().replace(b"two", b"twO")
    segment.write_bytes(before)
    with pytest.raises(SpoolUnavailable, match=r"log log is damaged at entry 1, octet 55 of 0{20}"):
        SegmentWriter(log, ROOMY, Disk())
    assert segment.read_bytes() == before


def test_foreign_file_in_place_of_a_segment_stops_the_log(tmp_path: Path) -> None:
    """A file that is no segment is not overwritten."""
    log = tmp_path / "log"
    log.mkdir()
    (log / f"{0:020}.segment").write_bytes(b"something else altogether")
    with pytest.raises(SpoolUnavailable, match="damaged at entry 0, octet 0"):
        SegmentWriter(log, ROOMY, Disk())


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_refused_log_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    """A writer that could not open has closed what it opened, the lock too."""
    log = tmp_path / "log"
    log.mkdir()
    (log / f"{0:020}.segment").write_bytes(b"something else altogether")
    before = open_descriptors()
    with pytest.raises(SpoolUnavailable):
        SegmentWriter(log, ROOMY, Disk())
    assert open_descriptors() == before
