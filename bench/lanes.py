"""What queue and lanes make of the token: signatures per second through them, each released as the appliance does, beside the ceiling.

The same token, key and number of lanes as `ceiling`, measured in turns in the same run, so that both see the same machine. Those who ask
are workers without HTTP (`bench.lane_worker`), each a process with a queue of its own, as many as are wanted on the same lanes.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench.arguments import positive, whole
from bench.ceiling import Place, add_place_arguments, choose_places, measure_ceiling, read_lanes
from bench.lane_worker import WorkerCount, WorkerOrder
from bench.processes import processor_seconds
from hsm.process import start_lane
from hsm.settings import LaneSettings
from hsm.user import own_directory
from hsm.wire import KeyFacts

_PATIENCE: Final = 30.0
_WARM_UP: Final = 0.3


@dataclass(frozen=True, slots=True)
class LanesOrder:
    """What is measured: so many workers on so many lanes, by calls of `batch` digests, for so many seconds."""

    lanes: int = 2
    workers: int = 1
    batch: int = 64
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class LanesResult:
    """One measurement; rates are signatures per second, the median of the rounds.

    Attributes:
        workers: how many processes asked, each with a queue of its own.
        raw: the ceiling, nothing verified.
        checked: the ceiling less what verifying costs on the same cores: 1 / (1/raw + check/lanes).
        rate: through queue and lanes, verified.
        check_seconds: CPU of one verification, on average over all signatures.
        token_seconds: CPU of the measuring processes per signature at the ceiling.
        lane_seconds: CPU of the lanes per signature.
        worker_seconds: CPU of the asking processes per signature, verification included.
        cpu_share: token_seconds + check_seconds over lane_seconds + worker_seconds: the ratio to the checked ceiling as the
            processors see it, which other load on the machine does not change.
    """

    key: str
    mechanism: str
    lanes: int
    workers: int
    batch: int
    rounds: int
    raw: float
    checked: float
    rate: float
    check_seconds: float
    token_seconds: float
    lane_seconds: float
    worker_seconds: float
    cpu_share: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench lanes`."""
    add_place_arguments(parser)
    parser.add_argument("--lanes", type=read_lanes, default=(2,), help="such as 1,2 (default 2)")
    parser.add_argument(
        "--workers", type=whole, default=1, help="that many processes on the same lanes (default 1)"
    )
    parser.add_argument("--seconds", type=positive, default=2.0, help="per measurement (default 2)")
    parser.add_argument("--rounds", type=whole, default=3, help="ceiling and lanes in turns (3)")
    parser.add_argument("--batch", type=whole, default=64, help="digests per call (default 64)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 when no key fits what was asked."""
    with choose_places(arguments) as places:
        results = [
            measure_lanes(place, _order(arguments, lanes), arguments.rounds)
            for place in places
            for lanes in arguments.lanes
        ]
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if results else 1


def _order(arguments: argparse.Namespace, lanes: int) -> LanesOrder:
    return LanesOrder(lanes, arguments.workers, arguments.batch, arguments.seconds)


def measure_lanes(place: Place, order: LanesOrder, rounds: int) -> LanesResult:
    """Measure ceiling and lanes in turns.

    Raises:
        HsmError: the token or the key cannot be used.
    """
    token, key = place
    ceilings, outcomes = [], []
    for _ in range(rounds):
        ceilings.append(measure_ceiling(token, key, order.lanes, order.seconds))
        outcomes.append(uvloop.run(_Load(place, order).run()))
    raw = _median(ceiling.rate for ceiling in ceilings)
    token_seconds = _median(ceiling.cpu_seconds for ceiling in ceilings)
    check = _median(outcome.check_seconds for outcome in outcomes)
    lane_seconds = _median(outcome.lane_seconds for outcome in outcomes)
    worker_seconds = _median(outcome.worker_seconds for outcome in outcomes)
    return LanesResult(
        key=key.name,
        mechanism=ceilings[0].mechanism,
        lanes=order.lanes,
        workers=order.workers,
        batch=order.batch,
        rounds=rounds,
        raw=raw,
        checked=1 / (1 / raw + check / order.lanes),
        rate=_median(outcome.rate for outcome in outcomes),
        check_seconds=check,
        token_seconds=token_seconds,
        lane_seconds=lane_seconds,
        worker_seconds=worker_seconds,
        cpu_share=(token_seconds + check) / (lane_seconds + worker_seconds),
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


@dataclass(frozen=True, slots=True)
class _Outcome:
    rate: float
    check_seconds: float
    worker_seconds: float
    lane_seconds: float


class _Load:
    """Lanes, and the workers that share them."""

    def __init__(self, place: Place, order: LanesOrder) -> None:
        self._token, self._key = place
        self._order: Final = order
        self._facts = KeyFacts("", "", 0, b"", 0)
        self._pids: Final[list[int]] = []

    async def run(self) -> _Outcome:
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lanes-"))
            if self._token.user is not None:
                own_directory(Path(directory), self._token.user)
            sockets = [Path(directory, f"{index}.sock") for index in range(self._order.lanes)]
            for index, socket in enumerate(sockets):
                lane = await start_lane(self._lane_settings(index, socket))
                stack.push_async_callback(lane.stop)
                self._pids.append(lane.pid)
                self._facts = lane.ready.keys[0]
            workers = [await self._start_worker(stack) for _ in range(self._order.workers)]
            begin = time.monotonic() + _WARM_UP
            order = WorkerOrder(
                self._token.name, list(map(str, sockets)), self._facts, self._order.batch, begin, self._order.seconds
            )  # fmt: skip
            counting = [asyncio.create_task(_have_count(worker, order)) for worker in workers]
            await asyncio.sleep(begin - time.monotonic())
            cpu = self._lanes_cpu()
            await asyncio.sleep(self._order.seconds)
            cpu = self._lanes_cpu() - cpu
            return _sum_up(await asyncio.gather(*counting), cpu)

    def _lane_settings(self, index: int, socket: Path) -> LaneSettings:
        return LaneSettings(
            token=self._token,
            keys=(self._key,),
            socket=str(socket),
            allowed_uids=(os.getuid(),),
            index=index,
        )

    async def _start_worker(self, stack: AsyncExitStack) -> asyncio.subprocess.Process:
        """Start a worker and wait until it has its program loaded."""
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.lane_worker"), stdin=PIPE, stdout=PIPE
        )
        stack.callback(_end, worker)
        await _read_line(worker)
        return worker

    def _lanes_cpu(self) -> float:
        """CPU seconds of the lanes so far."""
        return sum(processor_seconds(pid) for pid in self._pids)


async def _have_count(worker: asyncio.subprocess.Process, order: WorkerOrder) -> WorkerCount:
    if worker.stdin is None:
        raise RuntimeError("the worker was started without pipes")
    worker.stdin.write(msgspec.json.encode(order) + b"\n")
    return msgspec.json.decode(await _read_line(worker, order.seconds), type=WorkerCount)


async def _read_line(worker: asyncio.subprocess.Process, seconds: float = 0.0) -> bytes:
    if worker.stdout is None:
        raise RuntimeError("the worker was started without pipes")
    async with asyncio.timeout(seconds + _PATIENCE):
        line = await worker.stdout.readline()
    if not line:
        raise RuntimeError("a worker ended unasked; read its messages above")
    return line


def _end(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.kill()


def _sum_up(counts: Sequence[WorkerCount], lanes_cpu: float) -> _Outcome:
    signed = sum(count.signatures for count in counts)
    return _Outcome(
        rate=sum(count.signatures / count.seconds for count in counts),
        check_seconds=sum(count.check_seconds for count in counts) / signed,
        worker_seconds=sum(count.cpu_seconds for count in counts) / signed,
        lane_seconds=lanes_cpu / signed,
    )


def _print_table(results: Sequence[LanesResult]) -> None:
    print("signatures per second, and microseconds of CPU for one")
    columns = "raw checked lanes of-raw of-checked check token lane worker cpu-share"
    print(
        f"{'key':<14} {'mechanism':<9} lanes workers batch "
        + "".join(f"{c:>11}" for c in columns.split())
    )
    for each in results:
        rates = f"{each.raw:>11,.0f}{each.checked:>11,.0f}{each.rate:>11,.0f}"
        shares = f"{each.rate / each.raw:>11.1%}{each.rate / each.checked:>11.1%}"
        times = (each.check_seconds, each.token_seconds, each.lane_seconds, each.worker_seconds)
        costs = "".join(f"{seconds * 1e6:>11.1f}" for seconds in times)
        head = (
            f"{each.key:<14} {each.mechanism:<9} {each.lanes:>5} {each.workers:>7} {each.batch:>5} "
        )
        print(f"{head}{rates}{shares}{costs}{each.cpu_share:>11.1%}")
