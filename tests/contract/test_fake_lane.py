"""The fake lane of the unit tests answers what a real lane answers: where it drifts, this fails."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hsm.wire import (
    FRAME_LIMIT,
    FrameReader,
    Reply,
    SignFrame,
    SignJob,
    read_reply,
    write_frame,
)
from tests.fake_lane import fake_lane
from tests.pki import Holder, ec_key, make_pki, rsa_key
from tests.softhsm import SoftHsm, run_lane

pytestmark = pytest.mark.hsm

DIGEST = hashlib.sha256(b"signed").digest()
JOBS = [
    ("rsa-2048", "sha256", DIGEST, 60.0),
    ("p-256", "sha256", DIGEST, 60.0),
    ("p-256", "sha512", DIGEST * 2, 60.0),
    ("absent", "sha256", DIGEST, 60.0),
    ("rsa-2048", "md5", DIGEST[:16], 60.0),
    ("rsa-2048", "sha1", DIGEST[:20], 60.0),
    ("rsa-2048", "sha256", DIGEST[1:], 60.0),
    ("rsa-2048", "sha256", b"", 60.0),
    ("rsa-2048", "sha256", DIGEST, -60.0),
]
BREACHES = [
    (FRAME_LIMIT + 1).to_bytes(4, "big"),
    b"\0\0\0\1\xc1",
    b"\0\0\0\0",
]


async def converse(socket: Path, octets: bytes, replies: int) -> list[Reply | None]:
    """Send octets, and return so many replies; None for the end."""
    reader, writer = await asyncio.open_unix_connection(socket)
    frames, received = FrameReader(), []
    writer.write(octets)
    async with asyncio.timeout(10):
        while len(received) < replies:
            piece = await reader.read(65536)
            received += [read_reply(payload) for payload in frames.feed(piece)]
            if not piece:
                received.append(None)
    writer.close()
    return received


def show(replies: Sequence[Reply | None]) -> list[object]:
    """What of the replies does not depend on keys, processes and moments."""
    hello, *others = replies
    shown: list[object] = [[(key.name, key.kind, key.bits) for key in hello.keys]]
    for reply in others:
        if reply is None:
            shown.append("end")
        elif hasattr(reply, "results"):
            uses = {key: use.signatures for key, use in reply.uses.items()}
            shown += [reply.batch, uses, [outline(result) for result in reply.results]]
        else:
            shown.append(reply.code)
    return shown


def outline(result: object) -> object:
    """The length of a signature, or the code and kind of a failure."""
    return len(result) if isinstance(result, bytes) else (result.code, result.kind)


def make_frames() -> bytes:
    """Two frames, one job of each sort in the first."""
    now = time.monotonic()
    jobs = [SignJob(key, name, digest, now + left) for key, name, digest, left in JOBS]
    return write_frame(SignFrame(7, jobs)) + write_frame(SignFrame(8, jobs[:1]))


def test_the_fake_answers_as_a_lane(softhsm: SoftHsm, short_path: Path) -> None:
    """The greeting, each sort of job, and each breach of the protocol are answered alike."""
    pki = make_pki("partner")
    private = {"rsa-2048": 2048, "rsa-4096": 4096, "p-256": 0}
    holders = {name: holder_of(bits, pki.leaf.certificate) for name, bits in private.items()}
    keys = tuple(softhsm.keys[name] for name in private)

    async def run(real: Path) -> None:
        async with fake_lane(short_path / "fake.sock", holders) as fake:
            for octets, replies in [(make_frames(), 3), *((breach, 3) for breach in BREACHES)]:
                expected = show(await converse(real, octets, replies))
                assert show(await converse(fake.socket, octets, replies)) == expected

    with run_lane(softhsm.lane_settings(short_path, keys=keys)) as lane:
        asyncio.run(run(lane.socket))


def holder_of(bits: int, certificate: bytes) -> Holder:
    """A key in memory: RSA of so many bits, P-256 for none."""
    key = rsa_key(f"fake-{bits}", bits) if bits else ec_key("fake")
    return Holder(key, certificate, None)
