"""What a worker holds of messages: so much in memory, so many on the disk, each until it is sent or dropped."""

import asyncio
import contextlib
import resource
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from appliance.errors import Pushback
from appliance.gateway import spool
from appliance.gateway.spool import IN_MEMORY, MessageSpool, SpoolRoom

MIB = 1024**2
SHORT = b"0123456789abcdef" * 65536
LONG = SHORT * 9


def within(directory: Path, steps: Callable[[SpoolRoom], Awaitable[None]]) -> None:
    """Run steps with a room of their own, which must be empty at the end."""

    async def run() -> None:
        room = SpoolRoom(directory)
        await steps(room)
        await comes_to(room, 0)
        assert repr(room) == "SpoolRoom(0 octets in memory, 0 on disk)"

    asyncio.run(run())


async def comes_to(room: SpoolRoom, files: int) -> None:
    """Wait until so many files are left: they are closed in a thread."""
    async with asyncio.timeout(20):
        while f", {files} on disk" not in repr(room):  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.001)


def is_empty(directory: Path) -> bool:
    """Whether nothing in it has a name."""
    return not any(directory.iterdir())


async def fill(message: MessageSpool, octets: bytes) -> MessageSpool:
    """Write a message in pieces of 1 MiB."""
    for at in range(0, len(octets), MIB):
        await message.write(octets[at : at + MIB])
    return message


@pytest.mark.parametrize("octets", [SHORT, SHORT * 8, LONG])
def test_a_message_is_given_out_as_it_was_written(tmp_path: Path, octets: bytes) -> None:
    """Up to 8 MiB from memory, a longer one from a file without a name."""

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as message:
            await fill(message, octets)
            assert message.is_on_disk == (len(octets) > IN_MEMORY)
            assert b"".join([piece async for piece in message.pieces()]) == octets
            assert is_empty(tmp_path)
            assert await message.read() == octets

    within(tmp_path, steps)


@pytest.mark.parametrize("octets", [SHORT, LONG])
def test_edits_are_done_as_it_is_given_out(tmp_path: Path, octets: bytes) -> None:
    """Put in, taken out and replaced, at the ends too; the pieces around are as they were."""
    end = len(octets)
    edits = [(0, 0, b"<"), (5, 7, b""), (300_000, 300_001, b"--"), (end - 1, end - 1, b"|")]
    wanted, done = b"", 0
    for start, stop, put in edits:
        wanted, done = wanted + octets[done:start] + put, stop
    wanted += octets[done:]

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as message:
            await fill(message, octets)
            for _ in range(2):
                assert b"".join([piece async for piece in message.pieces(edits)]) == wanted

    within(tmp_path, steps)


def test_memory_counts_until_the_message_is_gone(tmp_path: Path) -> None:
    """64 MiB of all messages together, those that were read too; what comes then lies on the disk, however short."""

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as first:
            await fill(first, SHORT * 8)
            await first.read()
            others = [await fill(room.open("a"), SHORT * 8) for _ in range(7)]
            with room.open("a") as crowded:
                await fill(crowded, b"short")
                assert crowded.is_on_disk
        with room.open("a") as message:
            assert not (await fill(message, SHORT)).is_on_disk
        for other in others:
            with other:
                assert not other.is_on_disk

    within(tmp_path, steps)


def test_four_lie_on_the_disk(tmp_path: Path) -> None:
    """Three of one caller, so that there is a place for another; one more is told to come again, until one of them is gone."""

    async def steps(room: SpoolRoom) -> None:
        held = [await fill(room.open("a"), LONG) for _ in range(3)]
        with room.open("a") as fourth, pytest.raises(Pushback, match=r"3 long .* 3 of them yours"):
            await fill(fourth, LONG)
        held.append(await fill(room.open("b"), LONG))
        with room.open("c") as fifth, pytest.raises(Pushback, match=r"4 long .* 0 of them yours"):
            await fill(fifth, LONG)
        with held.pop():
            pass
        await comes_to(room, 3)
        held.append(await fill(room.open("c"), LONG))
        for each in held:
            with each:
                pass

    within(tmp_path, steps)


async def write_shortly(message: MessageSpool, pieces: int) -> None:
    """Write pieces shorter than what a buffer holds."""
    for _ in range(pieces):
        await message.write(LONG[:1000])


@contextlib.contextmanager
def files_of(octets: int) -> Iterator[None]:
    """Have the kernel refuse to let any file of ours grow longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room_for", [IN_MEMORY // 2, IN_MEMORY + 5000])
def test_a_disk_that_refuses_keeps_no_place(tmp_path: Path, room_for: int) -> None:
    """As a message moves to the disk, or in the middle of a short piece: it is refused by name, and its place is the next one's."""

    async def steps(room: SpoolRoom) -> None:
        for _ in range(5):
            with files_of(room_for), room.open("a") as message:
                await fill(message, LONG[:IN_MEMORY])
                with pytest.raises(Pushback, match="does not take a long message"):
                    await write_shortly(message, 10)
            await comes_to(room, 0)
        with room.open("a") as message:
            assert await (await fill(message, LONG)).read() == LONG

    within(tmp_path, steps)


def test_a_disk_that_makes_no_file(tmp_path: Path) -> None:
    """A place that is none is refused by name too."""

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as message, pytest.raises(Pushback, match=r"\(No such file"):
            await fill(message, LONG)

    within(tmp_path / "absent", steps)


def test_one_of_the_disk_is_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next is read when that one lets go, or is dropped; whoever waits too long is told to come again."""

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as one, room.open("a") as other:
            await fill(one, LONG)
            await fill(other, LONG)
            await one.read()
            waiting = asyncio.ensure_future(other.read())
            await asyncio.sleep(0)
            assert not waiting.done()
            one.let_go()
            assert await waiting == LONG
            monkeypatch.setattr(spool, "_TURN_WITHIN", 0.0)
            with pytest.raises(Pushback, match="other long messages"):
                await one.read()
        with room.open("a") as last:
            assert await (await fill(last, LONG)).read() == LONG

    within(tmp_path, steps)


def test_turn_ends_with_the_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody waits for a message any more its thread still fills the memory: the next has its turn when that has ended."""
    begun, go = threading.Event(), threading.Event()

    def read_late(file: IO[bytes], at: int, octets: int) -> bytes:
        begun.set()
        go.wait(20)
        file.seek(at)
        return file.read(octets)

    async def steps(room: SpoolRoom) -> None:
        with room.open("a") as dropped, room.open("a") as other:
            await fill(dropped, LONG)
            await fill(other, LONG)
            monkeypatch.setattr(spool, "_read_at", read_late)
            reading = asyncio.ensure_future(dropped.read())
            await asyncio.to_thread(begun.wait, 20)
            reading.cancel()
            await asyncio.wait([reading])
            dropped.let_go()
            assert room._turn.locked()
            go.set()
            assert await other.read() == LONG

    within(tmp_path, steps)
