"""Lanes as child processes: starting one, knowing that it can sign, ending it.

Owns the parent's end of a lane. Promises that a started lane has proven its keys; one that says it cannot raises what it said; and
that a lane which has stopped answering, for whatever reason and whether or not anything is asked of it, is ended within seconds.
Knows no binding: the parent never loads a PKCS#11 module.
"""

import asyncio
import contextlib
import mmap
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final

import msgspec

from hsm.counters import LaneCounters, LaneCounts, make_memory, map_memory
from hsm.errors import Finding, HsmError, Target
from hsm.report import LaneAlive, LaneEnded, LaneFailed, LaneReady, LaneReport
from hsm.settings import LaneSettings

HUNG: Final = -signal.SIGALRM
"""Status of a lane that was ended because a call into its module did not return."""

FROZEN: Final = -signal.SIGSTOP
"""Status of a lane that did not answer its parent: stopped, or in a call that not even SIGALRM ends. It has been sent SIGKILL."""

_REPORT_LIMIT: Final = 1024 * 1024
_START_GRACE: Final = 5.0
_STOP_TIMEOUT: Final = 5.0
_PULSE_PAUSE: Final = 1.0
_PULSE_GRACE: Final = 5.0
"""Seconds beyond the call timeout in which a lane answers its parent: as long as the jobs of one frame may keep it, and a busy machine."""

_END_GRACE: Final = 2.0
"""How long a lane that has said that it cannot sign, or what nobody understands, may take to end."""

_KILL_GRACE: Final = 1.0
"""How long to wait for the end of a killed process; one that the kernel holds in a driver may not end at all."""


class SpawnedLane:
    """The process of a lane that is told nothing yet, and the memory it will count in.

    Attributes:
        memory: that memory.
        descriptor: its number in the lane.
    """

    def __init__(self, process: Process, memory: mmap.mmap, descriptor: int) -> None:
        self.process: Final = process
        self.memory: Final = memory
        self.descriptor: Final = descriptor

    @property
    def returncode(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.returncode

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    async def wait(self) -> int:
        """Wait for its end; returns its exit status."""
        return await self.process.wait()


class LaneProcess:
    """A lane that can sign."""

    def __init__(self, spawned: SpawnedLane, ready: LaneReady, call_timeout: float) -> None:
        self.ready: Final = ready
        self._counters: Final = LaneCounters(spawned.memory, [key.name for key in ready.keys])
        self._last_words: LaneEnded | None = None
        self._process: Final = spawned.process
        self._asking: Final = asyncio.Lock()
        self._heard: Final = asyncio.Event()
        self._exit: Final = asyncio.create_task(spawned.wait())
        self._listening: Final = asyncio.create_task(self._listen())
        self._watching: Final = asyncio.create_task(self._watch(call_timeout + _PULSE_GRACE))

    @property
    def pid(self) -> int:
        """Process id of the lane."""
        return self._process.pid

    @property
    def counted(self) -> LaneCounts:
        """How often its keys have signed by now, or had when it ended."""
        return self._counters.read()

    async def wait(self) -> int:
        """Return the exit status once the lane has ended: 0 told to, 4 session lost, `HUNG`, `FROZEN`, or minus a signal."""
        return await asyncio.shield(self._watching)

    async def stop(self, grace: float = _STOP_TIMEOUT) -> LaneEnded | None:
        """Let the lane finish its frame and end; kill it after `grace` seconds. Returns its last report if it gave one."""
        if self._process.returncode is None:
            self._process.terminate()
        if not await self._ends(grace):
            self.kill()
            await self._ends(_KILL_GRACE)
        await asyncio.wait([self._listening], timeout=_KILL_GRACE)
        return self._last_words

    def kill(self) -> None:
        """End the lane at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def _watch(self, patience: float) -> int:
        """Ask the lane for a sign of life a second after each; kill it when none comes. Returns its exit status."""
        while not await self._ends(_PULSE_PAUSE):
            if not await self._answers(patience):
                self.kill()
                await self._ends(_KILL_GRACE)
                return FROZEN
        await asyncio.wait([self._listening], timeout=_KILL_GRACE)
        return await self._exit

    async def _ends(self, within: float) -> bool:
        """Wait for its end, for so many seconds at most."""
        done, _ = await asyncio.wait([self._exit], timeout=within)
        return bool(done)

    async def _answers(self, within: float) -> bool:
        """Ask for a sign of life and wait for the answer; one question at a time, so that each has its own."""
        async with self._asking:
            stdin = self._process.stdin
            self._heard.clear()
            if stdin is None or stdin.is_closing() or self._listening.done():
                return True  # it is ending
            stdin.write(b"\n")
            try:
                async with asyncio.timeout(within):
                    await self._heard.wait()
            except TimeoutError:
                return False
            return True

    async def _listen(self) -> None:
        """Read the reports up to the end of the lane's standard output."""
        while line := await _read_line(self._process):
            report = _read_report(line)
            if isinstance(report, LaneEnded):
                self._last_words = report
            elif isinstance(report, LaneAlive):
                self._heard.set()
        self._heard.set()


async def spawn_lane() -> SpawnedLane:
    """Start the process of a lane, which loads its program and then waits to be told what it is a lane of.

    It has a session of its own: a terminal's Ctrl-C is its parent's to hear, even before the lane has a handler.

    Raises:
        OSError: the machine has no room for another process.
    """
    descriptor = make_memory()
    try:
        memory = map_memory(descriptor)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hsm.lane"),
            stdin=PIPE,
            stdout=PIPE,
            limit=_REPORT_LIMIT,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return SpawnedLane(process, memory, descriptor)


async def discard_lane(spawned: SpawnedLane) -> None:
    """End the process of a lane, however far it has come."""
    if spawned.returncode is None:
        spawned.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_KILL_GRACE):
            await spawned.wait()


async def start_lane(settings: LaneSettings, spawned: SpawnedLane | None = None) -> LaneProcess:
    """Start a lane, in a process that waits for it if there is one, and wait until it can sign.

    Raises:
        HsmError: what the lane said, LANE_DIED, or CALL_TIMEOUT when it did not become ready in `open_timeout`.
    """
    try:
        lane = spawned or await spawn_lane()
    except OSError as exc:
        detail = f"no process could be started ({exc.strerror})"
        raise _silent(settings.token.target, "LANE_DIED", detail) from exc
    try:
        told = msgspec.structs.replace(settings, counters=lane.descriptor)
        report = await _greet(lane.process, told)
        if isinstance(report, LaneReady):
            return LaneProcess(lane, report, settings.call_timeout)
        status = await _see_off(lane)
    except BaseException:
        await discard_lane(lane)
        raise
    if isinstance(report, LaneFailed):
        raise HsmError(report.target, report.finding)
    code = "CALL_TIMEOUT" if status == HUNG else "LANE_DIED"
    how = "did not end and was killed" if status is None else f"ended with status {status}"
    raise _silent(settings.token.target, code, f"the lane {how} while opening")


async def _see_off(lane: SpawnedLane) -> int | None:
    """Wait for the end of a lane that cannot sign; None when it has to be killed."""
    try:
        async with asyncio.timeout(_END_GRACE):
            return await lane.wait()
    except TimeoutError:
        await discard_lane(lane)
        return None


async def _greet(process: Process, settings: LaneSettings) -> LaneReport | None:
    """Hand over the settings and read the first report; None when the lane ends without one."""
    stdin = process.stdin
    if stdin is None:
        raise RuntimeError("the lane was started without pipes")
    try:
        # The pipe stays open for the life of the lane: its end is how the lane knows that we are gone.
        async with asyncio.timeout(settings.open_timeout + _START_GRACE):
            stdin.write(msgspec.json.encode(settings) + b"\n")
            await stdin.drain()
            line = await _read_line(process)
    except TimeoutError as exc:
        detail = f"the lane was not ready within {settings.open_timeout:.0f} s"
        raise _silent(settings.token.target, "CALL_TIMEOUT", detail) from exc
    except ConnectionError:
        return None
    return _read_report(line)


async def _read_line(process: Process) -> bytes:
    return await process.stdout.readline() if process.stdout is not None else b""


def _read_report(line: bytes) -> LaneReport | None:
    try:
        report: LaneReport = msgspec.json.decode(line, type=LaneReport)
    except msgspec.DecodeError:
        return None
    return report


def _silent(target: Target, code: str, cause: str) -> HsmError:
    next_step = (
        "read the lane's messages on standard error and check the module with its vendor's tool"
    )
    return HsmError(target, Finding(code, "device", cause, next_step))
