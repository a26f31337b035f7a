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
from appliance.errors import SpoolUnavailable
from appliance.trace import logs as logs_module
from appliance.trace.logs import TraceLogs, close_orphans
from appliance.trace.names import LogName, read_log_name
from appliance.trace.policy import TracePolicy
from appliance.trace.privacy import Pseudonyms
from appliance.trace.refusals import RefusalSettings
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
        logs.open(["6y"])

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
        logs.open(["6y"])
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
