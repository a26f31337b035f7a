"""`python -m bench.lane_worker`: one of the workers of `bench lanes`, told on standard input what to do; it answers with what it counted.

It keeps enough in its queue to keep every lane busy from the moment it is told, and counts within the time it is told, which is the same
for all: CLOCK_MONOTONIC is the machine's.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from appliance.clock import SystemClock
from appliance.native import verify_digest
from appliance.signing.job import SigningJob
from appliance.signing.queue import SigningQueue
from appliance.signing.release import EVERY
from appliance.signing.settings import QueueSettings
from hsm.wire import KeyFacts

_ALGORITHMS: Final = {
    "rsa": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "ec": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
}

_PATIENCE: Final = 10.0
_OUTSTANDING: Final = 512
_DIGEST: Final = bytes(range(32))


class WorkerOrder(msgspec.Struct, frozen=True):
    """What a worker is told.

    Attributes:
        key: as the lanes describe it.
        batch: digests of a call.
        begin: instant (monotonic) at which to begin to count.
        seconds: how long to count.
    """

    token: str
    sockets: list[str]
    key: KeyFacts
    batch: int
    begin: float
    seconds: float


class WorkerCount(msgspec.Struct, frozen=True):
    """What it has counted.

    Attributes:
        seconds: how long it did.
        check_seconds: of the processor, spent verifying signatures.
        cpu_seconds: of its process.
    """

    signatures: int
    seconds: float
    check_seconds: float
    cpu_seconds: float


class _Worker:
    def __init__(self, order: WorkerOrder) -> None:
        self._order: Final = order
        self._end: Final = order.begin + order.seconds
        self._signed = 0
        self._checked_seconds = 0.0

    async def run(self) -> WorkerCount:
        order = self._order
        queue = SigningQueue(
            {order.token: [Path(socket) for socket in order.sockets]},
            {order.key.name: [order.token]},
            QueueSettings(),
            SystemClock(),
        )
        queue.start()
        callers = max(1, _OUTSTANDING // order.batch)
        async with asyncio.TaskGroup() as calls:
            for _ in range(callers):
                calls.create_task(self._call(queue))
            await asyncio.sleep(order.begin - time.monotonic())
            begun, cpu = time.monotonic(), time.process_time()
            self._signed, self._checked_seconds = 0, 0.0
            await asyncio.sleep(self._end - begun)
            count = WorkerCount(
                self._signed,
                time.monotonic() - begun,
                self._checked_seconds,
                time.process_time() - cpu,
            )
        await queue.aclose()
        return count

    async def _call(self, queue: SigningQueue) -> None:
        key, batch = self._order.key, self._order.batch
        algorithm, public_key = _ALGORITHMS[key.kind], key.public_key
        every = 1 if key.kind == "rsa" else EVERY
        while (now := time.monotonic()) < self._end:
            jobs = [SigningJob(key.name, "sha256", _DIGEST, now + _PATIENCE)] * batch
            signatures = await queue.sign_many(jobs)
            begun = time.thread_time()  # others want the cores, too
            for signature in signatures[::every]:
                if not isinstance(signature, bytes):
                    raise signature
                verify_digest(public_key, algorithm, _DIGEST, signature)
            self._checked_seconds += time.thread_time() - begun
            self._signed += len(signatures)


def main() -> None:
    """Say that the program is loaded, read the order, carry it out."""
    sys.stdout.buffer.write(b"{}\n")
    sys.stdout.buffer.flush()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerOrder)
    count = uvloop.run(_Worker(order).run())
    sys.stdout.buffer.write(msgspec.json.encode(count) + b"\n")


if __name__ == "__main__":
    main()
