"""What queue and lanes make of the token: signatures per second through them, each released as the appliance does, beside the ceiling.

The same token, key and number of lanes as `ceiling`, measured in turns in the same run, so that both see the same machine. The process
that asks is one worker without HTTP: it hands digests to the queue, and verifies what comes back before it counts.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvloop

from appliance.clock import SystemClock
from appliance.native import verify_digest
from appliance.signing.job import SigningJob
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from bench.ceiling import Place, add_place_arguments, choose_places, measure_ceiling, read_lanes
from hsm.process import start_lane
from hsm.settings import LaneSettings
from hsm.user import own_directory
from hsm.wire import KeyFacts

_ALGORITHMS: Final = {
    "rsa": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "ec": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
}
_SAMPLE: Final = 64
"""One ECDSA signature in so many is verified, and the first of each lane by the lane itself; every RSA signature is."""

_PATIENCE: Final = 10.0
_WARM_UP: Final = 0.3


@dataclass(frozen=True, slots=True)
class LanesResult:
    """One measurement; rates are signatures per second, the median of the rounds.

    Attributes:
        raw: the ceiling, nothing verified.
        checked: the ceiling less what verifying costs on the same cores: 1 / (1/raw + check/lanes).
        rate: through queue and lanes, verified.
        check_seconds: one verification, on average over all signatures.
        token_seconds: CPU of the measuring processes per signature at the ceiling.
        lane_seconds: CPU of the lanes per signature.
        worker_seconds: CPU of the asking process per signature, verification included.
        cpu_share: token_seconds + check_seconds over lane_seconds + worker_seconds: the ratio to the checked ceiling as the
            processors see it, which other load on the machine does not change.
    """

    key: str
    mechanism: str
    lanes: int
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
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="ceiling and lanes in turns (3)")
    parser.add_argument("--batch", type=int, default=64, help="digests per call (default 64)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 when no key fits what was asked."""
    with choose_places(arguments) as places:
        results = [
            _measure(place, lanes, arguments) for place in places for lanes in arguments.lanes
        ]
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if results else 1


def _measure(place: Place, lanes: int, arguments: argparse.Namespace) -> LanesResult:
    token, key = place
    ceilings, outcomes = [], []
    for _ in range(arguments.rounds):
        ceilings.append(measure_ceiling(token, key, lanes, arguments.seconds))
        load = _Load(place, lanes, arguments.batch, arguments.seconds)
        outcomes.append(uvloop.run(load.run()))
    raw = _median(ceiling.rate for ceiling in ceilings)
    token_seconds = _median(ceiling.cpu_seconds for ceiling in ceilings)
    check = _median(outcome.check_seconds for outcome in outcomes)
    lane_seconds = _median(outcome.lane_seconds for outcome in outcomes)
    worker_seconds = _median(outcome.worker_seconds for outcome in outcomes)
    return LanesResult(
        key=key.name,
        mechanism=ceilings[0].mechanism,
        lanes=lanes,
        batch=arguments.batch,
        rounds=arguments.rounds,
        raw=raw,
        checked=1 / (1 / raw + check / lanes),
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
    """Callers that always have enough in the queue to keep every lane busy."""

    def __init__(self, place: Place, lanes: int, batch: int, seconds: float) -> None:
        self._token, self._key = place
        self._lanes: Final = lanes
        self._batch: Final = batch
        self._seconds: Final = seconds
        self._facts = KeyFacts("", "", 0, b"", 0)
        self._pids: Final[list[int]] = []
        self._signed = 0
        self._checked_seconds = 0.0

    async def run(self) -> _Outcome:
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="lanes-"))
            if self._token.user is not None:
                own_directory(Path(directory), self._token.user)
            sockets = [Path(directory, f"{index}.sock") for index in range(self._lanes)]
            for index, socket in enumerate(sockets):
                lane = await start_lane(self._lane_settings(index, socket))
                stack.push_async_callback(lane.stop)
                self._pids.append(lane.pid)
                self._facts = lane.ready.keys[0]
            queue = SigningQueue(
                {self._token.name: sockets},
                {self._key.name: [self._token.name]},
                QueueSettings(),
                SystemClock(),
            )
            queue.start()
            stack.push_async_callback(queue.aclose)
            return await self._count(queue)

    def _lane_settings(self, index: int, socket: Path) -> LaneSettings:
        return LaneSettings(
            token=self._token,
            keys=(self._key,),
            socket=str(socket),
            allowed_uids=(os.getuid(),),
            index=index,
        )

    async def _count(self, queue: SigningQueue) -> _Outcome:
        loop = asyncio.get_running_loop()
        stop = loop.time() + _WARM_UP + self._seconds
        callers = max(1, 512 // self._batch)
        tasks = [loop.create_task(self._call(queue, stop)) for _ in range(callers)]
        await asyncio.sleep(_WARM_UP)
        begun, cpu, lanes_cpu = loop.time(), time.process_time(), self._lanes_cpu()
        self._signed, self._checked_seconds = 0, 0.0
        await asyncio.sleep(self._seconds)
        signed, checked = self._signed, self._checked_seconds
        spent, cpu = loop.time() - begun, time.process_time() - cpu
        lanes_cpu = self._lanes_cpu() - lanes_cpu
        await asyncio.gather(*tasks)
        return _Outcome(signed / spent, checked / signed, cpu / signed, lanes_cpu / signed)

    def _lanes_cpu(self) -> float:
        """CPU seconds of the lanes so far (proc(5), utime and stime)."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in self._pids]
        ticks = sum(int(field) for stat in stats for field in stat.split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    async def _call(self, queue: SigningQueue, stop: float) -> None:
        loop = asyncio.get_running_loop()
        algorithm, digest = _ALGORITHMS[self._facts.kind], bytes(range(32))
        public_key = self._facts.public_key
        every = 1 if self._facts.kind == "rsa" else _SAMPLE
        while loop.time() < stop:
            deadline = loop.time() + _PATIENCE
            jobs = [SigningJob(self._key.name, "sha256", digest, deadline)] * self._batch
            signatures = await queue.sign_many(jobs)
            begun = time.perf_counter()
            for signature in signatures[::every]:
                if not isinstance(signature, bytes):
                    raise signature
                verify_digest(public_key, algorithm, digest, signature)
            self._checked_seconds += time.perf_counter() - begun
            self._signed += len(signatures)


def _print_table(results: Sequence[LanesResult]) -> None:
    print("signatures per second, and microseconds of CPU for one")
    columns = "raw checked lanes of-raw of-checked check token lane worker cpu-share"
    print(
        f"{'key':<14} {'mechanism':<9} lanes batch " + "".join(f"{c:>11}" for c in columns.split())
    )
    for each in results:
        rates = f"{each.raw:>11,.0f}{each.checked:>11,.0f}{each.rate:>11,.0f}"
        shares = f"{each.rate / each.raw:>11.1%}{each.rate / each.checked:>11.1%}"
        times = (each.check_seconds, each.token_seconds, each.lane_seconds, each.worker_seconds)
        costs = "".join(f"{seconds * 1e6:>11.1f}" for seconds in times)
        head = f"{each.key:<14} {each.mechanism:<9} {each.lanes:>5} {each.batch:>5} "
        print(f"{head}{rates}{shares}{costs}{each.cpu_share:>11.1%}")
