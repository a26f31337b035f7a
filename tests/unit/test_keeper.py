"""Lanes that are opened again: how often a token is probed, in which process, and by how many."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import cast, get_args

import pytest

from appliance import keeper, metrics
from appliance.errors import Reason, ServiceUnreachable
from appliance.keeper import Kept, KeptLanes
from appliance.usage import UsageLedger
from hsm.counters import LaneCounts
from hsm.errors import Finding, HsmError, Kind, Target
from hsm.process import LaneProcess, SpawnedLane
from tests.fake_lane import SpareProcess

ATTEMPTS = 40
KINDS = get_args(Kind)


class OpenLane:
    """A lane that can sign, until it is told that it has ended."""

    counted = LaneCounts({}, {})

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        """Return its status once it has ended."""
        await self.ended.wait()
        return -9


class Token:
    """A token that fails in one way, and what is done about it.

    Attributes:
        failure: how it fails; None opens lanes.
        pauses: how long was waited between attempts, while no lane was up and while one was.
        used: the process of each attempt.
        spares: every process that was started to wait.
        order: attempts, and pauses while no lane was up, as they came.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, lanes: int = 1) -> None:
        self.failure: Kind | None = None
        self.pauses: dict[bool, list[float]] = {True: [], False: []}
        self.used: list[SpareProcess | None] = []
        self.spares: list[SpareProcess] = []
        self.order: list[str] = []
        self.enough = asyncio.Event()
        self.opened: list[OpenLane] = []
        self.lanes = KeptLanes(
            "t", lanes, self._open, lambda *_: None, UsageLedger(directory / "usage"), self._sleep
        )
        monkeypatch.setattr(keeper, "spawn_lane", self._spawn)

    async def _open(self, _index: int, spawned: SpawnedLane | None) -> LaneProcess:
        self.used.append(cast("SpareProcess | None", spawned))
        self.order.append("attempt")
        if self.failure is not None:
            finding = Finding("CODE", self.failure, "cause", "next step")
            raise HsmError(Target("m", "t"), finding)
        self.opened.append(OpenLane(1000 + len(self.opened)))
        return cast("LaneProcess", self.opened[-1])

    async def _spawn(self) -> SpawnedLane:
        self.spares.append(SpareProcess())
        return cast("SpawnedLane", self.spares[-1])

    async def _sleep(self, seconds: float) -> None:
        pauses = self.pauses[not self.lanes.lanes_up]
        pauses.append(seconds)
        self.order.append("pause")
        if len(pauses) == ATTEMPTS:
            self.enough.set()
        await asyncio.sleep(0)

    async def fail(self, kind: Kind, end: Callable[[], None]) -> None:
        """Fail for so many attempts after what ends a lane."""
        keeping = asyncio.create_task(self.lanes.keep())
        self.failure = kind
        end()
        async with asyncio.timeout(20):
            await self.enough.wait()
        keeping.cancel()
        await asyncio.wait([keeping])


@pytest.mark.parametrize("kind", KINDS)
def test_lost_token_is_probed_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Whatever keeps a token from opening, a person included: from soon to a second apart, each attempt in a process that waits for it."""

    async def run() -> None:
        token = Token(tmp_path, monkeypatch)
        await token.lanes.start()
        await token.fail(kind, token.opened[0].ended.set)
        pauses = token.pauses[True]
        assert token.pauses[False] == []
        assert pauses[0] <= 0.1
        assert all(pauses)
        assert max(pauses) <= 1.0
        assert max(pauses[-10:]) > 0.5
        assert token.used[:1] == [None]
        assert token.used[1:] == token.spares[: len(token.used) - 1]
        assert token.spares[-1].returncode == -9  # nobody waits for ever when the service ends

    asyncio.run(run())


def test_lost_lanes_probe_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several lanes lost at once: one attempt at a time, and between two attempts, whichever lanes they are for, a pause."""

    async def run() -> None:
        token = Token(tmp_path, monkeypatch, lanes=3)
        await token.lanes.start()
        for lane in token.opened[1:]:
            lane.ended.set()
        await token.fail("device", token.opened[0].ended.set)
        assert set(pairwise(token.order[-20:])) == {("attempt", "pause"), ("pause", "attempt")}

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "longest"), [("device", 1.0), ("human", 5.0), ("capacity", 10.0)])
def test_token_that_has_a_lane_is_asked_for_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind, longest: float
) -> None:
    """With one lane up another may wait for longer: nobody is refused meanwhile."""

    async def run() -> None:
        token = Token(tmp_path, monkeypatch, lanes=2)
        await token.lanes.start()
        await token.fail(kind, token.opened[1].ended.set)
        assert token.pauses[True] == []
        assert longest / 2 < max(token.pauses[False]) <= longest

    asyncio.run(run())


def test_lane_opens_in_the_process_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that has ended is replaced by the process that has its program loaded, and the next one begins to; one that has died is not used."""

    async def run() -> None:
        token = Token(tmp_path, monkeypatch)
        await token.lanes.start()
        keeping = asyncio.create_task(token.lanes.keep())
        for count in (1, 2, 3):
            while len(token.spares) < count:  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0)
            if count == 3:
                token.spares[-1].kill()
            token.opened[-1].ended.set()
        while len(token.opened) < 4:  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0)
        assert token.used == [None, token.spares[0], token.spares[1], None]
        keeping.cancel()
        await asyncio.wait([keeping])
        assert token.spares[-1].returncode == -9

    asyncio.run(run())


def test_worker_comes_when_the_machine_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper goes on when no process can be started, as when one does not get ready."""
    failures: list[Exception] = [
        BlockingIOError(11, "no process"),
        OSError(12, "no memory"),
        ServiceUnreachable(Reason.SERVICE_UNREACHABLE, "not ready"),
    ]
    monkeypatch.setattr(keeper, "_FIRST_BACKOFF", 0.0)

    async def start() -> LaneProcess:
        if failures:
            raise failures.pop(0)
        return cast("LaneProcess", OpenLane(1))

    async def run() -> None:
        kept = Kept("worker 0", start, metrics.WORKER_RESTARTS, lambda *_: None)
        keeping = asyncio.create_task(kept.keep())
        async with asyncio.timeout(20):
            while kept.child is None and not keeping.done():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0)
        assert kept.child is not None
        keeping.cancel()
        await asyncio.wait([keeping])

    asyncio.run(run())


def test_machine_without_room_for_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no process can be made to wait, lanes are opened without, and the keeper goes on."""

    async def refuse() -> SpawnedLane:
        raise BlockingIOError("no process")

    async def run() -> None:
        token = Token(tmp_path, monkeypatch)
        monkeypatch.setattr(keeper, "spawn_lane", refuse)
        await token.lanes.start()
        await token.fail("device", token.opened[0].ended.set)
        assert set(token.used) == {None}

    asyncio.run(run())
