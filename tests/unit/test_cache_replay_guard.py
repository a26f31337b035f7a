"""The replay guard: once each, across processes, restarts and clocks."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from appliance.cache.replay_guard import Received, ReplayGuard, prepare_guard
from appliance.errors import ConfigurationError, ReplayGuardFull
from tests.pki import NOW

HOUR = timedelta(hours=1)


def received(
    name: str, ends: datetime = NOW + HOUR, tolerated: timedelta = timedelta(0)
) -> Received:
    """A vector."""
    return Received("urn:issuer", name, ends, tolerated)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of one bucket."""
    prepare_guard(tmp_path / "guard", 64, NOW)
    return tmp_path / "guard"


@pytest.fixture
def guard(file: Path) -> Iterator[ReplayGuard]:
    """One process's view of it."""
    opened = ReplayGuard(file)
    yield opened
    opened.close()


def test_each_vector_once(guard: ReplayGuard) -> None:
    """The first time is fresh, the second is not; another ID or another issuer is another vector."""
    assert guard.record(received("a"), NOW)
    assert not guard.record(received("a"), NOW)
    assert guard.record(received("b"), NOW)
    assert guard.record(Received("urn:other", "a", NOW + HOUR), NOW)
    assert guard.record(Received("urn:issuera", "", NOW + HOUR), NOW)


def test_what_is_taken_back_is_free_again(file: Path, guard: ReplayGuard) -> None:
    """A vector that was recorded and taken back is fresh once more, to every process, and no other is touched."""
    names = [f"v{at}" for at in range(100)]
    assert all(guard.record(received(name), NOW) for name in names)
    guard.forget(received("v50"))
    guard.forget(received("never seen"))
    other = ReplayGuard(file)
    assert [name for name in names if other.record(received(name), NOW)] == ["v50"]
    assert not guard.record(received("v50"), NOW)
    other.close()


def test_restart_forgets_nothing(file: Path) -> None:
    """Another process, or the same after its end, finds what was recorded."""
    first = ReplayGuard(file)
    assert first.record(received("a"), NOW)
    first.close()
    second, third = ReplayGuard(file), ReplayGuard(file)
    assert not second.record(received("a"), NOW)
    assert second.record(received("b"), NOW)
    assert not third.record(received("b"), NOW)
    second.close()
    third.close()


def test_full_refuses_by_name(guard: ReplayGuard) -> None:
    """A bucket without room takes nobody for fresh and drops nobody; what runs out makes room."""
    for at in range(127):
        assert guard.record(received(str(at), NOW + HOUR + timedelta(seconds=at)), NOW)
    with pytest.raises(ReplayGuardFull, match=r"replay\.capacity"):
        guard.record(received("one more"), NOW)
    assert not guard.record(received("0"), NOW)
    later = NOW + HOUR
    assert guard.record(received("one more", later + HOUR), later)


def test_clock_set_back_opens_no_gap(guard: ReplayGuard) -> None:
    """What was dropped because it had run out is not fresh when the clock goes back to before its end."""
    for at in range(127):
        assert guard.record(received(f"old {at}"), NOW)
    ahead = NOW + 2 * HOUR
    for at in range(127):
        assert guard.record(received(f"new {at}", ahead + HOUR), ahead)
    assert not guard.record(received("old 0"), NOW)
    assert not guard.record(received("never seen", NOW + HOUR), NOW)
    with pytest.raises(ReplayGuardFull):
        guard.record(received("later", ahead + HOUR), NOW)


@pytest.mark.parametrize("others", [0, 127, 300])
def test_more_tolerance_opens_no_gap(guard: ReplayGuard, others: int) -> None:
    """A vector that was accepted is not fresh for a convention, or after a reload, that tolerates more beyond its end; nor where others took its place."""
    assert guard.record(received("a"), NOW)
    later = NOW + HOUR
    for at in range(others):
        assert guard.record(received(str(at), later + timedelta(seconds=at + 1)), later + HOUR)
    for tolerated in (timedelta(minutes=5), timedelta(days=1)):
        again = received("a", tolerated=tolerated)
        with contextlib.suppress(ReplayGuardFull):
            assert not guard.record(again, later + timedelta(minutes=1))


def test_late_vectors_are_fresh_while_tolerated(guard: ReplayGuard) -> None:
    """What some convention still takes keeps its place: a vector that comes late for the first time is fresh, or there is no room."""
    tolerated = timedelta(minutes=5)
    for at in range(127):
        assert guard.record(received(str(at), tolerated=tolerated), NOW)
    late = received("late", NOW + HOUR - timedelta(seconds=1), tolerated)
    with pytest.raises(ReplayGuardFull):
        guard.record(late, NOW + HOUR + timedelta(minutes=4))
    over = NOW + HOUR + tolerated
    assert guard.record(received("new", over + HOUR, tolerated), over)


def test_id_may_come_again_after_its_end(guard: ReplayGuard) -> None:
    """An ID is remembered until nobody takes the vector that had it, not longer; the first vector is never fresh again."""
    assert guard.record(received("a"), NOW)
    later = NOW + HOUR
    tolerated = timedelta(minutes=5)
    assert not guard.record(received("a", later + HOUR, tolerated), later)
    assert guard.record(received("a", later + HOUR), later)
    assert not guard.record(received("a", later + HOUR), later)
    assert not guard.record(received("a", tolerated=tolerated), later)


def test_another_capacity_takes_over(file: Path) -> None:
    """A table that grows or shrinks keeps what counts; one too small is refused, and the old one stays."""
    guard = ReplayGuard(file)
    names = [str(at) for at in range(100)]
    assert all(guard.record(received(name), NOW) for name in names)
    guard.close()
    prepare_guard(file, 1000, NOW)
    larger = ReplayGuard(file)
    assert repr(larger) == "ReplayGuard(16 buckets)"
    assert not any(larger.record(received(name), NOW) for name in names)
    more = [f"more {at}" for at in range(100)]
    assert all(larger.record(received(name), NOW) for name in more)
    larger.close()
    with pytest.raises(ConfigurationError, match="room for the vectors"):
        prepare_guard(file, 64, NOW)
    assert ReplayGuard(file).record(received("x"), NOW)
    prepare_guard(file, 64, NOW + 2 * HOUR)
    assert repr(ReplayGuard(file)) == "ReplayGuard(1 buckets)"


def test_same_capacity_is_left_alone(file: Path) -> None:
    """Starting again changes nothing."""
    before = file.stat().st_ino
    prepare_guard(file, 64, NOW)
    assert file.stat().st_ino == before


@pytest.mark.parametrize("octets", [b"", b"x" * 100, b"replay-guard-1\n\0" + b"\x01" + b"\0" * 50])
def test_what_is_no_guard(tmp_path: Path, octets: bytes) -> None:
    """A file that is something else is refused by name and not written to."""
    file = tmp_path / "guard"
    file.write_bytes(octets)
    with pytest.raises((ConfigurationError, ValueError)):
        prepare_guard(file, 64, NOW)
    assert file.read_bytes() == octets
    with pytest.raises(ConfigurationError, match="which `appliance serve` makes"):
        ReplayGuard(tmp_path / "absent")


def _present(
    file: str, barrier: Barrier, names: list[str], queue: "multiprocessing.Queue[list[bool]]"
) -> None:
    guard = ReplayGuard(Path(file))
    fresh = []
    for name in names:
        barrier.wait(20)
        fresh.append(guard.record(received(name), NOW))
    queue.put(fresh)


def test_every_worker_at_the_same_instant(tmp_path: Path) -> None:
    """Of four processes that present the same vector at the same instant, one finds it fresh, each of two hundred times."""
    file, workers, names = tmp_path / "guard", 4, [str(at) for at in range(200)]
    prepare_guard(file, 1000, NOW)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=_present, args=(str(file), barrier, names, queue))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(20)
    assert [sum(each) for each in zip(*found, strict=True)] == [1] * len(names)


def test_guard_on_an_impossible_place(tmp_path: Path) -> None:
    """A place that cannot be written is named."""
    with pytest.raises(ConfigurationError, match="a place for"):
        prepare_guard(tmp_path / "absent" / "guard", 64, NOW)


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.integers(-30, 60), st.sampled_from([0, 1, 5, 1440])),
        max_size=300,
    )
)
def test_no_vector_is_fresh_twice(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, int, int]]
) -> None:
    """Whatever comes in whatever order, under a clock and a tolerance that jump to and fro, no vector is ever found fresh twice."""
    file = tmp_path_factory.mktemp("guard") / "guard"
    prepare_guard(file, 1, NOW)
    guard = ReplayGuard(file)
    fresh: set[int] = set()
    for at in range(127):  # a full bucket of vectors that run out one after the other
        guard.record(received(f"other {at}", NOW + timedelta(minutes=at % 30 - 20)), NOW - HOUR)
    for name, clock, tolerance in moves:
        now, until = NOW + timedelta(minutes=clock), NOW + timedelta(minutes=name)
        tolerated = timedelta(minutes=tolerance)
        if now - until >= tolerated:
            continue  # the rules refuse it before the guard is asked
        try:
            if guard.record(received(str(name), until, tolerated), now):
                assert name not in fresh
                fresh.add(name)
        except ReplayGuardFull:
            assert now - tolerated < NOW + timedelta(minutes=10)
    guard.close()
