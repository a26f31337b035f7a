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
from hsm.report import LaneEnded, LaneFailed, LaneReady, LaneReport
from hsm.settings import LaneSettings

HUNG: Final = -signal.SIGALRM
"""Status of a lane that was ended because a call into its module did not return."""

_REPORT_LIMIT: Final = 1024 * 1024
_START_GRACE: Final = 5.0
_STOP_TIMEOUT: Final = 5.0


class LaneProcess:
    """A lane that can sign."""

    def __init__(self, process: Process, ready: LaneReady) -> None:
        self.ready: Final = ready
        self._process: Final = process

    @property
    def pid(self) -> int:
        """Process id of the lane."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit status once the lane has ended: 0 told to, 4 session lost, `HUNG`, or minus a signal."""
        return await self._process.wait()

    async def stop(self, grace: float = _STOP_TIMEOUT) -> LaneEnded | None:
        """Let the lane finish its frame and end; kill it after `grace` seconds. Returns its count if it gave one."""
        if self._process.returncode is None:
            self._process.terminate()
        return await _collect(self._process, grace)

    def kill(self) -> None:
        """End the lane at once."""
        if self._process.returncode is None:
            self._process.kill()


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
        await _collect(process, _STOP_TIMEOUT)
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


async def _collect(process: Process, grace: float) -> LaneEnded | None:
    """Wait for the end, by force if need be, and read the last report."""
    stdout = process.stdout
    try:
        async with asyncio.timeout(grace):
            rest = await stdout.read() if stdout else b""
    except TimeoutError:
        process.kill()
        rest = b""
    await process.wait()
    report = _read_report(rest)
    return report if isinstance(report, LaneEnded) else None


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
