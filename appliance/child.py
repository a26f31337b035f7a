"""A child process with a life line: lines on its stdout, and a stdin whose end tells it that its parent is gone.

Promises that every wait has a deadline, that a child never outlives its parent unnoticed (it reads end-of-file), and that a
terminal's Ctrl-C reaches only the parent, which then stops its children in order. Stderr is the parent's: logs go through.
"""

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from typing import Final, Self

from appliance.errors import Reason, ServiceUnreachable

_LINE_LIMIT: Final = 1024 * 1024
_UNREAD_LIMIT: Final = 64 * 1024
_KILL_GRACE: Final = 1.0
"""Seconds to wait for the end of a killed process; one that hangs in a driver or on a disk may not end at all."""


class Child:
    """One running child; start it with `Child.start`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name: Final = name
        self._process: Final = process

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start `command` in a session of its own; `pass_fds` stay open in it under the same numbers."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(environment),
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
        return cls(name, process)

    def __repr__(self) -> str:
        return f"Child({self.name}, pid={self.pid}, returncode={self._process.returncode})"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, line: bytes) -> None:
        """Write one line to its stdin, as far as that goes: lines pile up before a child that does not read, and are dropped.

        Never waits; a child that does not read, or has gone, is noticed by `hear` or `wait`.
        """
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            return
        if stdin.transport.get_write_buffer_size() < _UNREAD_LIMIT:
            stdin.write(line + b"\n")

    async def hear(self, within: float) -> bytes:
        """Read the next line of its stdout.

        Raises:
            ServiceUnreachable: it ended, or said nothing within `within` seconds.
        """
        stdout = self._process.stdout
        if stdout is None:
            raise ServiceUnreachable(Reason.SERVICE_UNREACHABLE, f"{self.name} has no stdout")
        try:
            async with asyncio.timeout(within):
                line = await stdout.readline()
        except TimeoutError:
            raise ServiceUnreachable(
                Reason.SERVICE_UNREACHABLE, f"{self.name} said nothing within {within:g} s"
            ) from None
        if not line:
            raise ServiceUnreachable(
                Reason.SERVICE_UNREACHABLE, f"{self.name} ended before it answered"
            )
        return line

    async def wait(self) -> int:
        """Wait for its end and return its exit code (negative: the signal that ended it)."""
        return await self._process.wait()

    async def stop(self, grace: float) -> int:
        """Ask it to end by SIGTERM, kill it after `grace` seconds, and return its exit code; one that the kernel still holds is left to it."""
        for number, within in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_GRACE)):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    return await self._process.wait()
        return -signal.SIGKILL
