"""The worker's end of a lane: connects, sends frames, hands back what was signed, reconnects when the lane is replaced.

Owns one connection at a time and the frames on it. Promises that each batch sent is reported exactly once, signed or lost; that it
keeps trying with a bounded backoff for as long as it is open; that a lane which stops answering is let go of, so that another can have
its batches; and that a lane's speed is measured, not assumed.
"""

import asyncio
import contextlib
import random
from collections import deque
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

from appliance import log
from appliance.signing.line import SigningBatch
from hsm.wire import (
    FrameReader,
    FrameTooLarge,
    Hello,
    Prove,
    Refused,
    Reply,
    SignedFrame,
    SignFrame,
    read_reply,
    write_frame,
)

WINDOW: Final = 2
"""Frames on the way to one lane: one being signed, one waiting so that the lane never does."""

_LOG: Final = log.Log("signing")
_CONNECT_TIMEOUT: Final = 2.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.25
_STEADY: Final = 1.0
_ASSUMED_SECONDS: Final = 0.001
_WEIGHT: Final = 0.2
_DOUBT_AT_MOST_EVERY: Final = 1.0
_ANSWER_GRACE: Final = 1.0
"""Seconds an answer may be late beyond the lane's call timeout and what signing is expected to take."""

_HUNG_SHARE: Final = 0.9
"""Share of the call timeout after which the end of a lane that owes an answer is taken for that of a hung call: the lane's clock for it
starts when its call does, ours when we hear of the answer before."""


class LaneListener(Protocol):
    """Who is told what becomes of a lane and of the batches sent to it."""

    def lane_opened(self, lane: "LaneClient") -> None:
        """The lane can take batches."""

    def batch_signed(self, lane: "LaneClient", batch: SigningBatch, signed: SignedFrame) -> None:
        """The lane has answered; as many results as tickets, in their order."""

    def lane_lost(
        self, lane: "LaneClient", batches: list[SigningBatch], cause: Refused | None
    ) -> None:
        """The lane is gone, for the reason it gave or its silence gives, if there is one; these batches will get no answer."""


class LaneClient:
    """One lane as seen from a worker.

    Attributes:
        token: the token it has its session on.
        name: `token/index`, as metrics and logs call it.
        rests_until: instant (monotonic) up to which other lanes are to be preferred.
    """

    def __init__(self, token: str, index: int, socket: Path, listener: LaneListener) -> None:
        self.token: Final = token
        self.name: Final = f"{token}/{index}"
        self.rests_until = 0.0
        self._socket: Final = socket
        self._listener: Final = listener
        # connection
        self._connection: _LaneConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._knocked: Final = asyncio.Event()
        self._cause: Refused | None = None
        self._doubted_at = 0.0
        # batches
        self._sent: Final[deque[SigningBatch]] = deque()
        self._number = 0
        self._load = 0.0
        self._seconds: Final[dict[str, float]] = {}
        # answers
        self._heard_at = 0.0
        self._look: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        state = "up" if self.is_up() else "down"
        return f"LaneClient({self.name}, {state}, {len(self._sent)} batches, {self._load:.4f} s)"

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def knock(self) -> None:
        """Try to connect at once, if it is not connected: a lane is said to have opened."""
        self._knocked.set()

    async def aclose(self) -> None:
        """Close the connection; batches on it are reported lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.abandon()
        if self._look is not None:
            self._look.cancel()

    def is_up(self) -> bool:
        """Whether a lane listens at the other end."""
        return self._connection is not None

    def is_idle(self) -> bool:
        """Whether nothing is on the way to it."""
        return not self._sent

    def has_room(self) -> bool:
        """Whether it may be sent a batch now."""
        return self._connection is not None and len(self._sent) < WINDOW

    @property
    def load(self) -> float:
        """Seconds of signing it has been sent and not answered, by its own measure."""
        return self._load

    @property
    def batches(self) -> tuple[SigningBatch, ...]:
        """What is on the way to it."""
        return tuple(self._sent)

    def seconds_of(self, key: str) -> float:
        """How long it takes for one signature with the key: a moving average, a guess before the first one."""
        return self._seconds.get(key, _ASSUMED_SECONDS)

    @property
    def pace(self) -> float:
        """How long one signature takes with its slowest key."""
        return max(self._seconds.values(), default=_ASSUMED_SECONDS)

    def doubt(self, now: float) -> None:
        """Have the lane prove its keys again, unless it was told to within the last second."""
        if self._connection is not None and now - self._doubted_at >= _DOUBT_AT_MOST_EVERY:
            self._doubted_at = now
            self._connection.write(write_frame(Prove()))

    def send(self, batch: SigningBatch) -> None:
        """Send a batch; only while `has_room`."""
        if self._connection is None:
            raise RuntimeError(f"{self!r} cannot send")
        if not self._sent:
            self._await_answer(self._connection)
        self._number += 1
        self._sent.append(batch)
        self._load += batch.expected_seconds
        frame = SignFrame(self._number, [ticket.job for ticket in batch.tickets])
        self._connection.write(write_frame(frame))

    def abandon(self) -> None:
        """Let go of the connection, because the lane behind it no longer signs; batches on it are reported lost."""
        connection = self._connection
        if connection is not None:
            connection.close()
            self._lose(connection)

    # What the connection reports.

    def receive(self, connection: "_LaneConnection", signed: SignedFrame) -> None:
        """Take the answer to the oldest batch."""
        if connection is not self._connection:
            return
        expected = self._number - len(self._sent) + 1
        if (
            not self._sent
            or signed.batch != expected
            or len(signed.results) != len(self._sent[0].tickets)
        ):
            _LOG.error("lane-answer-unexpected", lane=self.name, batch=signed.batch)
            self.abandon()
            return
        self._heard_at = asyncio.get_running_loop().time()
        batch = self._sent.popleft()
        self._load = self._load - batch.expected_seconds if self._sent else 0.0
        self._measure(signed)
        self._listener.batch_signed(self, batch, signed)

    def dismiss(self, connection: "_LaneConnection", refused: Refused) -> None:
        """Take note of why the lane is about to end the connection."""
        _LOG.error("lane-refused", lane=self.name, code=refused.code, detail=refused.detail)
        if connection is self._connection:
            self._cause = refused

    def disconnect(self, connection: "_LaneConnection") -> None:
        """Take note that the connection has ended."""
        if connection is self._connection:
            self._lose(connection)

    def _lose(self, connection: "_LaneConnection") -> None:
        cause = self._cause or self._hung(connection)
        self._connection, self._cause = None, None
        batches = list(self._sent)
        self._sent.clear()
        self._load = 0.0
        self._listener.lane_lost(self, batches, cause)

    def _hung(self, connection: "_LaneConnection") -> Refused | None:
        """What a lane whose call never returned cannot say itself: it owed an answer for longer than a call may take."""
        owed = asyncio.get_running_loop().time() - self._heard_at
        if not self._sent or owed < connection.call_timeout * _HUNG_SHARE:
            return None
        return say_hung(self.token, connection.call_timeout)

    def _await_answer(self, connection: "_LaneConnection") -> None:
        """Look after the lane from here on; one timer serves all of its frames, however many there are in a second."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        if self._look is None:
            self._look = loop.call_later(connection.call_timeout, self._look_after)

    def _look_after(self) -> None:
        """Let go of a lane that has owed an answer for too long: its process may be stopped, and then nothing else would tell."""
        self._look = None
        connection = self._connection
        if connection is None or not self._sent:
            return
        loop = asyncio.get_running_loop()
        left = self._heard_at + connection.call_timeout + _ANSWER_GRACE + self._load - loop.time()
        if left > 0:
            self._look = loop.call_later(left, self._look_after)
        else:
            _LOG.error("lane-silent", lane=self.name, batches=len(self._sent))
            self.abandon()

    def _measure(self, signed: SignedFrame) -> None:
        for key, use in signed.uses.items():
            each = use.seconds / use.signatures
            before = self._seconds.get(key, each)
            self._seconds[key] = before + _WEIGHT * (each - before)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            connection = await self._connect()
            if connection is not None:
                since = loop.time()
                self._connection = connection
                self._listener.lane_opened(self)
                await connection.ended.wait()
                if loop.time() - since > _STEADY:
                    pause = _FIRST_PAUSE
            # Jitter keeps the workers of one box from knocking at a new lane in step.
            await self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _rest(self, pause: float) -> None:
        """Wait for so many seconds, or until a lane is said to have opened."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._knocked.wait()
        self._knocked.clear()

    async def _connect(self) -> "_LaneConnection | None":
        """Connect and wait to be greeted; None when there is no lane that wants us."""
        loop = asyncio.get_running_loop()
        connection = _LaneConnection(self)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await loop.create_unix_connection(lambda: connection, str(self._socket))
                await connection.greeted.wait()
        except (OSError, TimeoutError):
            connection.close()
            return None
        return None if connection.ended.is_set() else connection


def say_hung(token: str, call_timeout: float) -> Refused:
    """Say what a lane whose call never returned cannot say itself."""
    detail = (
        f"CALL_TIMEOUT at token `{token}`: a call into its module did not return within {call_timeout:g} s; "
        "check the module with its vendor's tool"
    )
    return Refused("CALL_TIMEOUT", detail, "device")


class _LaneConnection(asyncio.Protocol):
    """Octets to replies, and the two things one waits for: the greeting and the end.

    Attributes:
        call_timeout: what the lane says it gives a call into its module; 0 before the greeting.
    """

    def __init__(self, lane: LaneClient) -> None:
        self.call_timeout = 0.0
        self.greeted: Final = asyncio.Event()
        self.ended: Final = asyncio.Event()
        self._lane: Final = lane
        self._reader: Final = FrameReader()
        self._transport: asyncio.Transport | None = None

    def write(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's transports are none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._receive(read_reply(payload))
        except (FrameTooLarge, msgspec.DecodeError) as exc:
            _LOG.error("lane-speaks-otherwise", lane=self._lane.name, detail=str(exc))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.ended.set()
        self.greeted.set()
        self._lane.disconnect(self)

    def _receive(self, reply: Reply) -> None:
        if isinstance(reply, SignedFrame):
            self._lane.receive(self, reply)
        elif isinstance(reply, Hello):
            self.call_timeout = reply.call_timeout
            self.greeted.set()
        elif isinstance(reply, Refused):
            self._lane.dismiss(self, reply)
            self.close()
        else:
            unasked = "a checkpoint nobody asked for"
            _LOG.error("lane-speaks-otherwise", lane=self._lane.name, detail=unasked)
            self.close()
