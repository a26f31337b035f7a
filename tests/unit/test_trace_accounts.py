"""Counts against vectors, read from logs written entry by entry: which periods are compared, and what a surplus is."""

from pathlib import Path

import pytest

from appliance.trace.accounts import KeyAccount, Loss, Period, StepBack, read_accounts
from appliance.trace.record import TraceEntry, write_entry
from appliance.trace.view import LogPlace
from tests.trace_entries import make_entry, write_log


def at(minute: int) -> str:
    """An instant of the test's hour."""
    return f"2026-03-01T10:{minute:02}:00.000Z"


def started(minute: int) -> TraceEntry:
    """The service begins."""
    return TraceEntry(event="service-started", time=at(minute))


def stopped(minute: int) -> TraceEntry:
    """The service has ended in order."""
    return TraceEntry(event="service-stopped", time=at(minute))


def count(minute: int, signatures: int, where: str = "a", proofs: int = 2) -> TraceEntry:
    """A statement of what `k` has signed in a token, proofs not included."""
    return TraceEntry(
        event="key-usage",
        time=at(minute),
        key="k",
        component=f"token {where}",
        signatures=signatures + proofs,
        proofs=proofs,
    )


def created(minute: int, number: int) -> list[TraceEntry]:
    """So many vectors made with `k`."""
    return [make_entry(time=at(minute), key="k")] * number


@pytest.fixture
def account(tmp_path: Path):
    """Write logs by name and read the account of `k`."""

    def read(**logs: list[TraceEntry]) -> KeyAccount:
        for writer, entries in logs.items():
            log = tmp_path / "spool" / f"{writer.replace('_', '-')}.6y.2026"
            write_log(log, [[write_entry(entry)] for entry in entries])
        [found] = read_accounts(LogPlace(tmp_path / "log", tmp_path / "spool"))
        return found

    return read


def test_vectors_of_all_workers_account_for_the_signatures_of_all_tokens(account) -> None:
    """A key may live in several tokens and sign for several workers; command line and proofs are not counted."""
    found = account(
        system=[
            started(0),
            *(count(0, 0), count(0, 0, "b")),
            *(count(9, 2, proofs=5), count(9, 3, "b")),
        ],
        worker_0=created(1, 1),
        worker_1=created(2, 4),
        cli=created(3, 7),
    )
    assert (found.signatures, found.created, found.unaccounted) == (5, 5, 0)
    assert (found.since, found.until) == (at(0), at(9))


def test_surplus_is_of_its_period(account) -> None:
    """A run is one period and the pause before the next another: vectors of one do not make up for another."""
    found = account(
        system=[
            *(started(0), count(0, 0), count(3, 4), count(5, 9)),
            *(started(10), count(10, 12), count(15, 13)),
        ],
        worker_0=[*created(2, 2), *created(12, 9)],
    )
    assert found.periods == (Period(at(0), at(5), 7), Period(at(5), at(10), 3))
    assert found.unaccounted == 10
    assert found.losses == (Loss(at(10), at(15), 8),)


def test_lost_counts_hide_no_signature_of_another_period(account) -> None:
    """A lane's counts are lost in one period and somebody signs in a later one of the same run: both are named, to the number."""
    found = account(
        system=[
            *(started(0), count(0, 0), count(2, 30), count(4, 33), count(6, 60), stopped(6)),
            *(started(10), count(10, 60), count(12, 62)),
        ],
        worker_0=[*created(1, 57), *created(3, 10), *created(11, 2)],
    )
    assert found.losses == (Loss(at(0), at(4), 34),)
    assert found.periods == (Period(at(4), at(6), 27),)


def test_vectors_on_their_way_are_carried_and_not_lost(account) -> None:
    """What is created seconds before a statement may be counted by the next one: neither a loss nor, then, a surplus."""
    found = account(
        system=[started(0), count(0, 0), count(2, 3), count(4, 8)],
        worker_0=[*created(1, 2), *[make_entry(time="2026-03-01T10:01:55.000Z", key="k")] * 6],
    )
    assert (found.losses, found.periods) == ((), ())


def test_nothing_is_on_its_way_where_a_run_has_ended(account) -> None:
    """At the last statement before a stop the lanes have counted all: what is missing then was lost."""
    late = [make_entry(time="2026-03-01T10:00:59.000Z", key="k")] * 6
    system = [started(0), count(0, 0), count(1, 5), stopped(1), started(2), count(2, 6)]
    found = account(system=system, worker_0=late)
    assert found.losses == (Loss(at(0), at(1), 1),)
    assert found.periods == (Period(at(1), at(2), 1),)


def test_run_that_goes_on_is_compared_up_to_its_last_statement(account) -> None:
    """Vectors made since then wait for the next one, and count for nothing."""
    found = account(
        system=[started(0), count(0, 0), count(5, 3)],
        worker_0=[*created(1, 3), *created(6, 50)],
    )
    assert (found.signatures, found.created, found.unaccounted) == (3, 3, 0)


def test_key_that_came_while_serving_counts_from_nothing(account) -> None:
    """A token whose lanes opened late has its key stated for the first time with signatures made already."""
    found = account(
        system=[started(0), count(0, 0), count(5, 1), count(5, 4, "b")],
        worker_0=created(1, 2),
    )
    assert (found.signatures, found.unaccounted) == (5, 3)


def test_count_that_steps_back_is_named_and_hides_nothing_later(account) -> None:
    """What was signed across the step is not known; what comes after it is counted from there."""
    found = account(
        system=[
            *(started(0), count(0, 0), count(5, 9)),
            *(started(10), count(10, 0), count(15, 2)),
        ],
        worker_0=created(1, 9),
    )
    assert found.steps_back == (StepBack("token a", at(10), 9, 0),)
    assert found.periods == (Period(at(10), at(15), 2),)


def test_home_that_never_served_has_no_account(tmp_path: Path) -> None:
    """Without a statement there is nothing to compare."""
    write_log(tmp_path / "spool" / "cli.6y.2026", [[write_entry(created(1, 1)[0])]])
    assert read_accounts(LogPlace(tmp_path / "log", tmp_path / "spool")) == ()
