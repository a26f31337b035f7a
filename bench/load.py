"""What the appliance does: a closed loop of HTTP/1.1 connections, each sending its next request when the last is answered.

The client is raw asyncio on uvloop with httptools, in processes of its own, so that little of what is measured is itself. A closed loop
tells capacity; it hides what a stalled server would do to arrivals that do not wait.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.synchronize
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from bench.service import serve_home

_OK: Final = 200
_WARM_UP: Final = 0.5  # seconds, not counted: connections open, code paths warm
_PATIENCE: Final = 10.0  # seconds for the last answers, and for a server that is gone
_RETRY: Final = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """What every connection asks, again and again.

    Attributes:
        vectors: how many vectors a good answer holds.
    """

    name: str
    method: str
    path: str
    body: bytes
    vectors: int

    def write_request(self, host: str, port: int) -> bytes:
        """Write the request once; it is the same each time."""
        head = (
            f"{self.method} {self.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One scenario's outcome; seconds for times, per second for rates.

    Attributes:
        rate: vectors per second (answers per second where the scenario has no vectors).
        errors: how often, by reason.
    """

    scenario: str
    batch: int
    connections: int
    processes: int
    seconds: float
    requests: int
    request_rate: float
    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    p9999: float
    slowest: float
    errors: dict[str, int]


def run_load(  # noqa: PLR0913 - keyword arguments of a measurement, all with defaults
    host: str,
    port: int,
    *,
    batch: int = 1,
    connections: int = 32,
    processes: int = 1,
    seconds: float = 5.0,
    convention: str = "demo-client",
    pagm: str = "PAGM_CONSULTATION",
) -> LoadResult:
    """Issue vectors in a closed loop, one per request or `batch` at a time."""
    asked = {"convention": convention, "subject": "agent-0042", "pagms": [pagm]}
    if batch == 1:
        scenario = Scenario("single", "POST", "/v1/vectors", json.dumps(asked).encode(), 1)
    else:
        body = json.dumps({"requests": [asked] * batch}).encode()
        scenario = Scenario("batch", "POST", "/v1/vectors/batch", body, batch)
    return run_scenario(scenario, host, port, connections, processes, seconds)


def run_scenario(
    scenario: Scenario, host: str, port: int, connections: int, processes: int, seconds: float
) -> LoadResult:
    """Run a scenario and add the processes' samples up."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    started = []
    for share in _share(connections, processes):
        mine, theirs = context.Pipe(duplex=False)
        plan = _Plan(scenario, host, port, share, seconds)
        process = context.Process(target=_drive, args=(plan, barrier, theirs))
        process.start()
        theirs.close()
        started.append((process, mine))
    samples = [_collect(pipe, seconds) for _, pipe in started]
    for process, _ in started:
        process.join(_PATIENCE)
    return _summarise(scenario, connections, seconds, samples)


@dataclass(frozen=True, slots=True)
class _Plan:
    scenario: Scenario
    host: str
    port: int
    connections: int
    seconds: float


@dataclass(slots=True)
class _Sample:
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    vectors: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])


def _share(connections: int, processes: int) -> list[int]:
    each, rest = divmod(connections, processes)
    return [each + (at < rest) for at in range(processes)]


def _collect(
    pipe: "multiprocessing.connection.Connection[_Sample, _Sample]", seconds: float
) -> _Sample:
    if not pipe.poll(seconds + _WARM_UP + 6 * _PATIENCE):
        raise TimeoutError("a client process gave no result")
    return pipe.recv()


def _drive(
    plan: _Plan,
    barrier: multiprocessing.synchronize.Barrier,
    pipe: "multiprocessing.connection.Connection[_Sample, _Sample]",
) -> None:
    barrier.wait(6 * _PATIENCE)
    pipe.send(uvloop.run(_Driver(plan).run()))
    pipe.close()


class _Driver:
    """One client process: keeps its connections busy from the end of the warm-up to the deadline."""

    def __init__(self, plan: _Plan) -> None:
        self.plan: Final = plan
        self.request: Final = plan.scenario.write_request(plan.host, plan.port)
        self.sample: Final = _Sample()
        self.begin = 0.0
        self.end = 0.0

    async def run(self) -> _Sample:
        now = time.perf_counter()
        self.begin, self.end = now + _WARM_UP, now + _WARM_UP + self.plan.seconds
        clients = [asyncio.create_task(self._keep_asking()) for _ in range(self.plan.connections)]
        _, late = await asyncio.wait(clients, timeout=_WARM_UP + self.plan.seconds + _PATIENCE)
        for client in late:
            client.cancel()
            self.sample.errors["no-answer"] += 1
        return self.sample

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        while time.perf_counter() < self.end:
            try:
                _, client = await loop.create_connection(
                    lambda: _Client(self, loop.create_future()), self.plan.host, self.plan.port
                )
                await client.done
            except OSError as exc:
                self.sample.errors[type(exc).__name__] += 1
            await asyncio.sleep(_RETRY)

    def count(self, sent: float, now: float, status: int, body: bytes) -> None:
        """Take one answer into the sample."""
        if now < self.begin or now > self.end:
            return
        if status != _OK:
            self.sample.errors[_read_reason(status, body)] += 1
            return
        self.sample.latencies.append(now - sent)
        refused = body.count(b'{"error":') if self.plan.scenario.vectors > 1 else 0
        self.sample.vectors += self.plan.scenario.vectors - refused
        if refused:
            self.sample.errors["refused in batch"] += refused


class _Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, driver: _Driver, done: asyncio.Future[None]) -> None:
        self.done: Final = done
        self._driver: Final = driver
        self._time: Final = (
            time.perf_counter
        )  # uvloop's own time stands still within one turn of the loop
        self._parser: Final = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        self._sent = 0.0
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._ask(self._transport)

    def _ask(self, transport: asyncio.Transport) -> None:
        self._parts.clear()
        self._is_waiting = True
        self._sent = self._time()
        transport.write(self._driver.request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        now = self._time()
        self._is_waiting = False
        self._driver.count(self._sent, now, self._parser.get_status_code(), b"".join(self._parts))
        if self._transport is None:
            return
        if now >= self._driver.end or not self._parser.should_keep_alive():
            self._transport.close()
        else:
            self._ask(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._is_waiting:
            self._driver.sample.errors["connection lost"] += 1
        self.done.set_result(None)


class _Refusal(msgspec.Struct):
    reason: str


class _Refused(msgspec.Struct):
    error: _Refusal


def _read_reason(status: int, body: bytes) -> str:
    with contextlib.suppress(msgspec.MsgspecError):
        return f"{status} {msgspec.json.decode(body, type=_Refused).error.reason}"
    return str(status)


def _summarise(
    scenario: Scenario, connections: int, seconds: float, samples: Sequence[_Sample]
) -> LoadResult:
    latencies = sorted(latency for sample in samples for latency in sample.latencies)
    errors: Counter[str] = Counter()
    for sample in samples:
        errors.update(sample.errors)
    vectors = sum(sample.vectors for sample in samples)
    return LoadResult(
        scenario=scenario.name,
        batch=scenario.vectors,
        connections=connections,
        processes=len(samples),
        seconds=seconds,
        requests=len(latencies),
        request_rate=len(latencies) / seconds,
        rate=(vectors if scenario.vectors else len(latencies)) / seconds,
        p50=_percentile(latencies, 50),
        p90=_percentile(latencies, 90),
        p99=_percentile(latencies, 99),
        p999=_percentile(latencies, 99.9),
        p9999=_percentile(latencies, 99.99),
        slowest=_percentile(latencies, 100),
        errors=dict(errors),
    )


def _percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench load`."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="a running service, such as http://127.0.0.1:8440")
    target.add_argument("--home", type=Path, help="a home to serve for the time of the run")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=("single", "batch", "health"),
        help="repeatable; default: single and batch",
    )
    parser.add_argument("--connections", type=int, default=32, help="open at once (default 32)")
    parser.add_argument("--processes", type=int, default=1, help="client processes (default 1)")
    parser.add_argument("--seconds", type=float, default=10.0, help="each (default 10)")
    parser.add_argument("--batch-size", type=int, default=64, help="vectors a call (default 64)")
    parser.add_argument("--convention", default="demo-client", metavar="ID")
    parser.add_argument("--pagm", default="PAGM_CONSULTATION", metavar="P")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Run the scenarios; 1 when one of them brought not a single good answer."""
    if not 1 <= arguments.processes <= arguments.connections or arguments.batch_size < 1:
        print(
            "load: need 1 <= processes <= connections and a batch size of 1 or more",
            file=sys.stderr,
        )
        return 2
    if arguments.url is not None:
        url = urlsplit(arguments.url)
        results = _run_scenarios(arguments, url.hostname or "127.0.0.1", url.port or 80)
    else:
        with serve_home(arguments.home) as served:
            results = _run_scenarios(arguments, served.host, served.port)
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if all(result.requests for result in results) else 1


def _run_scenarios(arguments: argparse.Namespace, host: str, port: int) -> list[LoadResult]:
    results = []
    for name in arguments.scenario or ("single", "batch"):
        if name == "health":
            scenario = Scenario("health", "GET", "/healthz", b"", 0)
            result = run_scenario(
                scenario, host, port, arguments.connections, arguments.processes, arguments.seconds
            )
        else:
            result = run_load(
                host,
                port,
                batch=arguments.batch_size if name == "batch" else 1,
                connections=arguments.connections,
                processes=arguments.processes,
                seconds=arguments.seconds,
                convention=arguments.convention,
                pagm=arguments.pagm,
            )
        results.append(result)
    return results


def _print_table(results: Sequence[LoadResult]) -> None:
    print(
        f"{'scenario':<10} {'conns':>5} {'requests/s':>11} {'vectors/s':>11}"
        f" {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'p99.99':>8} {'max':>8}  ms"
    )
    for result in results:
        times = (
            *(result.p50, result.p90, result.p99),
            *(result.p999, result.p9999, result.slowest),
        )
        vectors = f"{result.rate:>11,.0f}" if result.batch else f"{'-':>11}"
        shown = " ".join(f"{time * 1000:>8.2f}" for time in times)
        print(
            f"{result.scenario:<10} {result.connections:>5} {result.request_rate:>11,.0f} {vectors} {shown}"
        )
        for reason, count in sorted(result.errors.items()):
            print(f"{'':<10} {count:,} x {reason}")
