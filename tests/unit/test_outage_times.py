"""How long a token that is gone keeps its callers, and how soon one that has returned is in use, in virtual time.

Keeper, queue and circuit are the real ones, the lanes' sockets too. What takes time is stated here: looks at the token, and pauses.
"""

import asyncio
import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import fields

from appliance import keeper
from appliance.errors import HsmUnavailable
from appliance.keeper import KeptLanes
from appliance.signing.news import TokenNews
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from appliance.usage import UsageLedger
from hsm.counters import LaneCounts
from hsm.errors import Finding, HsmError, Target
from hsm.module import _PAUSES
from hsm.process import LaneProcess, SpawnedLane
from hsm.settings import LaneSettings
from hsm.wire import Refused
from tests.fake_lane import FakeLane, SpareProcess
from tests.pki import Holder, ec_key, make_pki
from tests.virtual_time import VirtualClock, run_virtually

LANES = 2
PROMISED = 2.0
LOOK = sum(_PAUSES) + 0.03
"""Seconds that opening a lane may take, in a process that waits: a token that does not show itself at once is looked for again."""

HANG = {field.name: field.default for field in fields(LaneSettings)}["call_timeout"]
"""Seconds after which a proof that hangs ends its lane."""

PHASES = 24


class Token:
    """A token that may be gone, its lanes, and the worker that signs with them."""

    def __init__(self, directory: Path, failing: float) -> None:
        self.is_there = True
        self.looks: list[float] = []
        holder = Holder(ec_key("lane"), make_pki("partner").leaf.certificate, None)
        self._lanes = [FakeLane(directory / f"{at}.sock", {"key": holder}) for at in range(LANES)]
        self._failing = failing
        self._ended = asyncio.Event()
        self._pids = count(1000)
        self.lanes = KeptLanes(
            "main", LANES, self._open, lambda *_: None, UsageLedger(directory / "usage")
        )
        sockets = [lane.socket for lane in self._lanes]
        self.queue = SigningQueue(
            {"main": sockets}, {"key": ["main"]}, QueueSettings(age=60.0), VirtualClock()
        )

    async def _open(self, index: int, _spawned: SpawnedLane | None) -> LaneProcess:
        """Open a lane, or say after a while that the token was gone when that began; workers are told, as the supervisor does."""
        is_there = self.is_there
        self.looks.append(now())
        await asyncio.sleep(LOOK if is_there else self._failing)
        if not is_there:
            finding = Finding("TOKEN_NOT_FOUND", "device", "it is gone", "look for it")
            error = HsmError(Target("m", "main"), finding)
            self.queue.learn(TokenNews("main", Refused(finding.code, str(error), finding.kind)))
            raise error
        await self._lanes[index].start()
        self.queue.learn(TokenNews("main"))
        return cast("LaneProcess", OpenLane(next(self._pids), self._ended))

    async def go(self) -> None:
        """Be gone: every lane says so and ends."""
        self.is_there = False
        for lane in self._lanes:
            await lane.say(Refused("CKR_DEVICE_REMOVED", "it is gone", "device"))
            await lane.die()
        self._ended.set()
        self._ended = asyncio.Event()

    async def sign(self) -> bytes:
        """Sign one digest."""
        return await self.queue.sign("key", "sha256", bytes(32), now() + 60.0)

    async def aclose(self) -> None:
        """End everything."""
        await self.queue.aclose(0)
        for lane in self._lanes:
            await lane.die()


class OpenLane:
    """A lane that signs until the token is gone."""

    counted = LaneCounts({}, {})

    def __init__(self, pid: int, ended: asyncio.Event) -> None:
        self.pid = pid
        self._ended = ended

    async def wait(self) -> int:
        """Return its status once it has ended."""
        await self._ended.wait()
        return 4


def now() -> float:
    """The time of the loop."""
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("failing", [LOOK, HANG])
def test_token_that_returns_is_in_use_within_two_seconds(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, failing: float
) -> None:
    """At whatever moment of probing it returns, whatever a look costs while it is gone, with every pause as long as it may be."""

    async def spawn() -> SpawnedLane:
        return cast("SpawnedLane", SpareProcess())

    monkeypatch.setattr(keeper, "spawn_lane", spawn)
    monkeypatch.setattr(random, "uniform", lambda _shortest, longest: longest)
    took = run_virtually(time_outages(short_path, failing))
    assert max(took) < PROMISED
    assert max(took) > 1.0  # the sweep has met a pause at its beginning


async def time_outages(directory: Path, failing: float) -> list[float]:
    """Have the token go again and again, and return how long after each return the first signature was made."""
    token = Token(directory, failing)
    token.queue.start()
    await token.lanes.start()
    keeping = asyncio.create_task(token.lanes.keep())
    await token.sign()
    took = []
    for phase in range(PHASES):
        await token.go()
        # After so long the pauses are as long as they get; one round of probing is gone through in small steps.
        await asyncio.sleep(20 + (1 + HANG) * phase / PHASES)
        await check_refused_without_time(token)
        token.is_there = True
        took.append(await time_return(token))
        await all_lanes_up(token)
    keeping.cancel()
    await asyncio.wait([keeping])
    await token.aclose()
    return took


async def time_return(token: Token) -> float:
    """Ask until there is a signature; returns how long that was."""
    returned = now()
    while True:
        with suppress(HsmUnavailable):
            await token.sign()
            return now() - returned
        await asyncio.sleep(0.005)


async def check_refused_without_time(token: Token) -> None:
    """Ask for signatures of a token that is gone: each is refused before any time has passed, and none makes anybody look for it."""
    before, looks = now(), len(token.looks)
    for _ in range(10):
        with pytest.raises(HsmUnavailable):
            await token.sign()
    assert now() == before
    assert len(token.looks) == looks


async def all_lanes_up(token: Token) -> None:
    """Wait until the other lane is back too."""
    while token.lanes.lanes_up < LANES or token.queue.lanes_up()["main"] < LANES:  # noqa: ASYNC110 - neither has an event for it
        await asyncio.sleep(0.05)
