"""Refusals are bounded for each peer, and none is forgotten."""

from datetime import UTC, datetime, timedelta

from appliance.trace.refusals import RefusalLimiter, RefusalSettings

SETTINGS = RefusalSettings(burst=3, per_second=1.0, summary=10.0)


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def test_excess_is_counted_and_stated_once() -> None:
    """A burst gets entries of its own, then one a second; the rest becomes one entry with count and beginning."""
    clock = SteppedClock()
    limiter = RefusalLimiter(SETTINGS, clock)
    assert [limiter.admits("peer") for _ in range(5)] == [True, True, True, False, False]
    clock.seconds = 1.0
    assert [limiter.admits("peer") for _ in range(2)] == [True, False]
    (summary,) = limiter.summaries()
    assert (summary.event, summary.peer, summary.count) == ("refusals-summarised", "peer", 3)
    assert summary.since == "2026-03-01T00:00:00.000Z"
    assert limiter.summaries() == []


def test_peers_do_not_spend_each_others_entries() -> None:
    """One peer's excess costs the others nothing."""
    limiter = RefusalLimiter(SETTINGS, SteppedClock())
    assert [limiter.admits("loud") for _ in range(9)].count(True) == 3
    assert limiter.admits("quiet")
    assert [entry.peer for entry in limiter.summaries()] == ["loud"]


def test_memory_of_peers_is_bounded() -> None:
    """A peer that gives way to thousands of others has its count stated all the same."""
    limiter = RefusalLimiter(SETTINGS, SteppedClock())
    for _ in range(5):
        limiter.admits("first")
    for number in range(5000):
        limiter.admits(f"peer-{number}")
    assert [(entry.peer, entry.count) for entry in limiter.summaries()] == [("first", 2)]
