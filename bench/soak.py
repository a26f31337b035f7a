"""An hour at 70 % of capacity, with a fault of the token every minute, and keys rotated and conventions reloaded on the way.

A cycle is a fault under load, through the shim, until vectors come as before, and then calm, in which no error is allowed. The load is answered
before the fault is injected, so that they meet. What goes wrong in a cycle is stated at the end, and ends no run. Clients note the identifier of every vector they are given, and each must stand in the trace; `appliance trace verify --home` judges the logs at the end; memory must be flat.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from appliance.clock import SystemClock, format_instant
from bench.arguments import positive
from bench.homes import RSA, amend
from bench.injections import Injections
from bench.load import LoadResult, run_phases
from bench.load.phases import Phase
from bench.load.scenario import ScenarioUnusable, Target, Wanted, make_scenario
from bench.organisations import SceneFailed
from bench.processes import resident
from bench.service import ServedHome, serve_home
from bench.shim import put_behind_shim
from bench.soak_home import KEYS, make_soak_home
from bench.soak_ledger import Ledger
from bench.soak_result import Cycle, SoakResult, print_soak
from bench.soak_verdict import verify_home

_SHARE: Final = 0.7
_CONNECTIONS: Final = 32
_UNDER_FAULT: Final = 1 / 3
"""Part of a cycle that belongs to its fault; the rest is calm."""

_CHANGES: Final = ("", "rotate", "reload")
_LIFETIMES: Final = ("1h", "2h")
_STEADY: Final = 20
"""Vectors one after the other without a refusal: the token is back."""

_PATIENCE: Final = 60.0
_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """How many cycles, how many seconds each, and how long capacity is measured; the seed repeats the faults."""

    cycles: int
    seconds: float
    capacity: float
    seed: int = 1


class _Trouble(Exception):
    """A step failed; says which."""


_TROUBLES: Final = (_Trouble, RuntimeError, OSError, subprocess.SubprocessError)
"""What a cycle may fail of: a step, the shim, a client process, a command, a deadline."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench soak`."""
    parser.add_argument("--minutes", type=positive, default=60.0, help="in all (default 60)")
    parser.add_argument("--cycle", type=positive, default=60.0, help="seconds a fault (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="the same faults again (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run on a home made for it; 1 unless the run was clean, and then the home is kept."""
    cycles = max(1, round(arguments.minutes * 60 / arguments.cycle))
    plan = Plan(cycles, arguments.cycle, min(10.0, arguments.cycle), arguments.seed)
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    directory.chmod(0o755)  # users of workers and lanes pass through it
    try:
        result = run_soak(directory / "home", plan)
    except (SceneFailed, ScenarioUnusable, OSError, RuntimeError) as exc:
        print(f"soak: {exc}\nsoak: its home is kept: {directory / 'home'}", file=sys.stderr)
        return 3
    if arguments.json:
        print(json.dumps(result.facts(), indent=2))
    else:
        print_soak(result)
    if result.troubles:
        print(f"soak: its home is kept: {directory / 'home'}", file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    return 0


def run_soak(home: Path, plan: Plan) -> SoakResult:
    """Make a demo home with a second key, behind a shim, serve it, and go through the cycles.

    Raises:
        SceneFailed: the home cannot be made.
        OSError, RuntimeError: the service did not start, its capacity could not be measured, or the shim is not built.
    """
    make_soak_home(home)
    shim = put_behind_shim(home)
    notes = home / "notes"
    notes.mkdir()
    begun = time.monotonic()
    soak = _Soak(home, Injections(shim, home, plan.seed), notes)
    try:
        with serve_home(home) as served:
            soak.go_through(served, plan)
    except RuntimeError as exc:
        if not soak.rate:  # it did not begin
            raise
        soak.failures.append(str(exc))
    if soak.injections.pins:
        soak.failures.append(f"a refused PIN was tried again {soak.injections.pins} times")
    return SoakResult(
        seconds=time.monotonic() - begun,
        capacity=soak.capacity,
        rate=soak.rate,
        cycles=tuple(soak.cycles),
        missing=tuple(soak.ledger.missing),
        verdict=verify_home(home, [one.since for one in soak.cycles], _CONNECTIONS + 1),
        failures=tuple(soak.failures),
    )


@dataclass(slots=True)
class _Soak:
    """A service under way.

    Attributes:
        loads: how many there have been; each draws arrivals of its own.
        is_loaded: whether one is under way.
        has_met: whether one was when the cycle's fault was injected.
    """

    home: Path
    injections: Injections
    notes: Path
    capacity: float = 0.0
    rate: float = 0.0
    loads: int = 0
    is_loaded: bool = False
    has_met: bool = False
    cycles: list[Cycle] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    served: ServedHome = field(init=False)
    target: Target = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.home)

    def go_through(self, served: ServedHome, plan: Plan) -> None:
        """Measure the capacity, then run the cycles, each whatever became of the one before.

        Raises:
            OSError, RuntimeError: the capacity could not be measured.
        """
        self.served, self.target = served, Target(served.host, served.port)
        self.capacity = self.load(plan.capacity, None).request_rate
        if not self.capacity:
            raise RuntimeError("no vector came while the capacity was measured")
        self.ledger.check(self.notes)
        self.rate = _SHARE * self.capacity
        for at in range(plan.cycles):
            kind = self.injections.draw()
            try:
                self.cycles.append(self.cycle(at, kind, plan.seconds))
            except _TROUBLES as exc:
                self._note_failure(f"cycle {at + 1} ({kind}), not measured", exc)

    def load(self, seconds: float, rate: float | None) -> LoadResult:
        """Ask for vectors, each noted."""
        scenario = make_scenario("single", self.target, Wanted(convention=RSA))
        self.loads += 1
        self.is_loaded = True
        try:
            phases = [Phase(seconds, rate, turn=self.loads)]
            [result] = run_phases(scenario, self.target, phases, _CONNECTIONS, notes=self.notes)
        finally:
            self.is_loaded = False
        return result

    def cycle(self, at: int, kind: str, seconds: float) -> Cycle:
        """Run a fault, then calm with or without a change."""
        change, told, noted = _CHANGES[at % len(_CHANGES)], f"cycle {at + 1}", self._noted()
        self.has_met, since = False, _now()
        faulty, recovery = self._beside(
            seconds * _UNDER_FAULT, lambda: self._fail(kind, noted), f"{told} ({kind})"
        )
        calm, _ = self._beside(
            seconds * (1 - _UNDER_FAULT), lambda: self._change(at, change), f"{told}, {change}"
        )
        held: dict[str, list[int]] = {}
        for one in resident(self.served.pid):
            held.setdefault(one.kind, []).append(one.octets)
        if sys.stderr.isatty():
            print(f"\r\x1b[K{told}: {kind}", end="", file=sys.stderr, flush=True)
        return Cycle(
            number=at + 1,
            fault=kind,
            since=since,
            has_met=self.has_met,
            change=change,
            recovery=recovery,
            faulty=faulty,
            calm=calm,
            given=self.ledger.check(self.notes),
            held={name: sum(octets) / len(octets) for name, octets in held.items()},
        )

    def _beside(
        self, seconds: float, step: Callable[[], float], told: str
    ) -> tuple[LoadResult, float]:
        """Load the service while a step is taken; what the step says, in seconds."""
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(step)
            result = self.load(seconds, self.rate)
            try:
                return result, taken.result(_PATIENCE * 3)
            except _TROUBLES as exc:
                self._note_failure(told, exc)
                return result, 0.0

    def _note_failure(self, told: str, exc: BaseException) -> None:
        self.failures.append(f"{told}: {str(exc) or type(exc).__name__}")

    def _noted(self) -> int:
        """Octets of notes: more of them, and a client has been given a vector."""
        return sum(file.stat().st_size for file in self.notes.iterdir())

    def _await_load(self, noted: int) -> None:
        """Wait until the load has been answered: its client is a process, and takes its time to start."""
        deadline = time.monotonic() + _PATIENCE
        while self._noted() <= noted:
            if time.monotonic() > deadline:
                raise _Trouble(
                    f"the load was not answered within {_PATIENCE:.0f} s, and met no fault"
                )
            time.sleep(_POLL)

    def _fail(self, kind: str, noted: int) -> float:
        """Once the load is answered inject a fault, lift it, and wait for vectors as before."""
        self._await_load(noted)
        try:
            self.has_met = self.is_loaded
            self.injections.inject(kind)
        finally:
            self.injections.lift()
        begun, steady = time.monotonic(), 0
        while steady < _STEADY:
            steady = steady + 1 if self._issue() is not None else 0
            if time.monotonic() - begun > _PATIENCE:
                raise _Trouble(f"no steady vectors within {_PATIENCE:.0f} s of its end")
            if not steady:
                time.sleep(_POLL)
        return time.monotonic() - begun

    def _change(self, at: int, change: str) -> float:
        begun = time.monotonic()
        if change == "rotate":
            self._rotate(at)
        elif change == "reload":
            self._reload(at)
        return time.monotonic() - begun

    def _rotate(self, at: int) -> None:
        """Have another key sign, and see that vectors carry its certificate."""
        old, new = KEYS if at // len(_CHANGES) % 2 == 0 else KEYS[::-1]
        before = self._issue()
        status, said = _command(
            "hsm", "rotate", "--home", str(self.home), "--key", old, "--to", new
        )
        if status:
            raise _Trouble(f"rotate to {new} ended with {status}: {said}")
        self._await_other(f"the rotation to {new}", before, lambda one: one.certificate)

    def _reload(self, at: int) -> None:
        """Have vectors live longer, or again as long as before, and see that the service has taken it."""
        old, new = _LIFETIMES if at // len(_CHANGES) % 2 == 0 else _LIFETIMES[::-1]
        before = self._issue()
        amend(
            self.home / "conventions" / f"{RSA}.toml",
            {f'lifetime = "{old}"': f'lifetime = "{new}"'},
        )
        os.kill(self.served.pid, signal.SIGHUP)
        self._await_other("a reload", before, lambda one: one.life)

    def _await_other(
        self, change: str, before: "_Vector | None", read: Callable[["_Vector"], object]
    ) -> None:
        """Wait until vectors are no longer what they were before the change."""
        if before is None:
            raise _Trouble(f"no vector came before {change}")
        deadline = time.monotonic() + _PATIENCE
        while (now := self._issue()) is None or read(now) == read(before):
            if time.monotonic() > deadline:
                raise _Trouble(f"{change} did not come into force within {_PATIENCE:.0f} s")
            time.sleep(_POLL)

    def _issue(self) -> "_Vector | None":
        """Issue a vector; None when it is refused."""
        asked = {"convention": RSA, "subject": "agent-0042", "pagms": ["PAGM_CONSULTATION"]}
        connection = http.client.HTTPConnection(self.target.host, self.target.port, timeout=30)
        try:
            connection.request("POST", "/v1/vectors", json.dumps(asked).encode())
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            return None
        return msgspec.json.decode(body, type=_Vector)


class _Vector(msgspec.Struct):
    assertion: str
    not_before: datetime
    not_on_or_after: datetime

    @property
    def life(self) -> float:
        """Seconds between its conditions."""
        return (self.not_on_or_after - self.not_before).total_seconds()

    @property
    def certificate(self) -> str:
        """The first one in its KeyInfo, base64."""
        return self.assertion.partition("X509Certificate>")[2].partition("<")[0]


def _now() -> str:
    return format_instant(SystemClock().now())


def _command(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stderr.strip()
