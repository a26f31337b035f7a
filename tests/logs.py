"""Logs for the tests of the trace: an audit key in software that keeps the lane's rules, shards on it, and logs made whole."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.clock import Clock, SystemClock
from appliance.errors import CheckpointRefused, Reason
from appliance.trace.checkpoint import AuditKey, read_audit_key
from appliance.trace.disk import Disk
from appliance.trace.integrator import IntegrationSettings
from appliance.trace.names import LogName
from appliance.trace.reader import StoredEntry
from appliance.trace.record import TraceEntry
from appliance.trace.shard import Shard, ShardSettings
from appliance.trace.spool import SpoolSettings
from appliance.trace.view import LogPlace
from hsm.checkpoints import extends, write_text
from hsm.heads import SignedHead
from tests.trace_entries import make_entry

ORIGIN = "trace.test/appliance"
NAME = LogName("worker-0", "standard", 2026)


class SoftwareSigner:
    """Signs what extends the last it signed, as a lane does (`tests/contract/test_checkpoint_contract.py` compares them).

    Attributes:
        heads: the last checkpoint signed, by origin.
        fault: raised instead of signing, while set.
    """

    def __init__(self, seed: int = 1) -> None:
        self._private: Final = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.heads: dict[str, SignedHead] = {}
        self.fault: Exception | None = None
        self.asked = 0

    @property
    def key(self) -> AuditKey:
        """The public half."""
        public = self._private.public_key()
        return read_audit_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def pem(self) -> bytes:
        """The public half, as a file holds it."""
        return self._private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, origin: str, size: int, root: bytes, first: int, proof: list[bytes]) -> bytes:
        """Sign, or refuse as a lane would."""
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        last = self.heads.get(origin)
        if last is not None and first != last.size:
            raise CheckpointRefused(Reason.CHECKPOINT_NOT_LAST, "prove from the last", last.size)
        if last is not None and not extends(last, size, root, proof):
            raise CheckpointRefused(Reason.LOG_DISAGREES, "inconsistent", last.size)
        self.heads[origin] = SignedHead(origin, size, root)
        return self.sign_text(write_text(origin, size, root))

    def sign_text(self, text: bytes) -> bytes:
        """Sign anything: what a thief of the key could do."""
        return self._private.sign(text)


def make_settings(
    home: Path, signer: SoftwareSigner, *earlier: AuditKey, **overrides: object
) -> ShardSettings:
    """The settings of a home's logs; every checkpoint is made at once unless told otherwise."""
    integration = IntegrationSettings(**({"every": 0.01} | overrides))
    return ShardSettings(
        home / "spool",
        home / "log",
        home / "certificates",
        ORIGIN,
        (signer.key, *earlier),
        SpoolSettings(segment=20_000),
        integration,
    )


def write_shard(
    home: Path,
    commits: Sequence[Sequence[TraceEntry]],
    signer: SoftwareSigner | None = None,
    name: LogName = NAME,
    **overrides: object,
) -> Path:
    """Open a log, append, close it; returns the log's directory, whose first entry is the opening."""
    signer = signer or SoftwareSigner()

    async def write() -> None:
        settings = make_settings(home, signer, **overrides)
        shard = await Shard.open(name, settings, signer, SystemClock())
        for commit in commits:
            await shard.append_many(commit)
        await shard.aclose()

    asyncio.run(write())
    return home / "log" / str(name)


def numbered(count: int, **overrides: object) -> list[TraceEntry]:
    """So many entries, each about a vector of its own."""
    return [make_entry(assertion_id=f"_{number}", **overrides) for number in range(count)]


async def open_shard(
    home: Path,
    signer: SoftwareSigner,
    disk: Disk | None = None,
    clock: Clock | None = None,
    **overrides: object,
) -> Shard:
    """Open the log `NAME` of a home."""
    settings = make_settings(home, signer, **overrides)
    return await Shard.open(NAME, settings, signer, clock or SystemClock(), disk)


def entries_of_home(home: Path) -> list[StoredEntry]:
    """Every entry of every log of a home, those about logs themselves left out."""
    place = LogPlace(home / "log", home / "spool")
    return [
        stored
        for name in place.names()
        for stored in place.view(name).read()
        if not stored.entry.event.startswith("log-")
    ]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread to have come so far."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - threads announce nothing to a loop
            await asyncio.sleep(0.002)
