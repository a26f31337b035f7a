"""The logs of one writer: by class and year, opened when needed, closed when their year is over."""

import asyncio
import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import metrics
from appliance.clock import SystemClock
from appliance.errors import SpoolFull, SpoolUnavailable
from appliance.trace import logs as logs_module, shard as shard_module
from appliance.trace.logs import TraceLogs, close_orphans
from appliance.trace.names import LogName, read_log_name
from appliance.trace.policy import TracePolicy
from appliance.trace.privacy import Pseudonyms
from appliance.trace.refusals import RefusalSettings
from appliance.trace.shard import OpenLog
from appliance.trace.system import SystemLog
from appliance.trace.verify import verify_log
from tests.independent_log import read_independently
from tests.logs import SoftwareSigner, make_settings, until, write_shard
from tests.trace_entries import make_entry

SIGNER = SoftwareSigner()
POLICIES = {
    "short": TracePolicy("one-year", "minimal"),
    "named": TracePolicy("6y", "pseudonymous"),
}


class MovableClock(SystemClock):
    """The machine's clock, on another day."""

    def __init__(self, day: datetime) -> None:
        self._shift = day - super().now()

    def move(self, shift: timedelta) -> None:
        """Go to another day."""
        self._shift += shift

    def now(self) -> datetime:
        return super().now() + self._shift


def make_logs(home: Path, clock: MovableClock, signer: SoftwareSigner) -> TraceLogs:
    """The logs of worker 0."""
    return TraceLogs(
        writer="worker-0",
        settings=make_settings(home, signer),
        refusals=RefusalSettings(burst=2, per_second=0.001, summary=0.05),
        signer=signer,
        policy_of=lambda convention, _: POLICIES.get(convention or "", TracePolicy()),
        pseudonyms=Pseudonyms(bytes(32)),
        clock=clock,
    )


def events(home: Path, signer: SoftwareSigner) -> dict[str, list[str]]:
    """The events of each log, read independently."""
    return {
        log.name: [json.loads(e)["event"] for e in read_independently(log, signer.pem).entries]
        for log in sorted((home / "log").iterdir())
    }


def test_each_class_has_a_log_of_its_own(tmp_path: Path) -> None:
    """Entries given together may go to several logs; each position gets its own receipt."""

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), SIGNER)
        entries = [make_entry(convention=name) for name in ("other", "short", "other", "short")]
        receipts = await logs.append_many([logs.prepare(entry) for entry in entries])
        assert [(receipt.log, receipt.index) for receipt in receipts] == [
            ("worker-0.6y.2026", 1),
            ("worker-0.one-year.2026", 1),
            ("worker-0.6y.2026", 2),
            ("worker-0.one-year.2026", 2),
        ]
        assert logs.prepare(entries[1]).subject is None
        assert str(logs.prepare(make_entry(convention="named")).subject).startswith("hmac-sha256:")
        await logs.aclose()
        with pytest.raises(SpoolUnavailable, match="are closed"):
            logs.append(entries[0])

    signer = SIGNER
    asyncio.run(run())
    assert set(events(tmp_path, signer)) == {"worker-0.one-year.2026", "worker-0.6y.2026"}


def test_new_year_begins_a_new_log_and_ends_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first entry of a year opens its log; the old one ends with an entry that says so, under a last checkpoint."""
    monkeypatch.setattr(logs_module, "_LATE_ENTRIES", 0.01)
    signer = SoftwareSigner()

    async def run() -> None:
        clock = MovableClock(datetime(2026, 12, 31, 23, 0, tzinfo=UTC))
        logs = make_logs(tmp_path, clock, signer)
        old = await logs.append(make_entry())
        clock.move(timedelta(hours=2))
        new = await logs.append(make_entry())
        assert (old.log, new.log) == ("worker-0.6y.2026", "worker-0.6y.2027")
        await until(lambda: not (tmp_path / "spool" / old.log).exists())
        await logs.aclose()

    asyncio.run(run())
    assert events(tmp_path, signer) == {
        "worker-0.6y.2026": ["log-opened", "created", "log-closed"],
        "worker-0.6y.2027": ["log-opened", "created"],
    }
    assert verify_log(tmp_path / "log" / "worker-0.6y.2026", [signer.key]).is_closed


class SlowOpening(OpenLog):
    """A log on a disk that takes its time."""

    gate: threading.Event

    def __init__(self, *parts: Any) -> None:
        assert self.gate.wait(10)
        super().__init__(*parts)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """No log is opened before it is set."""
    gate = threading.Event()
    monkeypatch.setattr(SlowOpening, "gate", gate, raising=False)
    monkeypatch.setattr(shard_module, "OpenLog", SlowOpening)
    return gate


def test_year_changes_while_entries_keep_arriving(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the new log takes to open, nothing else waits for it; what was given meanwhile is in it, in order, each once."""
    monkeypatch.setattr(logs_module, "_LATE_ENTRIES", 0.01)
    signer, told = SoftwareSigner(), dict[str, list[int]]()

    async def run() -> None:
        clock = MovableClock(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
        logs = make_logs(tmp_path, clock, signer)
        gate.set()
        await logs.open(["6y"])
        gate.clear()

        async def append_on() -> None:
            while len(told.get("worker-0.6y.2027", ())) < 50:
                receipt = await logs.append(make_entry())
                told.setdefault(receipt.log, []).append(receipt.index)

        arriving = [asyncio.create_task(append_on()) for _ in range(8)]
        await until(lambda: len(told.get("worker-0.6y.2026", ())) > 50)
        clock.move(timedelta(minutes=2))
        waiting = [logs.append(make_entry()) for _ in range(8)]
        for _ in range(
            100
        ):  # the loop turns; had it been kept waiting, the opening would have failed
            await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        gate.set()
        indices = [(await each).index for each in waiting]
        assert indices == sorted(indices)
        told.setdefault("worker-0.6y.2027", []).extend(indices)
        await asyncio.gather(*arriving)
        await until(lambda: not (tmp_path / "spool" / "worker-0.6y.2026").exists())
        await logs.aclose()

    asyncio.run(run())
    for log, kinds in events(tmp_path, signer).items():
        created = [at for at, event in enumerate(kinds) if event == "created"]
        assert sorted(told[log]) == created == [*range(1, len(created) + 1)]
        assert verify_log(tmp_path / "log" / log, [signer.key]).is_closed == log.endswith("2026")


def test_entries_that_wait_for_a_log_are_bounded(tmp_path: Path, gate: threading.Event) -> None:
    """As many as wait for a disk, one by one or together; then they are refused by name."""

    async def run() -> None:
        settings = make_settings(tmp_path, SoftwareSigner())
        most = settings.spool.pending_entries
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), SoftwareSigner())
        many = logs.append_many([make_entry()] * (most - 1))
        one = logs.append(make_entry())
        with pytest.raises(SpoolFull, match=f"{most} may"):
            logs.append(make_entry())
        gate.set()
        assert [receipt.index for receipt in await many] == [*range(1, most)]
        assert (await one).index == most
        await logs.aclose()

    asyncio.run(run())


def test_log_that_cannot_be_opened_refuses_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for it is told why, nothing is said to be ready, and with what stood in its way gone it is opened unasked."""
    monkeypatch.setattr(logs_module, "_STATE_EVERY", 0.01)
    signer = SoftwareSigner()

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), signer)
        logs.watch(lambda: {"6y"})
        assert logs.is_writable
        obstacle = tmp_path / "spool" / "worker-0.6y.2026"
        obstacle.parent.mkdir()
        obstacle.touch()
        refused = [logs.append(make_entry()) for _ in range(2)]
        for each in refused:
            with pytest.raises(SpoolUnavailable, match="File exists"):
                await each
        assert not logs.is_writable
        obstacle.unlink()
        await until(lambda: logs.is_writable)
        assert (await logs.append(make_entry())).index == 1
        await logs.aclose()

    asyncio.run(run())


def test_log_that_no_convention_asks_for_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the convention that brought its class taken back, what could not be opened keeps nothing from being ready."""
    monkeypatch.setattr(logs_module, "_STATE_EVERY", 0.01)

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), SIGNER)
        classes = {"6y", "one-year"}
        logs.watch(lambda: classes)
        obstacle = tmp_path / "spool" / "worker-0.one-year.2026"
        obstacle.parent.mkdir()
        obstacle.touch()
        with pytest.raises(SpoolUnavailable, match="File exists"):
            await logs.append(make_entry(convention="short"))
        assert not logs.is_writable
        classes.discard("one-year")
        await until(lambda: logs.is_writable)
        await logs.aclose()

    asyncio.run(run())


def test_opening_that_fails_in_a_way_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is refused by name, nothing is said to be ready, and the log is tried again like any other."""
    monkeypatch.setattr(logs_module, "_STATE_EVERY", 0.01)

    def fail(*_parts: Any) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), SIGNER)
        logs.watch(lambda: {"6y"})
        with monkeypatch.context() as patched:
            patched.setattr(shard_module, "OpenLog", fail)
            with pytest.raises(SpoolUnavailable, match="can't start new thread"):
                await logs.append(make_entry())
            assert not logs.is_writable
        await until(lambda: logs.is_writable)
        await logs.aclose()

    asyncio.run(run())


def test_logs_are_closed_while_one_is_being_opened(tmp_path: Path, gate: threading.Event) -> None:
    """What waits for it is durable and covered like everything else."""
    signer = SoftwareSigner()

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), signer)
        waiting = logs.append(make_entry())
        closing = asyncio.create_task(logs.aclose())
        await asyncio.sleep(0)
        gate.set()
        assert (await waiting).index == 1
        await closing

    asyncio.run(run())
    assert events(tmp_path, signer) == {"worker-0.6y.2026": ["log-opened", "created"]}


def test_log_that_does_not_open_holds_up_no_end(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summary that waits for it waits no longer than the log may take."""
    monkeypatch.setattr(logs_module, "_OPEN_WITHIN", 0.01)

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), SIGNER)
        assert [logs.admits_refusal("peer") for _ in range(3)] == [True, True, False]
        async with asyncio.timeout(5):
            await logs.aclose()
        gate.set()

    asyncio.run(run())


def test_orphans_are_closed(tmp_path: Path) -> None:
    """Logs whose writer is gone are recovered, covered and closed; those of the living are left alone."""
    signer = SoftwareSigner()
    gone, here = LogName("worker-7", "6y", 2026), LogName("worker-0", "6y", 2026)
    for name in (gone, here):
        write_shard(tmp_path, [[make_entry()]], signer, name)
    settings = make_settings(tmp_path, signer)
    asyncio.run(close_orphans(settings, signer, SystemClock(), lambda name: name == here))
    found = events(tmp_path, signer)
    assert found[str(gone)] == ["log-opened", "created", "log-opened", "log-closed"]
    assert found[str(here)] == ["log-opened", "created"]
    assert [log.name for log in (tmp_path / "spool").iterdir()] == [str(here)]


def test_age_of_a_checkpoint_grows_while_a_lane_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for it and the thread that makes checkpoints waits: the metric rises all the same, and falls with the answer."""
    monkeypatch.setattr(logs_module, "_STATE_EVERY", 0.01)

    class SlowSigner(SoftwareSigner):
        """A lane that keeps its answer until it is let go."""

        answers = threading.Event()

        def sign(self, *asked: Any) -> bytes:
            assert self.answers.wait(10)
            return super().sign(*asked)

    async def run() -> None:
        signer = SlowSigner()
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), signer)
        await logs.open(["6y"])
        logs.watch(lambda: {"6y"})

        def age() -> float:
            [[sample]] = [
                [each for each in family.samples if each.labels["log"] == "worker-0.6y.2026"]
                for family in metrics.CHECKPOINT_AGE.collect()
            ]
            return sample.value

        for _ in range(5):
            before = age()
            await until(lambda before=before: age() > before)
        signer.answers.set()
        await until(lambda: age() == 0.0)
        await logs.aclose()

    asyncio.run(run())


def test_excess_refusals_become_one_entry(tmp_path: Path) -> None:
    """What is beyond a peer's share is stated once, by a timer or at the end, and never lost."""
    signer = SoftwareSigner()

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), signer)
        await logs.open(["6y"])
        assert [logs.admits_refusal("peer") for _ in range(5)] == [True, True, False, False, False]
        await asyncio.sleep(0.2)
        assert not logs.admits_refusal("peer")
        await logs.aclose()

    asyncio.run(run())
    log = read_independently(tmp_path / "log" / "worker-0.6y.2026", signer.pem)
    counts = [json.loads(entry).get("count") for entry in log.entries]
    assert counts == [None, 3, 1]


def test_system_states_each_log_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that appears is stated, and not again at the next look; a directory that cannot be listed is said once and tried again."""
    signer, there = SoftwareSigner(), tmp_path / "there"

    async def run() -> None:
        logs = make_logs(tmp_path, MovableClock(datetime(2026, 5, 1, tzinfo=UTC)), signer)
        system = SystemLog(logs, SystemClock())
        for name in ("worker-0.6y.2026", "worker-1.6y.2026"):
            (there / name).mkdir(parents=True)
            for _ in range(2):
                system.record_logs(there)
        with caplog.at_level(logging.ERROR, logger="appliance.trace"):
            for _ in range(2):
                system.record_logs(tmp_path / ("x" * 300))  # a name that no file system takes
        await logs.aclose()

    asyncio.run(run())
    log = read_independently(tmp_path / "log" / "worker-0.6y.2026", signer.pem)
    stated = [json.loads(entry).get("log") for entry in log.entries]
    assert stated == [None, "worker-0.6y.2026", "worker-1.6y.2026"]
    assert sum(record.message == "logs-not-listed" for record in caplog.records) == 1


def test_names_are_read_as_they_are_written() -> None:
    """A name and its parts are one to one; nothing else is a name."""
    name = LogName("worker-12", "one-year", 2026)
    assert read_log_name(str(name)) == name
    for text in (
        "",
        "worker-0",
        "worker-.6y.2026",
        "other.6y.2026",
        "worker-0.A.2026",
        "cli.x.26",
    ):
        assert read_log_name(text) is None
