"""Messages that must be held whole: in memory as long as they are short, then in a file that nobody else can open and that has no name.

Promises that what a crash leaves behind is nothing; that only so much is held at once, each message counting until it is sent or
dropped; and that of those on the disk one at a time is read into memory, for as long as it is signed or judged: it is sent from the disk.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Final, Self

from appliance.errors import Pushback, Reason

Edit = tuple[int, int, bytes]
"""Start and end of a stretch of a message, and the octets in its place."""

IN_MEMORY: Final = 8 * 1024**2
"""Octets of one message that are held in memory."""
_IN_MEMORY_IN_ALL: Final = 64 * 1024**2
_ON_DISK: Final = 4
_ON_DISK_OF_ONE: Final = 3
"""Of one caller: whoever sends slowly leaves a place to the others."""
_PIECE: Final = 256 * 1024
_TURN_WITHIN: Final = 60.0


class SpoolRoom:
    """Where the messages of one worker are held."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._in_memory = 0
        self._on_disk: Final = Counter[str]()
        self._turn: Final = asyncio.Lock()

    def __repr__(self) -> str:
        return f"SpoolRoom({self._in_memory} octets in memory, {self._on_disk.total()} on disk)"

    def open(self, caller: str) -> "MessageSpool":
        """Hold one message of a caller; what it takes is given back at the end of the block that this is used in."""
        return MessageSpool(self, caller)

    def take_memory(self, octets: int) -> bool:
        """Take memory; False where there is no more, which leaves the disk."""
        if self._in_memory + octets > _IN_MEMORY_IN_ALL:
            return False
        self._in_memory += octets
        return True

    def give_memory_back(self, octets: int) -> None:
        """Give back what was taken."""
        self._in_memory -= octets

    def make_file(self, caller: str) -> IO[bytes]:
        """Make a file without a name, mode 0600.

        Raises:
            Pushback: there are as many as may be, or as many of this caller, or the disk refuses.
        """
        of_one, of_all = self._on_disk[caller], self._on_disk.total()
        if of_all >= _ON_DISK or of_one >= _ON_DISK_OF_ONE:
            raise Pushback(
                Reason.SPOOL_OF_MESSAGES_FULL,
                f"{of_all} long messages are held whole already, {of_one} of them yours; send it again",
            )
        try:
            file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - the spool closes it
        except OSError as exc:
            raise _refused_by_disk(exc) from exc
        self._on_disk[caller] += 1
        return file

    def give_back(self, file: IO[bytes], caller: str) -> None:
        """Close a file in a thread, for the disk takes its time to free it; its place is free after that."""
        closing = asyncio.get_running_loop().run_in_executor(None, _close, file)
        closing.add_done_callback(lambda _: self._free_place(caller))

    async def await_turn(self) -> None:
        """Wait until no other message of the disk is in memory.

        Raises:
            Pushback: that took too long.
        """
        try:
            async with asyncio.timeout(_TURN_WITHIN):
                await self._turn.acquire()
        except TimeoutError as exc:
            raise Pushback(
                Reason.SPOOL_OF_MESSAGES_FULL,
                f"other long messages were signed or judged for {_TURN_WITHIN:g} s; send it again",
            ) from exc

    def end_turn(self) -> None:
        """Let the next one in."""
        self._turn.release()

    def end_turn_after(self, reading: asyncio.Future[bytes]) -> None:
        """Let the next one in when a read has ended that nobody waits for any more: until then it fills the memory."""
        reading.add_done_callback(self._read_in_vain)

    def _read_in_vain(self, reading: asyncio.Future[bytes]) -> None:
        reading.exception()  # nobody is left to be told, and the loop would say so
        self.end_turn()

    def _free_place(self, caller: str) -> None:
        self._on_disk[caller] -= 1
        if not self._on_disk[caller]:
            del self._on_disk[caller]


class MessageSpool:
    """The octets of one message, until the end of its block.

    Attributes:
        octets: how many there are.
    """

    def __init__(self, room: SpoolRoom, caller: str) -> None:
        self.octets = 0
        self._room: Final = room
        self._caller: Final = caller
        self._memory = bytearray()
        self._taken = 0
        self._file: IO[bytes] | None = None
        self._has_turn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        if self._file is not None:
            self._room.give_back(self._file, self._caller)
            self._file = None
        self._memory = bytearray()
        self._give_memory_back()

    @property
    def is_on_disk(self) -> bool:
        """Whether it has grown too long for the memory, or the memory was taken."""
        return self._file is not None

    async def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            Pushback: as many as may be are held on disk already, or the disk refuses.
        """
        self.octets += len(piece)
        file = self._file
        if file is None:
            if self.octets <= IN_MEMORY and self._room.take_memory(len(piece)):
                self._taken += len(piece)
                self._memory += piece
                return
            file = self._file = self._room.make_file(self._caller)
            await asyncio.to_thread(_append, file, self._memory)
            self._memory = bytearray()
            self._give_memory_back()
        await asyncio.to_thread(_append, file, piece)

    async def read(self) -> bytes:
        """Return all of it; what lies on the disk when its turn comes, which ends with `let_go`. What was in memory is there no more.

        Raises:
            Pushback: its turn did not come.
        """
        file = self._file
        if file is None:
            octets, self._memory = bytes(self._memory), bytearray()
            return octets
        await self._room.await_turn()
        self._has_turn = True
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, _read_at, file, 0, self.octets)
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            self._has_turn = False
            self._room.end_turn_after(reading)
            raise

    def let_go(self) -> None:
        """State that nothing of it that was read is in memory any more."""
        if self._has_turn:
            self._has_turn = False
            self._room.end_turn()

    async def pieces(self, edits: Sequence[Edit] = ()) -> AsyncIterator[bytes]:
        """Give all of it out again, from the start, a piece at a time; with edits, in their order, done."""
        at = 0
        for start, end, octets in (*edits, (self.octets, self.octets, b"")):
            while at < start:
                piece = await self._piece(at, min(_PIECE, start - at))
                at += len(piece)
                yield piece
            if octets:
                yield octets
            at = end

    async def _piece(self, at: int, octets: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[at : at + octets])
        return await asyncio.to_thread(_read_at, self._file, at, octets)

    def _give_memory_back(self) -> None:
        self._room.give_memory_back(self._taken)
        self._taken = 0


def _close(file: IO[bytes]) -> None:
    """Close it, whatever a full disk has left to be written."""
    with contextlib.suppress(OSError):
        file.close()


def _append(file: IO[bytes], piece: bytes | bytearray) -> None:
    """Write to the disk itself: what a buffer held would be refused later, as the message is read."""
    try:
        file.write(piece)
        file.flush()
    except OSError as exc:
        raise _refused_by_disk(exc) from exc


def _refused_by_disk(exc: OSError) -> Pushback:
    return Pushback(
        Reason.SPOOL_OF_MESSAGES_FULL,
        f"the disk does not take a long message ({exc.strerror}); send it again later",
    )


def _read_at(file: IO[bytes], at: int, octets: int) -> bytes:
    file.seek(at)
    return file.read(octets)
