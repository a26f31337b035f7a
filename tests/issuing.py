"""An issue operation with a signer in software (real signatures) and a real trace on a real disk."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from appliance.cache.replay_guard import LocalReplayGate, ReplayGuard, prepare_guard
from appliance.cache.vector_cache import CacheLimits, VectorCache
from appliance.clock import Clock, FixedClock
from appliance.conventions.model import Convention
from appliance.conventions.registry import Registry, RegistryCell
from appliance.conventions.retention import trace_policy
from appliance.errors import ApplianceError, QueueFull, Reason
from appliance.operations.issue import IssueOperation, IssueSettings
from appliance.operations.verify import VerifyOperation
from appliance.signing.job import SigningJob
from appliance.signing.keyring import Keyring
from appliance.signing.queue import SigningQueue
from appliance.trace.logs import TraceLogs
from appliance.trace.privacy import Pseudonyms
from appliance.trace.record import Receipt, TraceEntry
from appliance.trace.refusals import RefusalSettings
from appliance.trace.view import LogPlace
from tests.logs import SoftwareSigner as AuditSigner, entries_of_home, make_settings
from tests.pki import HASHES, NOW, Holder, write_pem


@dataclass(frozen=True)
class KeyRef:
    """A `[[key]]` as the keyring reads it."""

    name: str
    certificates: Path
    mechanism: str = ""


@dataclass
class SoftwareSigner:
    """Signs with keys in memory, as the queue and its lanes would.

    Attributes:
        holders: KeyRef → key.
        failure: when set, every job is answered with it.
        is_faulty: answer signatures over something else.
        calls: the jobs of every call.
        doubted: the keys of signatures that did not verify.
    """

    holders: Mapping[str, Holder]
    clock: Clock
    failure: ApplianceError | None = None
    is_faulty: bool = False
    calls: list[Sequence[SigningJob]] = field(default_factory=list)
    signed_at: dict[str, float] = field(default_factory=dict)
    doubted: list[str] = field(default_factory=list)
    is_full: bool = False

    async def sign(
        self, key: str, hash_name: str, digest: bytes, deadline: float, octets: bytes = b""
    ) -> bytes:
        """Sign one digest."""
        [result] = await self.sign_many([SigningJob(key, hash_name, digest, deadline, octets)])
        if isinstance(result, ApplianceError):
            raise result
        return result

    async def sign_many(self, jobs: Sequence[SigningJob]) -> list[bytes | ApplianceError]:
        """Sign many digests."""
        self.calls.append(jobs)
        return [self.failure or self._sign(job) for job in jobs]

    def check_room(self) -> None:
        """Refuse what the queue has no room for."""
        if self.is_full:
            raise QueueFull(Reason.QUEUE_FULL, "the signing queue holds its jobs")

    def doubt(self, key: str) -> None:
        """Take note of a signature that does not verify."""
        self.doubted.append(key)

    def last_signed(self, key: str) -> float | None:
        """When the key last signed."""
        return self.signed_at.get(key)

    def _sign(self, job: SigningJob) -> bytes:
        digest = bytes(len(job.digest)) if self.is_faulty else job.digest
        algorithm = Prehashed(HASHES[job.hash_name])
        self.signed_at[job.key] = self.clock.monotonic()
        key = self.holders[job.key].key
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(digest, padding.PKCS1v15(), algorithm)
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(algorithm)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@dataclass
class Room:
    """What a test of the operations holds."""

    directory: Path
    cell: RegistryCell
    keyring: Keyring
    signer: SoftwareSigner
    trace: TraceLogs
    issue: IssueOperation
    verify: VerifyOperation

    def entries(self) -> list[TraceEntry]:
        """What is durable, read from the disk."""
        return [stored.entry for stored in entries_of_home(self.directory)]

    def entry_of(self, receipt: Receipt) -> TraceEntry:
        """The entry a receipt leads to."""
        place = LogPlace(self.directory / "log", self.directory / "spool")
        return next(place.view(receipt.log, receipt.index).read()).entry


@asynccontextmanager
async def make_room(
    directory: Path,
    holders: Mapping[str, Holder],
    *conventions: Convention,
    queue: SigningQueue | None = None,
    vectors: VectorCache | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Room]:
    """Open the trace and put the operations together; with a queue its lanes sign, else keys in memory."""
    clock = clock or FixedClock(NOW)
    keyring = make_keyring(directory, holders)
    cell = RegistryCell(Registry(conventions))
    signer = SoftwareSigner(holders, clock)
    audit = AuditSigner()
    trace = TraceLogs(
        writer="worker-0",
        settings=make_settings(directory, audit),
        refusals=RefusalSettings(),
        signer=audit,
        policy_of=lambda convention, issuer: trace_policy(cell.current, convention, issuer),
        pseudonyms=Pseudonyms(bytes(32)),
        clock=clock,
    )
    issue = IssueOperation(
        registry=cell,
        keys=keyring,
        signer=queue or signer,
        trace=trace,
        vectors=VectorCache(CacheLimits(1000, 10_000_000)) if vectors is None else vectors,
        clock=clock,
        new_uuid=uuid4,
        settings=IssueSettings(),
    )
    prepare_guard(directory / "replay.guard", 1000, NOW)
    try:
        with ReplayGuard(directory / "replay.guard") as guard:
            verify = VerifyOperation(cell, trace, clock, LocalReplayGate(guard))
            yield Room(directory, cell, keyring, signer, trace, issue, verify)
    finally:
        await trace.aclose()


def make_keyring(directory: Path, holders: Mapping[str, Holder]) -> Keyring:
    """Make a keyring of these keys, with their certificates in a directory."""
    return Keyring.load([_write_key(directory, name, holder) for name, holder in holders.items()])


def _write_key(directory: Path, name: str, holder: Holder) -> KeyRef:
    chain = [holder]
    while (issuer := chain[-1].issuer) is not None:
        chain.append(issuer)
    file = directory / f"{name}.pem"
    write_pem(file, *chain)
    return KeyRef(name, file)
