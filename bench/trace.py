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

import uvloop

from appliance.clock import SystemClock
from appliance.trace.disk import Disk
from appliance.trace.layout import SEGMENT_SUFFIX
from appliance.trace.record import Receipt, write_entry
from appliance.trace.segments import write_frame
from appliance.trace.shard import Shard, ShardSettings
from bench.whole_log import ENTRY, NAME, AuditSigner, measure_whole

_STAMP: Final = struct.Struct("d")
"""When an arrival was announced: seconds of the machine's monotonic clock."""
_PATIENCE: Final = 30.0


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
        "--verify", type=int, default=0, metavar="N", help="also verify and open a log of N entries"
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
        whole = measure_whole(directory, arguments.verify) if arguments.verify else None
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    if whole is not None:
        print(whole, file=sys.stderr if arguments.json else sys.stdout)
    return 0


def measure_disk(directory: Path, seconds: float) -> TraceResult:
    """Write one entry and synchronise, again and again."""
    disk, frame, sample = Disk(), memoryview(write_frame(write_entry(ENTRY))), _Sample()
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
            await shard.append(ENTRY)
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
        disk, signer = _CountingDisk(), AuditSigner()
        home = directory / f"home-{time.monotonic_ns()}"
        settings = ShardSettings(
            home / "spool", home / "log", home / "certificates", "bench/trace", (signer.key,)
        )
        shard = await Shard.open(NAME, settings, signer, SystemClock(), disk)
        await shard.append(ENTRY)
        disk.commits = 0
        sample = _Sample()
        await drive(shard, sample)
        result = sample.sum_up(scenario, disk.commits)
        await shard.aclose()
        shutil.rmtree(home)
        return result

    return uvloop.run(measure())


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

        self._shard.append(ENTRY).add_done_callback(note)


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
