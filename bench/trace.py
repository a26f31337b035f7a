"""What the trace costs: durable entries per second, how long an answer waits for its entry, and how long a log takes to verify.

Two closed loops tell the rate (one writer; many waiting, which share commits). Two open loops tell the wait: another process announces
arrivals at a steady rate, whatever becomes of them, and each is timed from its announcement to its receipt. Beside them stands what
the disk itself does: one entry written and synchronised, again and again, by a program that does nothing else. The logs are whole: every
second, or every 8,192 entries, what is durable moves into tiles and a checkpoint is signed (in software; a token's time is not in it).
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import shutil
import socket
import struct
import sys
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.clock import SystemClock
from appliance.native import LogEdge
from appliance.trace.checkpoint import Checkpoint, read_audit_key, write_note
from appliance.trace.disk import Disk
from appliance.trace.layout import SEGMENT_SUFFIX
from appliance.trace.names import LogName
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.segments import write_frame
from appliance.trace.shard import Shard, ShardSettings
from appliance.trace.verify import verify_log

_STAMP: Final = struct.Struct("d")
"""When an arrival was announced: seconds of the machine's monotonic clock."""
_PATIENCE: Final = 30.0
_NAME: Final = LogName("worker-0", "standard", 2026)
_PORTION: Final = 16_384
_ENTRY: Final = TraceEntry(
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
class TraceResult:
    """One measurement; seconds for times, per second for rates.

    Attributes:
        entries: durable entries.
        commits: synchronisations of the spool, each of which makes entries durable; those of tiles and checkpoints are not among them.
        p50, p99: from the append (closed loops) or the arrival (open loops) to the receipt.
        cpu: processor seconds of this process per second, its spool thread included.
    """

    scenario: str
    seconds: float
    entries: float
    commits: float
    p50: float
    p99: float
    slowest: float
    cpu: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench trace`."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        help="on the disk to measure; left as it was (default: the working directory)",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement (default 3)")
    parser.add_argument("--waiting", type=int, default=512, help="appenders at once (default 512)")
    parser.add_argument(
        "--rates", type=_read_rates, default=(1000, 5000), help="arrivals/s (default 1000,5000)"
    )
    parser.add_argument(
        "--verify", type=int, default=0, metavar="N", help="also verify a log of N entries"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bench-trace-", dir=arguments.directory) as made:
        directory = Path(made)
        results = [
            measure_disk(directory, arguments.seconds),
            *(
                measure_closed(directory, waiting, arguments.seconds)
                for waiting in (1, arguments.waiting)
            ),
            *(measure_open(directory, rate, arguments.seconds) for rate in arguments.rates),
        ]
        verified = measure_verify(directory, arguments.verify) if arguments.verify else None
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    if verified is not None:
        seconds, processor, octets = verified
        print(
            f"verified {arguments.verify:,} entries ({octets / 1e6:,.0f} MB) in {seconds:.1f} s, "
            f"{processor:.1f} s of processor: "
            f"{arguments.verify / seconds:,.0f} entries/s",
            file=sys.stderr if arguments.json else sys.stdout,
        )
    return 0


def measure_disk(directory: Path, seconds: float) -> TraceResult:
    """Write one entry and synchronise, again and again."""
    disk, frame, sample = Disk(), memoryview(write_frame(write_entry(_ENTRY))), _Sample()
    with (directory / "disk").open("wb") as file:
        while sample.is_running(seconds):
            began = time.monotonic()
            disk.write(file.fileno(), frame)
            disk.fdatasync(file.fileno())
            sample.latencies.append(time.monotonic() - began)
    return sample.sum_up("disk alone", len(sample.latencies))


def measure_closed(directory: Path, waiting: int, seconds: float) -> TraceResult:
    """Have `waiting` appenders each append the next entry when the last one is durable."""

    async def append(shard: Shard, sample: _Sample) -> None:
        while sample.is_running(seconds):
            began = time.monotonic()
            await shard.append(_ENTRY)
            sample.latencies.append(time.monotonic() - began)

    async def drive(shard: Shard, sample: _Sample) -> None:
        await asyncio.gather(*(append(shard, sample) for _ in range(waiting)))

    return _measure(f"{waiting:,} waiting", directory, drive)


def measure_open(directory: Path, rate: int, seconds: float) -> TraceResult:
    """Append at each arrival; arrivals do not wait for receipts."""

    async def drive(shard: Shard, sample: _Sample) -> None:
        with _arrivals(rate, seconds) as ours:
            await _Arrivals(shard, sample, ours, round(rate * seconds)).run()

    return _measure(f"{rate:,}/s arriving", directory, drive)


def _measure(
    scenario: str, directory: Path, drive: Callable[[Shard, "_Sample"], Awaitable[None]]
) -> TraceResult:
    async def measure() -> TraceResult:
        disk, signer = _CountingDisk(), _Signer()
        home = directory / f"home-{time.monotonic_ns()}"
        settings = ShardSettings(
            home / "spool", home / "log", home / "certificates", "bench/trace", (signer.key,)
        )
        shard = await Shard.open(_NAME, settings, signer, SystemClock(), disk)
        await shard.append(_ENTRY)
        disk.commits = 0
        sample = _Sample()
        await drive(shard, sample)
        result = sample.sum_up(scenario, disk.commits)
        await shard.aclose()
        shutil.rmtree(home)
        return result

    return uvloop.run(measure())


def measure_verify(directory: Path, entries: int) -> tuple[float, float, int]:
    """Make a log of so many entries, and verify it from its files and the public key; return seconds, processor seconds and octets."""
    signer = _Signer()
    log = directory / str(_NAME)
    origin = f"bench/trace/{_NAME}"
    edge = LogEdge(0, [], b"")
    opening = TraceEntry(
        event="log-opened", time=_ENTRY.time, origin=origin, audit_key=signer.key.vkey(origin)
    )
    octets = [write_entry(opening)]
    size = 0
    while edge.size < entries:
        wanted = min(_PORTION, entries - edge.size) - len(octets)
        # Every entry is another one, as in life: a verifier that remembers hashes gains nothing.
        octets += [
            write_entry(msgspec.structs.replace(_ENTRY, request_id=f"{edge.size + at:024}"))
            for at in range(wanted)
        ]
        growth = edge.grow(octets)
        for path, content in growth.files:
            (log / path).parent.mkdir(parents=True, exist_ok=True)
            (log / path).write_bytes(content)
            size += len(content)
        edge, octets = growth.edge, []
    checkpoint = Checkpoint(origin, edge.size, edge.root)
    signature = signer.sign(origin, edge.size, edge.root, 0, [])
    (log / "checkpoint").write_bytes(write_note(checkpoint, signer.key, signature))
    began, processor = time.monotonic(), time.process_time()
    verify_log(log, [signer.key])
    return time.monotonic() - began, time.process_time() - processor, size


class _Signer:
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


class _CountingDisk(Disk):
    def __init__(self) -> None:
        self.commits = 0
        self._segments: Final[set[int]] = set()

    def open(self, file: Path, flags: int) -> int:
        descriptor = super().open(file, flags)
        (self._segments.add if file.suffix == SEGMENT_SUFFIX else self._segments.discard)(
            descriptor
        )
        return descriptor

    def fdatasync(self, descriptor: int) -> None:
        super().fdatasync(descriptor)
        self.commits += descriptor in self._segments


@dataclass(slots=True)
class _Sample:
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    began: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=time.process_time)

    def is_running(self, seconds: float) -> bool:
        return time.monotonic() - self.began < seconds

    def sum_up(self, scenario: str, commits: int) -> TraceResult:
        seconds = time.monotonic() - self.began
        ordered = sorted(self.latencies)
        return TraceResult(
            scenario,
            seconds,
            len(ordered) / seconds,
            commits / seconds,
            _percentile(ordered, 50),
            _percentile(ordered, 99),
            _percentile(ordered, 100),
            (time.process_time() - self.processor) / seconds,
        )


class _Arrivals:
    """Appends an entry for each stamp that comes in, until as many receipts are there."""

    def __init__(
        self, shard: Shard, sample: _Sample, arriving: socket.socket, expected: int
    ) -> None:
        self._shard: Final = shard
        self._sample: Final = sample
        self._arriving: Final = arriving
        self._expected: Final = expected
        self._all: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._rest = b""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._arriving.recv(1)  # the other process is ready
        self._sample.began, self._sample.processor = time.monotonic(), time.process_time()
        self._arriving.send(b"!")
        self._arriving.setblocking(False)  # noqa: FBT003 - the socket's own signature
        loop.add_reader(self._arriving, self._read)
        async with asyncio.timeout(_PATIENCE + self._expected):
            await self._all
        loop.remove_reader(self._arriving)

    def _read(self) -> None:
        octets = self._rest + self._arriving.recv(65536)
        whole = len(octets) - len(octets) % _STAMP.size
        self._rest = octets[whole:]
        for (stamp,) in _STAMP.iter_unpack(octets[:whole]):
            self._append(stamp)

    def _append(self, stamp: float) -> None:
        def note(future: asyncio.Future[Receipt]) -> None:
            future.result()
            self._sample.latencies.append(time.monotonic() - stamp)
            if len(self._sample.latencies) == self._expected:
                self._all.set_result(None)

        self._shard.append(_ENTRY).add_done_callback(note)


@contextlib.contextmanager
def _arrivals(rate: int, seconds: float) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("spawn").Process(
        target=_announce, args=(theirs, rate, round(rate * seconds))
    )
    with ours, theirs:
        process.start()
        ours.settimeout(_PATIENCE)
        yield ours
    process.join(_PATIENCE)


def _announce(to: socket.socket, rate: int, count: int) -> None:
    to.send(b"?")
    to.recv(1)
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        to.sendall(_STAMP.pack(time.monotonic()))


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _read_rates(text: str) -> tuple[int, ...]:
    rates = tuple(int(part) for part in text.split(","))
    if min(rates) < 1:
        raise argparse.ArgumentTypeError("rates such as 1000,5000")
    return rates


def _print_table(results: Sequence[TraceResult]) -> None:
    print(
        f"{'scenario':<16} {'entries/s':>10} {'commits/s':>10} {'each':>6}"
        f" {'p50':>8} {'p99':>8} {'max':>8}  ms {'cpu':>5}"
    )
    for result in results:
        each = result.entries / result.commits if result.commits else 0.0
        times = (result.p50, result.p99, result.slowest)
        shown = " ".join(f"{seconds * 1000:>8.2f}" for seconds in times)
        print(
            f"{result.scenario:<16} {result.entries:>10,.0f} {result.commits:>10,.0f} {each:>6.1f}"
            f" {shown}     {result.cpu:>4.0%}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
