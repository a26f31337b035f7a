"""Children that are started again whenever they end: workers one by one, the lanes of a token together.

Owns the backoff. Promises that lanes of a token open one after the other, each in a process that has its program loaded already, for one
always waits (on a busy machine Python takes a second to start); that while a token has no lane only one probes it, at most a second
apart, so that the token is in use again within two seconds of its return, whatever kept it; that a refused PIN is looked at, by the PIN guard, without asking the token; and that a token without room keeps the lanes it
could open, and is asked for more of them seldom.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import Counter

from appliance import log, metrics
from appliance.errors import Unavailable
from appliance.usage import UsageLedger
from hsm.errors import HsmError, Kind
from hsm.process import FROZEN, HUNG, LaneProcess, SpawnedLane, discard_lane, spawn_lane

_LOG: Final = log.Log("supervisor")
_FIRST_BACKOFF: Final = 0.05
_LAST_BACKOFF: Final = 5.0
_STEADY: Final = 10.0  # seconds alive after which a child's next death starts the backoff anew
_LAST_PAUSE: Final[dict[Kind, float]] = {"capacity": 10.0, "human": 5.0}
"""Longest pause between two attempts at one more lane of a token that has some, where it is not `_PROBE_PAUSE`."""

_PROBE_PAUSE: Final = 1.0
NoteEnd = Callable[[str, int], None]
"""Told which child has ended unasked, and with which status."""

OpenLane = Callable[[int, SpawnedLane | None], Awaitable[LaneProcess]]


class _Process(Protocol):
    """What a lane and a worker have in common."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def wait(self) -> int:
        """Wait for its end and return its exit status."""

    async def stop(self, grace: float) -> object:
        """End it, by force after `grace` seconds."""


_Running = TypeVar("_Running", bound=_Process)


class Kept(Generic[_Running]):
    """A child that is started again whenever it ends.

    Attributes:
        child: the running one; None between two.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Awaitable[_Running]],
        restarts: Counter,
        note_end: NoteEnd,
    ) -> None:
        self.name: Final = name
        self._note_end: Final = note_end
        self.child: _Running | None = None
        self._start: Final = start
        self._restarts: Final = restarts
        self._is_stopping = False

    async def start(self) -> None:
        """Start it; failures reach the caller."""
        self.child = await self._start()

    async def keep(self) -> None:
        """Start it again after each end, with a jittered, bounded backoff, until `stop`."""
        backoff = _FIRST_BACKOFF
        while True:
            lived = await self._wait()
            if self._is_stopping:
                return
            if lived > _STEADY:
                backoff = _FIRST_BACKOFF
            await asyncio.sleep(_jitter(backoff))
            backoff = min(backoff * 2, _LAST_BACKOFF)
            try:
                await self.start()
            except (Unavailable, OSError) as exc:  # OSError: the machine has no room for a process
                _LOG.error("child-not-started", child=self.name, detail=str(exc))
            else:
                self._restarts.inc()
                _LOG.info("child-restarted", child=self.name)

    async def stop(self, grace: float) -> None:
        """End it for good."""
        self._is_stopping = True
        if self.child is not None:
            await self.child.stop(grace)

    async def _wait(self) -> float:
        """Wait for the child's end and return how many seconds it was waited for; 0 when there is none."""
        if self.child is None:
            return 0.0
        loop = asyncio.get_running_loop()
        since = loop.time()
        code, pid = await self.child.wait(), self.child.pid
        self.child = None
        metrics.forget_process(pid)
        if not self._is_stopping:
            _LOG.warning("child-ended", child=self.name, code=code)
            self._note_end(self.name, code)
        return loop.time() - since


class KeptLanes:
    """The lanes of one token."""

    def __init__(
        self,
        token: str,
        count: int,
        open_lane: OpenLane,
        note_end: NoteEnd,
        usage: UsageLedger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare to keep them.

        Args:
            token: its name.
            count: how many lanes it should have.
            open_lane: opens the lane of an index, in a process that waits for it if there is one; raises HsmError.
            usage: is told what the lanes count.
            note_end: told of lanes that end.
            sleep: waits between two attempts.
        """
        self._sleep: Final = sleep
        self._usage: Final = usage
        self._note_end: Final = note_end
        self.token: Final = token
        self._open_lane: Final = open_lane
        self._lanes: Final[list[LaneProcess | None]] = [None] * count
        self._opening: Final = asyncio.Lock()
        self._waiting: SpawnedLane | None = None  # to be the next lane
        self._sessions: Final = metrics.SESSIONS_OPEN.labels(token)
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"KeptLanes({self.token}, {self.lanes_up} of {len(self._lanes)} up)"

    @property
    def lanes_up(self) -> int:
        """How many lanes have proven their keys and not ended since."""
        return sum(lane is not None for lane in self._lanes)

    async def start(self) -> None:
        """Open the lanes one after the other; those that fail after the first are left to `keep`.

        Raises:
            HsmError: not even one lane could be opened.
        """
        for index in range(len(self._lanes)):
            try:
                await self._open(index)
            except HsmError as error:
                if not index:
                    raise
                self._say_not_opened(index, error)

    async def keep(self) -> None:
        """Open each lane again after each end, until `stop`."""
        try:
            await self._have_one_wait()
            await asyncio.gather(*(self._keep(index) for index in range(len(self._lanes))))
        finally:
            if self._waiting is not None:
                await discard_lane(self._waiting)

    async def renew(self, grace: float) -> None:
        """Put a new lane in the place of each, one after the other; each old one ends when the new one has proven its keys.

        Raises:
            HsmError: a new lane could not be opened; the lanes after it are the old ones.
        """
        async with self._opening:
            for index, lane in enumerate(self._lanes):
                if lane is not None:
                    self._lanes[index] = await self._open_lane(index, None)
                    await lane.stop(grace)
                    self._count_last(lane)

    async def stop(self, grace: float) -> None:
        """End all of them for good."""
        self._is_stopping = True
        lanes = [lane for lane in self._lanes if lane is not None]
        await asyncio.gather(*(lane.stop(grace) for lane in lanes))
        for lane in lanes:
            self._count_last(lane)

    def count(self) -> None:
        """Tell the ledger what the lanes have signed by now."""
        for lane in self._lanes:
            if lane is not None:
                self._usage.note(self.token, lane)

    def _count_last(self, lane: LaneProcess) -> None:
        self._usage.note(self.token, lane)
        self._usage.forget(lane)

    async def _keep(self, index: int) -> None:
        while not self._is_stopping:
            lane = self._lanes[index]
            if lane is not None:
                code = await lane.wait()
                if self._lanes[index] is not lane:
                    continue  # `renew` has put another in its place
                self._count_last(lane)
                self._lose(index, code)
            await self._reopen(index)

    def _lose(self, index: int, code: int) -> None:
        self._lanes[index] = None
        self._sessions.set(self.lanes_up)
        if self._is_stopping:
            return
        if code in {FROZEN, HUNG}:
            metrics.LANES_STUCK.labels(f"{self.token}/{index}").inc()
        _LOG.warning("child-ended", child=f"lane {self.token}/{index}", code=code)
        self._note_end(f"lane {self.token}/{index}", code)

    async def _reopen(self, index: int) -> None:
        """Try until it is open. While no lane is up the pauses pass under the lock, so that one lane probes at a time."""
        pause = _FIRST_BACKOFF
        while not self._is_stopping:
            async with self._opening:
                error = await self._attempt(index)
                await self._have_one_wait()
                if error is None:
                    return
                if not self.lanes_up:
                    pause = min(pause * 2, _PROBE_PAUSE)
                    await self._sleep(_jitter(pause))
                    continue
            pause = min(pause * 2, _LAST_PAUSE.get(error.finding.kind, _PROBE_PAUSE))
            await self._sleep(_jitter(pause))

    async def _attempt(self, index: int) -> HsmError | None:
        try:
            await self._open(index)
        except HsmError as error:
            self._say_not_opened(index, error)
            return error
        metrics.LANE_RESTARTS.labels(f"{self.token}/{index}").inc()
        _LOG.info("child-restarted", child=f"lane {self.token}/{index}")
        return None

    async def _have_one_wait(self) -> None:
        """Have a process wait to be the next lane; the next attempt says what is wrong when none can be started."""
        if self._waiting is None:
            with contextlib.suppress(OSError):
                self._waiting = await spawn_lane()

    async def _open(self, index: int) -> None:
        spawned, self._waiting = self._waiting, None
        if spawned is not None and spawned.returncode is not None:
            spawned = None  # it has not waited
        self._lanes[index] = await self._open_lane(index, spawned)
        self._sessions.set(self.lanes_up)

    def _say_not_opened(self, index: int, error: HsmError) -> None:
        _LOG.error("child-not-started", child=f"lane {self.token}/{index}", detail=str(error))


def _jitter(pause: float) -> float:
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
