"""Child processes: their lines, their deadlines and their end."""

import asyncio
import os
import signal
import sys
from typing import cast

import pytest

from appliance.child import Child
from appliance.errors import ServiceUnreachable
from tests.virtual_time import run_virtually

ECHO = "import sys\nfor line in sys.stdin: print('heard', line.strip(), flush=True)"


async def start(program: str, **fields: object) -> Child:
    """Start a Python program."""
    environment = fields.pop("environment", dict(os.environ))
    return await Child.start(
        "child", [sys.executable, "-c", program], environment=environment, **fields
    )


def test_lines_go_both_ways() -> None:
    """A child hears what it is told and answers; it ends when its life line does."""

    async def run() -> None:
        child = await start(ECHO)
        child.tell(b"load 2")
        assert await child.hear(20) == b"heard load 2\n"
        assert str(child.pid) in repr(child)
        assert await child.stop(20) == -signal.SIGTERM

    asyncio.run(run())


def test_silence_has_a_deadline() -> None:
    """A child that says nothing is given up by name."""

    async def run() -> None:
        child = await start("import time; time.sleep(60)")
        with pytest.raises(ServiceUnreachable, match=r"child said nothing within 0\.05 s"):
            await child.hear(0.05)
        await child.stop(20)

    asyncio.run(run())


def test_a_child_that_ended_is_noticed() -> None:
    """Its end is an error for who listens, none for who tells, and stopping it again is harmless."""

    async def run() -> None:
        child = await start("raise SystemExit(7)")
        with pytest.raises(ServiceUnreachable, match="ended before it answered"):
            await child.hear(20)
        assert await child.wait() == 7
        child.tell(b"anybody there?")
        assert await child.stop(1) == 7

    asyncio.run(run())


def test_a_child_that_ignores_the_request_is_killed() -> None:
    """SIGTERM first; after the grace SIGKILL."""
    program = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )

    async def run() -> None:
        child = await start(program)
        assert await child.hear(20) == b"ready\n"
        assert await child.stop(0.05) == -signal.SIGKILL

    asyncio.run(run())


class HeldProcess:
    """A process in a call that the kernel does not end, whatever it is sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_signal(self, number: int) -> None:
        """Take it, to no effect."""
        self.sent.append(number)

    async def wait(self) -> int:
        """Wait for an end that does not come."""
        return await asyncio.get_running_loop().create_future()


def test_a_child_that_not_even_that_ends_is_left() -> None:
    """Who stops it goes on."""
    process = HeldProcess()

    async def run() -> None:
        child = Child("child", cast("asyncio.subprocess.Process", process))
        assert await child.stop(5) == -signal.SIGKILL

    run_virtually(run())
    assert process.sent == [signal.SIGTERM, signal.SIGKILL]


def test_a_child_has_only_what_it_is_given() -> None:
    """Its environment and descriptors are those named, and its session is its own."""
    reading, writing = os.pipe()
    program = (
        f"import os\nos.write({writing}, b'x')\n"
        "print(sorted(os.environ), os.getsid(0) == os.getpid(), flush=True)"
    )

    async def run() -> None:
        child = await start(program, environment={"ONLY": "this"}, pass_fds=[writing])
        said = await child.hear(20)
        assert b"ONLY" in said
        assert b"PATH" not in said
        assert b"True" in said
        assert os.read(reading, 1) == b"x"
        assert await child.wait() == 0

    asyncio.run(run())
    os.close(reading)
    os.close(writing)
