"""What the trace costs: durable entries per second, and how long an answer waits for its entry.

Two closed loops tell the rate (one writer; many waiting, which share commits). Two open loops tell the wait: another process announces
arrivals at a steady rate, whatever becomes of them, and each is timed from its announcement to its receipt. Beside them stands what
the disk itself does: one entry written and synchronised, again and again, by a program that does nothing else.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
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
from appliance.trace.record import Receipt, TraceEntry, write_entry
from appliance.trace.segments import write_frame
from appliance.trace.spool import Spool, SpoolSettings

_STAMP: Final = struct.Struct("d")
"""When an arrival was announced: seconds of the machine's monotonic clock."""
_PATIENCE: Final = 30.0
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
        commits: synchronisations of the disk.
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
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0


def measure_disk(directory: Path, seconds: float) -> TraceResult:
    """Write one entry and synchronise, again and again."""
    disk, frame, sample = _CountingDisk(), memoryview(write_frame(write_entry(_ENTRY))), _Sample()
    with (directory / "disk").open("wb") as file:
        while sample.is_running(seconds):
            began = time.monotonic()
            disk.write(file.fileno(), frame)
            disk.fdatasync(file.fileno())
            sample.latencies.append(time.monotonic() - began)
    return sample.sum_up("disk alone", disk)


def measure_closed(directory: Path, waiting: int, seconds: float) -> TraceResult:
    """Have `waiting` appenders each append the next entry when the last one is durable."""

    async def append(spool: Spool, sample: _Sample) -> None:
        while sample.is_running(seconds):
            began = time.monotonic()
            await spool.append(_ENTRY)
            sample.latencies.append(time.monotonic() - began)

    async def drive(spool: Spool, sample: _Sample) -> None:
        await asyncio.gather(*(append(spool, sample) for _ in range(waiting)))

    return _measure(f"{waiting:,} waiting", directory, drive)


def measure_open(directory: Path, rate: int, seconds: float) -> TraceResult:
    """Append at each arrival; arrivals do not wait for receipts."""

    async def drive(spool: Spool, sample: _Sample) -> None:
        with _arrivals(rate, seconds) as ours:
            await _Arrivals(spool, sample, ours, round(rate * seconds)).run()

    return _measure(f"{rate:,}/s arriving", directory, drive)


def _measure(
    scenario: str, directory: Path, drive: Callable[[Spool, "_Sample"], Awaitable[None]]
) -> TraceResult:
    async def measure() -> TraceResult:
        disk = _CountingDisk()
        log = f"log-{time.monotonic_ns()}"
        spool = Spool.open(directory, log, SpoolSettings(), SystemClock(), disk)
        await spool.append(_ENTRY)
        disk.commits = 0
        sample = _Sample()
        await drive(spool, sample)
        result = sample.sum_up(scenario, disk)
        await spool.aclose()
        return result

    return uvloop.run(measure())


class _CountingDisk(Disk):
    def __init__(self) -> None:
        self.commits = 0

    def fdatasync(self, descriptor: int) -> None:
        super().fdatasync(descriptor)
        self.commits += 1


@dataclass(slots=True)
class _Sample:
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    began: float = field(default_factory=time.monotonic)
    processor: float = field(default_factory=time.process_time)

    def is_running(self, seconds: float) -> bool:
        return time.monotonic() - self.began < seconds

    def sum_up(self, scenario: str, disk: _CountingDisk) -> TraceResult:
        seconds = time.monotonic() - self.began
        ordered = sorted(self.latencies)
        return TraceResult(
            scenario,
            seconds,
            len(ordered) / seconds,
            disk.commits / seconds,
            _percentile(ordered, 50),
            _percentile(ordered, 99),
            _percentile(ordered, 100),
            (time.process_time() - self.processor) / seconds,
        )


class _Arrivals:
    """Appends an entry for each stamp that comes in, until as many receipts are there."""

    def __init__(
        self, spool: Spool, sample: _Sample, arriving: socket.socket, expected: int
    ) -> None:
        self._spool: Final = spool
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

        self._spool.append(_ENTRY).add_done_callback(note)


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
