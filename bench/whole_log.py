"""A whole log for measurements: how long it takes to verify one, and to open it, and for how long opening keeps the event loop waiting."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.clock import SystemClock
from appliance.native import LogEdge
from appliance.trace.checkpoint import Checkpoint, read_audit_key, write_note
from appliance.trace.names import LogName
from appliance.trace.record import TraceEntry, write_entry
from appliance.trace.shard import Shard, ShardSettings
from appliance.trace.verify import verify_log

NAME: Final = LogName("worker-0", "standard", 2026)
_PORTION: Final = 16_384
_TICK: Final = 0.001
_ORIGIN: Final = "bench/trace"
ENTRY: Final = TraceEntry(
    event="created",
    time="2026-03-01T10:00:00.000Z",
    request_id="0123456789abcdef01234567",
    caller="loopback",
    peer="127.0.0.1",
    convention="demo-client",
    assertion_id="_00000000-0000-4000-8000-000000000000",
    assertion_sha256="0" * 64,
    issuer="urn:interops:73282932000074:idp:demo:1",
    audience="http://service.demo.example/droits",
    recipient="urn:interops:sp:73282932000074:demo",
    subject="agent-0042",
    name_id="agent-0042",
    pagms=("PAGM_CONSULTATION",),
    level="urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
    issue_instant="2026-03-01T10:00:00.000Z",
    authn_instant="2026-03-01T10:00:00.000Z",
    not_before="2026-03-01T09:59:50.000Z",
    not_on_or_after="2026-03-01T11:00:00.000Z",
    key="demo-rsa",
    certificate_sha256="0" * 64,
    algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
)
"""The size of a vector's entry in the demo home, 1.0 KB; the octets do not matter to a disk."""


@dataclass(frozen=True, slots=True)
class WholeLog:
    """What became of one log.

    Attributes:
        verified, opened: seconds, and seconds of processor.
        longest_wait: the longest that the event loop was kept from turning while the log was opened.
    """

    entries: int
    octets: int
    verified: tuple[float, float]
    opened: tuple[float, float]
    longest_wait: float

    def __str__(self) -> str:
        seconds, processor = self.verified
        opened, opening = self.opened
        return (
            f"verified {self.entries:,} entries ({self.octets / 1e6:,.0f} MB) in {seconds:.1f} s, {processor:.1f} s of processor: "
            f"{self.entries / seconds:,.0f} entries/s\n"
            f"opened and rebuilt in {opened:.1f} s, {opening:.1f} s of processor; the event loop was kept waiting for "
            f"{self.longest_wait * 1000:.0f} ms at most"
        )


def measure_whole(directory: Path, entries: int) -> WholeLog:
    """Make a log of so many entries; verify it from its files and the public key, and open it as a writer does."""
    signer = AuditSigner()
    octets = _make_log(directory / str(NAME), entries, signer)
    began, processor = time.monotonic(), time.process_time()
    verify_log(directory / str(NAME), [signer.key])
    verified = time.monotonic() - began, time.process_time() - processor
    began, processor = time.monotonic(), time.process_time()
    longest_wait = uvloop.run(_open(directory, signer))
    opened = time.monotonic() - began, time.process_time() - processor
    return WholeLog(entries, octets, verified, opened, longest_wait)


def _make_log(log: Path, entries: int, signer: "AuditSigner") -> int:
    """Write the files of a log; return how many octets they have."""
    origin, edge, size = f"{_ORIGIN}/{NAME}", LogEdge(0, [], b""), 0
    for octets in _portions(entries, signer.key.vkey(origin)):
        growth = edge.grow(octets)
        for path, content in growth.files:
            (log / path).parent.mkdir(parents=True, exist_ok=True)
            (log / path).write_bytes(content)
            size += len(content)
        edge = growth.edge
    checkpoint = Checkpoint(origin, edge.size, edge.root)
    signature = signer.sign(origin, edge.size, edge.root, 0, [])
    (log / "checkpoint").write_bytes(write_note(checkpoint, signer.key, signature))
    return size


def _portions(entries: int, vkey: str) -> Iterator[list[bytes]]:
    opening = TraceEntry(
        event="log-opened", time=ENTRY.time, origin=f"{_ORIGIN}/{NAME}", audit_key=vkey
    )
    for start in range(0, entries, _PORTION):
        # Every entry is another one, as in life: a verifier that remembers hashes gains nothing.
        octets = [
            write_entry(msgspec.structs.replace(ENTRY, request_id=f"{at:024}"))
            for at in range(start, min(start + _PORTION, entries))
        ]
        yield octets if start else [write_entry(opening), *octets[1:]]


async def _open(directory: Path, signer: "AuditSigner") -> float:
    """Open the log and hold it against its checkpoint; return the longest that this loop did not turn."""
    settings = ShardSettings(
        directory / "spool", directory, directory / "certificates", _ORIGIN, (signer.key,)
    )
    opening = asyncio.create_task(Shard.open(NAME, settings, signer, SystemClock()))
    longest, turned = 0.0, time.monotonic()
    while not opening.done():
        await asyncio.sleep(_TICK)
        longest, turned = max(longest, time.monotonic() - turned - _TICK), time.monotonic()
    shard = await opening
    await shard.rebuilt()
    await shard.aclose()
    return longest


class AuditSigner:
    """An audit key in software."""

    def __init__(self) -> None:
        self._private: Final = Ed25519PrivateKey.generate()
        public = self._private.public_key()
        self.key: Final = read_audit_key(
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, origin: str, size: int, root: bytes, first: int, proof: list[bytes]) -> bytes:
        del first, proof
        return self._private.sign(Checkpoint(origin, size, root).text.encode())
