"""Lanes as child processes: starting one, knowing that it can sign, ending it.

Owns the parent's end of a lane. Promises that a started lane has proven its keys; one that says it cannot raises what it said.
Knows no binding: the parent never loads a PKCS#11 module.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final

import msgspec

from hsm.errors import Finding, HsmError, Target
from hsm.report import LaneCounted, LaneEnded, LaneFailed, LaneReady, LaneReport
from hsm.settings import LaneSettings

HUNG: Final = -signal.SIGALRM
"""Status of a lane that was ended because a call into its module did not return."""

_REPORT_LIMIT: Final = 1024 * 1024
_START_GRACE: Final = 5.0
_STOP_TIMEOUT: Final = 5.0


class LaneProcess:
    """A lane that can sign.

    Attributes:
        counted: how often its keys have signed, as it said last.
    """

    def __init__(self, process: Process, ready: LaneReady) -> None:
        self.ready: Final = ready
        proven = {key.name: key.signatures for key in ready.keys}
        self.counted: LaneCounted | LaneEnded = LaneCounted(proven, proven)
        self._process: Final = process
        self._listening: Final = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """Process id of the lane."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status once the lane has ended: 0 told to, 4 session lost, `HUNG`, or minus a signal."""
        status = await self._process.wait()
        await asyncio.shield(self._listening)
        return status

    async def stop(self, grace: float = _STOP_TIMEOUT) -> LaneEnded | None:
        """Let the lane finish its frame and end; kill it after `grace` seconds. Returns its last report if it gave one."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await self.wait()
        return self.counted if isinstance(self.counted, LaneEnded) else None

    def kill(self) -> None:
        """End the lane at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def _listen(self) -> None:
        """Take its reports until it has closed its standard output, which is its end."""
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            report = _read_report(line)
            if isinstance(report, LaneCounted | LaneEnded):
                self.counted = report


async def start_lane(settings: LaneSettings) -> LaneProcess:
    """Start a lane and wait until it can sign.

    Raises:
        HsmError: what the lane said, LANE_DIED, or CALL_TIMEOUT when it did not become ready in `open_timeout`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hsm.lane", stdin=PIPE, stdout=PIPE, limit=_REPORT_LIMIT
    )
    try:
        report = await _greet(process, settings)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if isinstance(report, LaneReady):
        return LaneProcess(process, report)
    status = await process.wait()
    if isinstance(report, LaneFailed):
        raise HsmError(report.target, report.finding)
    code = "CALL_TIMEOUT" if status == HUNG else "LANE_DIED"
    raise _silent(settings.token.target, code, f"the lane ended with status {status} while opening")


async def _greet(process: Process, settings: LaneSettings) -> LaneReport | None:
    """Hand over the settings and read the first report; None when the lane ends without one."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the lane was started without pipes")
    try:
        # The pipe stays open for the life of the lane: its end is how the lane knows that we are gone.
        async with asyncio.timeout(settings.open_timeout + _START_GRACE):
            stdin.write(msgspec.json.encode(settings) + b"\n")
            await stdin.drain()
            line = await stdout.readline()
    except TimeoutError as exc:
        detail = f"the lane was not ready within {settings.open_timeout:.0f} s"
        raise _silent(settings.token.target, "CALL_TIMEOUT", detail) from exc
    except ConnectionError:
        return None
    return _read_report(line)


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
