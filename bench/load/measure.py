"""Runs client processes side by side and adds up what they saw."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.synchronize
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final

import uvloop

from bench.load.driver import Board, Driver, Plan, Sample
from bench.load.phases import Phase
from bench.load.result import LoadResult, summarise
from bench.load.scenario import Scenario, Target, Wanted, make_scenario

_WARM_UP: Final = 0.5
_PATIENCE: Final = 60.0  # seconds for processes to start, and to end after the last phase
_TICK: Final = 1.0
_CELLS: Final = 2  # of the board, for each process: good answers, errors
_SEED: Final = 2026

_Pipe = multiprocessing.connection.Connection


def run_load(
    host: str,
    port: int,
    *,
    batch: int = 1,
    connections: int = 32,
    processes: int = 1,
    seconds: float = 5.0,
) -> LoadResult:
    """Issue vectors of the demo convention in a closed loop, one per request or `batch` at a time."""
    target = Target(host, port)
    scenario = make_scenario("single" if batch == 1 else "batch", target, Wanted(batch=batch))
    phases = (Phase(_WARM_UP, is_counted=False), Phase(seconds))
    [result] = run_phases(scenario, target, phases, connections, processes)
    return result


def run_phases(
    scenario: Scenario,
    target: Target,
    phases: Sequence[Phase],
    connections: int = 32,
    processes: int = 1,
    notes: Path | None = None,
) -> list[LoadResult]:
    """Run the phases one after the other; a result for each that counts.

    `notes` is a directory in which each client process writes the identifiers of the vectors it was given, warm-up included.

    Raises:
        TimeoutError: a client process gave no result.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    board = context.RawArray("Q", processes * _CELLS)
    plan = Plan(scenario, target, 0, tuple(phase.share(processes) for phase in phases), seed="")
    started: list[tuple[SpawnProcess, _Pipe[None, list[Sample]]]] = []
    for at, share in enumerate(_share(connections, processes)):
        mine, theirs = context.Pipe(duplex=False)
        file = None if notes is None else notes / str(at)
        part = replace(plan, connections=share, seed=f"{_SEED}:{at}", notes=file)
        process = context.Process(target=_drive, args=(part, board, at * _CELLS, barrier, theirs))
        process.start()
        theirs.close()
        started.append((process, mine))
    deadline = time.perf_counter() + _PATIENCE + sum(phase.seconds + _PATIENCE for phase in phases)
    progress = _Progress(scenario.name, sum(phase.seconds for phase in phases))
    try:
        samples = [_collect(pipe, deadline, lambda: progress.show(board[:])) for _, pipe in started]
    finally:
        progress.end()
        for process, _ in started:
            process.join(_TICK)
            if process.is_alive():
                process.terminate()
    counted = [phase for phase in phases if phase.is_counted]
    return [
        summarise(scenario, phase, connections, [each[at] for each in samples])
        for at, phase in enumerate(counted)
    ]


def _share(connections: int, processes: int) -> list[int]:
    each, rest = divmod(connections, processes)
    return [each + (at < rest) for at in range(processes)]


def _drive(
    plan: Plan,
    board: Board,
    at: int,
    barrier: multiprocessing.synchronize.Barrier,
    pipe: "_Pipe[list[Sample], None]",
) -> None:
    barrier.wait(_PATIENCE)
    pipe.send(uvloop.run(Driver(plan, board, at).run()))
    pipe.close()


def _collect(
    pipe: "_Pipe[None, list[Sample]]", deadline: float, tick: Callable[[], None]
) -> list[Sample]:
    while not pipe.poll(_TICK):
        if time.perf_counter() > deadline:
            raise TimeoutError("a client process gave no result")
        tick()
    try:
        return pipe.recv()
    except EOFError as exc:
        raise TimeoutError(
            "a client process ended without a result; its error stands above"
        ) from exc


@dataclass(slots=True)
class _Progress:
    """One line on a terminal that says how far it is."""

    name: str
    seconds: float
    _begun: float = 0.0
    _last: int = 0

    def show(self, counts: Sequence[int]) -> None:
        """Write the line anew."""
        if not sys.stderr.isatty():
            return
        now = time.perf_counter()
        self._begun = self._begun or now
        good, bad = sum(counts[0::_CELLS]), sum(counts[1::_CELLS])
        rate, self._last = good - self._last, good
        print(
            f"\r\x1b[K{self.name}: {now - self._begun:.0f} of about {self.seconds:.0f} s, {rate:,} answers/s, {bad:,} errors",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Wipe it."""
        if self._begun:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
