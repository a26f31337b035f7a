"""Has checkpoints of the trace signed by a lane that holds the audit key: blocking, for the threads that make them.

Owns one connection at a time. Promises that every call ends within its timeouts, and that a lane which cannot sign is passed over for the
next before the call is refused by name.
"""

import contextlib
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.errors import CheckpointRefused, HsmUnavailable, Reason
from hsm import wire
from hsm.wire import CheckpointFrame, FrameReader, FrameTooLarge, Hello, Reply

_ANSWER_WITHIN: Final = (
    6.0  # more than a lane's call deadline, after which the lane is gone and so is the wait
)
_READ_OCTETS: Final = 65536
_FOR_THE_LOG: Final = {
    "CHECKPOINT_NOT_LAST": Reason.CHECKPOINT_NOT_LAST,
    "CHECKPOINT_INCONSISTENT": Reason.LOG_DISAGREES,
}


class CheckpointClient:
    """The lanes of the token that holds the audit key; any thread may call, one at a time is served."""

    def __init__(self, lanes: Sequence[Path]) -> None:
        self._lanes: Final = tuple(lanes)
        self._lock: Final = threading.Lock()
        self._connection: _Connection | None = None

    def __repr__(self) -> str:
        return f"CheckpointClient({len(self._lanes)} lanes)"

    def sign(self, origin: str, size: int, root: bytes, first: int, proof: list[bytes]) -> bytes:
        """Sign a checkpoint that extends the one of size `first`.

        Raises:
            HsmUnavailable: no lane signs now.
            CheckpointRefused: the checkpoint does not extend the last one signed for the origin.
        """
        frame = wire.write_frame(CheckpointFrame(origin, size, root, first, proof))
        with self._lock:
            detail = "the audit key's token has no lane"
            for lane in (None, *self._lanes):
                try:
                    answer = self._exchange(lane, frame)
                except (OSError, FrameTooLarge, msgspec.DecodeError) as exc:
                    detail = f"no lane signs checkpoints ({exc}); `appliance doctor` says why"
                    self._hang_up()
                    continue
                if isinstance(answer, wire.CheckpointSigned):
                    return answer.signature
                if isinstance(answer, wire.CheckpointRefused) and answer.code in _FOR_THE_LOG:
                    raise CheckpointRefused(_FOR_THE_LOG[answer.code], answer.detail, answer.size)
                if isinstance(answer, wire.CheckpointRefused | wire.Refused):
                    detail = answer.detail
                self._hang_up()
        raise HsmUnavailable(Reason.HSM_UNAVAILABLE, detail)

    def close(self) -> None:
        """Let go of the lane."""
        with self._lock:
            self._hang_up()

    def _exchange(self, lane: Path | None, frame: bytes) -> Reply:
        """Ask one lane, or, for None, the one that answered last."""
        if lane is not None:
            self._connection = _Connection(lane)
        if self._connection is None:
            raise ConnectionError("not connected")
        return self._connection.exchange(frame)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Connection:
    """One greeted connection to a lane."""

    def __init__(self, lane: Path) -> None:
        self._reader: Final = FrameReader()
        self._channel: Final = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._channel.settimeout(_ANSWER_WITHIN)
        try:
            self._channel.connect(str(lane))
            greeting = self._receive()
        except BaseException:
            self._channel.close()
            raise
        if not isinstance(greeting, Hello) or greeting.audit is None:
            self._channel.close()
            raise ConnectionError("the lane has no audit key")

    def exchange(self, frame: bytes) -> Reply:
        self._channel.sendall(frame)
        return self._receive()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.close()

    def _receive(self) -> Reply:
        while True:
            octets = self._channel.recv(_READ_OCTETS)
            if not octets:
                raise ConnectionError("the lane has closed the connection")
            payloads = self._reader.feed(octets)
            if payloads:
                return wire.read_reply(payloads[0])
