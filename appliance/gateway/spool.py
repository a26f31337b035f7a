"""Messages that must be held whole: in memory as long as they are short, then in a file that nobody else can open and that has no name.

Promises that what a crash leaves behind is nothing, and that only so many messages lie on the disk at once.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from appliance.errors import Pushback, Reason

IN_MEMORY: Final = 8 * 1024**2
_ON_DISK: Final = 4
_PIECE: Final = 256 * 1024


class SpoolRoom:
    """Where the messages of one worker are held."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._on_disk = 0

    def __repr__(self) -> str:
        return f"SpoolRoom({self._on_disk} on disk)"

    @contextmanager
    def open(self) -> Iterator["MessageSpool"]:
        """Hold one message; what it takes is given back at the end of the block."""
        spool = MessageSpool(self)
        try:
            yield spool
        finally:
            spool.close()

    def make_file(self) -> IO[bytes]:
        """Make a file without a name, mode 0600.

        Raises:
            Pushback: there are as many as may be.
        """
        if self._on_disk >= _ON_DISK:
            raise Pushback(
                Reason.SPOOL_OF_MESSAGES_FULL,
                f"{_ON_DISK} long messages are held whole already; send it again",
            )
        file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - the spool closes it
        self._on_disk += 1
        return file

    def give_back(self, file: IO[bytes]) -> None:
        """Close a file, which ends it."""
        file.close()
        self._on_disk -= 1


class MessageSpool:
    """The octets of one message.

    Attributes:
        octets: how many there are.
    """

    def __init__(self, room: SpoolRoom) -> None:
        self.octets = 0
        self._room: Final = room
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    async def write(self, piece: bytes) -> None:
        """Append."""
        self.octets += len(piece)
        if self._file is None:
            self._memory += piece
            if self.octets > IN_MEMORY:
                self._file = self._room.make_file()
                await asyncio.to_thread(self._file.write, self._memory)
                self._memory = bytearray()
        else:
            await asyncio.to_thread(self._file.write, piece)

    async def read(self) -> bytes:
        """Return all of it."""
        if self._file is None:
            return bytes(self._memory)
        return await asyncio.to_thread(_read_all, self._file)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give all of it out again, from the start, a piece at a time."""
        file = self._file
        if file is None:
            yield bytes(self._memory)
            return
        await asyncio.to_thread(file.seek, 0)
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece

    def close(self) -> None:
        """Forget it."""
        if self._file is not None:
            self._room.give_back(self._file)
            self._file = None


def _read_all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
