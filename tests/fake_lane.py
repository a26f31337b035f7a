"""A lane in memory: the wire protocol of `hsm.wire` and real signatures, with keys outside any token and answers on command.

It lives in the event loop of its test. `tests/contract/test_fake_lane.py` holds it to what a real lane answers.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from hsm.wire import (
    FrameReader,
    FrameTooLarge,
    Hello,
    KeyFacts,
    KeyUse,
    Refused,
    Reply,
    SignedFrame,
    SignFailure,
    SignFrame,
    SignJob,
    read_request,
    write_frame,
)
from tests.contents import sign_digest
from tests.pki import Holder

_WIDTHS = {"sha256": 32, "sha384": 48, "sha512": 64}


class FakeLane:
    """One lane.

    Attributes:
        frames: every frame received, in order.
        gate: while clear, frames are received but not answered.
        failure: answered to every job instead of a signature.
        rewrite: makes something else of an answer: what a broken lane would send.
        greeting: sent instead of the usual one.
        call_timeout: what the greeting says of it.
    """

    def __init__(self, socket: Path, holders: Mapping[str, Holder]) -> None:
        self.socket = socket
        self.frames: list[SignFrame] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Condition()
        self.failure: SignFailure | None = None
        self.rewrite: Callable[[SignedFrame], bytes] | None = None
        self.greeting: Reply | None = None
        self.call_timeout = 60.0
        self._holders = holders
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def jobs(self) -> list[SignJob]:
        """Every job received, in order."""
        return [job for frame in self.frames for job in frame.jobs]

    async def start(self) -> None:
        """Listen."""
        self.socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def die(self) -> None:
        """End as a killed lane does: connections cut, nobody listening, its socket left behind."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for peer in self._peers:
            peer.transport.abort()
        while self._serving:
            await self._serving.pop()

    async def say(self, reply: Reply) -> None:
        """Say something to every peer, asked or not."""
        for peer in self._peers:
            peer.write(write_frame(reply))
            await peer.drain()

    async def receive(self, frames: int) -> None:
        """Wait until so many frames have arrived since the lane was made."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.frames) >= frames)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(writer)
        self._serving.add(cast("asyncio.Task[None]", asyncio.current_task()))
        writer.write(write_frame(self.greeting or self._hello()))
        line: asyncio.Queue[SignFrame] = asyncio.Queue()
        replying = asyncio.create_task(self._reply(line, writer))
        try:
            await self._receive(reader, line)
        except FrameTooLarge as exc:
            writer.write(write_frame(Refused("FRAME_TOO_LARGE", str(exc))))
        except msgspec.DecodeError:
            writer.write(write_frame(Refused("FRAME_MALFORMED", "the frame is no request to sign")))
        except ConnectionError:
            pass  # the peer has gone
        finally:
            replying.cancel()
            self._peers.discard(writer)
            writer.close()

    async def _receive(
        self, reader: asyncio.StreamReader, line: "asyncio.Queue[SignFrame]"
    ) -> None:
        frames = FrameReader()
        while octets := await reader.read(65536):
            for payload in frames.feed(octets):
                frame = read_request(payload)
                line.put_nowait(frame)
                async with self.arrived:
                    self.frames.append(frame)
                    self.arrived.notify_all()

    async def _reply(self, line: "asyncio.Queue[SignFrame]", writer: asyncio.StreamWriter) -> None:
        while True:
            frame = await line.get()
            await self.gate.wait()
            signed = self._sign(frame)
            writer.write(self.rewrite(signed) if self.rewrite else write_frame(signed))

    def _hello(self) -> Hello:
        facts = []
        for name, holder in self._holders.items():
            kind = "rsa" if isinstance(holder.key, rsa.RSAPrivateKey) else "ec"
            facts.append(KeyFacts(name, kind, holder.key.key_size, holder.public_key, 1))
        return Hello("fake", facts, os.getpid(), self.call_timeout)

    def _sign(self, frame: SignFrame) -> SignedFrame:
        results, uses = [], {}
        for job in frame.jobs:
            result = self.failure or self._refusal(job)
            if result is None:
                result = sign_digest(self._holders[job.key], job.digest, job.hash_name)
                signatures = uses[job.key].signatures if job.key in uses else 0
                uses[job.key] = KeyUse(signatures + 1, 0.001 * (signatures + 1))
            results.append(result)
        return SignedFrame(frame.batch, results, uses)

    def _refusal(self, job: SignJob) -> SignFailure | None:
        if time.monotonic() > job.deadline:
            return SignFailure("DEADLINE_PASSED", "expired", "the lane reached it too late")
        if job.key not in self._holders:
            return SignFailure("KEY_UNKNOWN", "request", f"this lane has no key `{job.key}`")
        if job.hash_name not in _WIDTHS:
            return SignFailure("HASH_UNKNOWN", "request", f"no hash `{job.hash_name}`")
        if len(job.digest) != _WIDTHS[job.hash_name]:
            return SignFailure("DIGEST_LENGTH", "request", "the digest is not of this hash")
        return None


@contextlib.asynccontextmanager
async def fake_lane(socket: Path, holders: Mapping[str, Holder]) -> AsyncIterator[FakeLane]:
    """Run a lane until the block ends."""
    lane = FakeLane(socket, holders)
    await lane.start()
    try:
        yield lane
    finally:
        lane.gate.set()
        await lane.die()


class SpareProcess:
    """A process that waits to be a lane; it has its program loaded."""

    returncode: int | None = None

    def kill(self) -> None:
        """End."""
        self.returncode = -9

    async def wait(self) -> int | None:
        """Return its status."""
        return self.returncode
