"""A plain, blocking peer of a lane, for tests that speak its protocol themselves."""

import hashlib
import os
import socket
import time
from pathlib import Path

from hsm.wire import (
    FrameReader,
    Hello,
    Refused,
    Reply,
    SignedFrame,
    SignFailure,
    SignFrame,
    SignJob,
    read_reply,
    write_frame,
)

TIMEOUT = 10.0


class Peer:
    """One connection; what the lane says first is the first thing to receive."""

    def __init__(self, lane: Path) -> None:
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.settimeout(TIMEOUT)
        self.channel.connect(str(lane))
        self._reader = FrameReader()
        self._replies: list[Reply] = []

    def send(self, *jobs: SignJob, batch: int = 1) -> None:
        """Send one frame."""
        self.channel.sendall(write_frame(SignFrame(batch, list(jobs))))

    def receive(self) -> Hello | SignedFrame | Refused | None:
        """Return the next reply; None when the lane has closed."""
        while not self._replies:
            octets = self.channel.recv(65536)
            if not octets:
                return None
            self._replies += [read_reply(payload) for payload in self._reader.feed(octets)]
        return self._replies.pop(0)

    def sign(self, *jobs: SignJob) -> list[bytes | SignFailure]:
        """Send one frame and return its results."""
        self.send(*jobs)
        return self.receive().results


def make_job(key: str = "rsa-2048", hash_name: str = "sha256", **overrides: object) -> SignJob:
    """Build a job that a lane would sign."""
    digest = hashlib.new(hash_name, os.urandom(8)).digest()
    fields = {"key": key, "hash_name": hash_name, "digest": digest}
    return SignJob(**(fields | {"deadline": time.monotonic() + TIMEOUT} | overrides))
