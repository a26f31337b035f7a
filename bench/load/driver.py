"""One client process: keeps its connections busy, or sends when it is time to, through every phase."""

import asyncio
import contextlib
import resource
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final, Protocol

from bench.load.alarm import Alarm
from bench.load.client import Answer, Client
from bench.load.histogram import Latencies
from bench.load.phases import Phase
from bench.load.scenario import Ask, Scenario, Target

_PATIENCE: Final = 10.0  # seconds for the last answers
_RETRY: Final = 0.05
_BACKLOG: Final = 100_000  # arrivals that may wait for a free connection


@dataclass(frozen=True, slots=True)
class Plan:
    """What one client process does.

    Attributes:
        seed: of its arrivals; each phase draws its own from it.
        notes: a file to which it adds the identifier of each good answer's vector, of the first where it holds several, one a line, at once;
            None notes nothing.
    """

    scenario: Scenario
    target: Target
    connections: int
    phases: tuple[Phase, ...]
    seed: str
    notes: Path | None = None


@dataclass(slots=True)
class Sample:
    """What one process saw of one phase.

    Attributes:
        latencies: of good answers, an encoded HdrHistogram in microseconds, from the intended time of sending.
        vectors: in answers that came within the phase.
        answers_in_time: good ones within the phase.
        late: vectors (answers, where there are none) that came after it: work that was done, and is in no rate.
        processor: seconds of this process.
        pushbacks: like `latencies`, of answers that say the service is full, from when each was sent: a server's own part in it.
    """

    latencies: bytes = b""
    vectors: int = 0
    answers_in_time: int = 0
    late: int = 0
    processor: float = 0.0
    pushbacks: bytes = b""
    errors: Counter[str] = field(default_factory=Counter[str])


class Board(Protocol):
    """Where a process shows how far it is: good answers, errors."""

    def __setitem__(self, at: int, value: int, /) -> None:
        """Show a count."""


@dataclass(slots=True)
class _Running:
    """A phase under way.

    Attributes:
        owed: requests whose time came and that have no answer yet.
        is_settled: set by the answer after which nothing is owed.
    """

    begin: float
    end: float
    is_open_loop: bool
    sample: Sample = field(default_factory=Sample)
    latencies: Latencies = field(default_factory=Latencies)
    pushbacks: Latencies = field(default_factory=Latencies)
    owed: int = 0
    is_settled: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, intended: float, sent: float, answer: Answer) -> None:
        """Count an answer; a closed loop forgets what comes after its end, an open loop owes it to its arrival."""
        self.owed -= 1
        is_late = answer.at > self.end
        if not self.owed:
            self.is_settled.set()
        sample = self.sample
        if is_late and not answer.error:
            sample.late += answer.vectors or 1
        if is_late and not self.is_open_loop:
            return
        if answer.error:
            sample.errors[answer.error] += 1
            if answer.is_pushback:
                self.pushbacks.record(answer.at - sent)
            return
        self.latencies.record(answer.at - intended)
        if answer.refused:
            sample.errors["refused in batch"] += answer.refused
        if not is_late:
            sample.answers_in_time += 1
            sample.vectors += answer.vectors


class Driver:
    """Runs a plan on one loop."""

    def __init__(self, plan: Plan, board: Board, at: int) -> None:
        self._plan: Final = plan
        self._board: Final = board
        self._at: Final = at
        self._asks: Iterator[Ask] = cycle(plan.scenario.asks)
        self._tls: Final = None if plan.target.tls is None else plan.target.tls.context()
        self._idle: Final = deque[Client]()
        self._under_way: Final = dict[Client, tuple[_Running, float, float]]()
        self._backlog: Final = deque[float]()
        self._arrivals: Iterator[float] = iter(())
        self._next: float | None = None
        self._phase: _Running | None = None
        self._is_over = False
        self._good = 0
        self._bad = 0
        self._noted: Final = None if plan.notes is None else plan.notes.open("ab", buffering=0)
        self._note: Final = None if self._noted is None else self._write_note

    async def run(self) -> list[Sample]:
        """Go through the phases; one sample for each that counts."""
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop, self._release)
        self._alarm = alarm
        keepers = [loop.create_task(self._keep_open()) for _ in range(self._plan.connections)]
        try:
            samples = [
                await self._run_phase(phase, f"{self._plan.seed}:{phase.turn}:{number}")
                for number, phase in enumerate(self._plan.phases)
            ]
        finally:
            self._is_over = True
            alarm.close()
            for client in [*self._idle, *self._under_way]:
                client.close()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            if self._noted is not None:
                self._noted.close()
        counted = zip(self._plan.phases, samples, strict=True)
        return [sample for phase, sample in counted if phase.is_counted]

    async def _run_phase(self, phase: Phase, seed: str) -> Sample:
        begin = time.perf_counter()
        running = _Running(begin, begin + phase.seconds, phase.rate is not None)
        spent = _processor_seconds()
        self._phase = running
        self._arrivals = phase.intended_times(begin, seed)
        self._next = next(self._arrivals, None)
        if running.is_open_loop:
            self._release()
        else:
            waiting = [client for client in self._idle if client.is_open]
            self._idle.clear()
            for client in waiting:
                self._use(client)
        await asyncio.sleep(running.end - time.perf_counter())
        running.sample.processor = _processor_seconds() - spent
        self._release()
        await self._await_late_answers(running)
        running.sample.latencies = running.latencies.encode()
        running.sample.pushbacks = running.pushbacks.encode()
        return running.sample

    async def _await_late_answers(self, running: _Running) -> None:
        """Give the requests of a phase their answers before the next begins; what never came is an error, not a latency."""
        if running.owed:
            running.is_settled.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.is_settled.wait(), _PATIENCE)
        self._backlog.clear()
        if running.owed:
            running.sample.errors["no answer"] += running.owed

    def _write_note(self, body: bytes) -> None:
        """Note whose vector it is: the answer names its own `id` first."""
        if self._noted is not None:
            self._noted.write(body.partition(b'"id":"')[2].partition(b'"')[0] + b"\n")

    # Connections

    async def _keep_open(self) -> None:
        """Keep one connection open, and open it again when it ends."""
        loop = asyncio.get_running_loop()
        target = self._plan.target
        while not self._is_over:
            ended = asyncio.Event()
            try:
                await asyncio.wait_for(
                    loop.create_connection(
                        lambda ended=ended: Client(
                            self._opened, self._answered, lambda _: ended.set(), self._note
                        ),
                        target.host,
                        target.port,
                        ssl=self._tls,
                    ),
                    _PATIENCE,
                )
            except (OSError, TimeoutError) as exc:
                self._count_error(type(exc).__name__)
                await asyncio.sleep(_RETRY)
            else:
                await ended.wait()

    def _opened(self, client: Client) -> None:
        self._use(client)

    def _answered(self, client: Client, answer: Answer) -> None:
        running, intended, sent = self._under_way.pop(client)
        if self._is_over:  # we have hung up; what was owed has been counted
            return
        running.take(intended, sent, answer)
        if answer.error:
            self._bad += 1
        else:
            self._good += 1
        self._board[self._at], self._board[self._at + 1] = self._good, self._bad
        if client.is_open:
            self._use(client)

    def _use(self, client: Client) -> None:
        """Send what waits, or the next request of a closed loop, or nothing yet."""
        phase, now = self._phase, time.perf_counter()
        if self._backlog:
            self._send(client, self._backlog.popleft())
        elif phase is not None and not phase.is_open_loop and now < phase.end:
            phase.owed += 1
            self._send(client, now)
        else:
            self._idle.append(client)

    # Arrivals

    def _release(self) -> None:
        """Send every request whose time has come, or let it wait for a connection; then set the alarm to the next."""
        phase, now = self._phase, time.perf_counter()
        while phase is not None and self._next is not None and self._next <= now:
            phase.owed += 1
            client = self._take_idle()
            if client is not None:
                self._send(client, self._next)
            elif len(self._backlog) < _BACKLOG:
                self._backlog.append(self._next)
            else:
                phase.owed -= 1
                phase.sample.errors["more arrivals waited than the client keeps"] += 1
            self._next = next(self._arrivals, None)
        if self._next is not None:
            self._alarm.set(self._next)

    def _take_idle(self) -> Client | None:
        while self._idle:
            client = self._idle.pop()
            if client.is_open:
                return client
        return None

    def _send(self, client: Client, intended: float) -> None:
        if self._phase is None or not client.is_open:
            return
        self._under_way[client] = (self._phase, intended, time.perf_counter())
        client.ask(next(self._asks))

    def _count_error(self, reason: str) -> None:
        if self._phase is not None:
            self._phase.sample.errors[reason] += 1


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
