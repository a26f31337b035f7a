"""An hour at 70 % of capacity, with a fault of the token every minute, and keys rotated and conventions reloaded on the way.

A cycle is a fault under load, through the shim, until vectors come as before, and then calm, in which no error is allowed. Clients note the
identifier of every vector they are given, and each must stand in the trace; the logs are verified at the end; memory must be flat.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from appliance.clock import SystemClock
from appliance.config import load_config
from appliance.tokens import token_settings
from bench.homes import RSA, amend, workshop
from bench.injections import Injections
from bench.load import LoadResult, run_phases
from bench.load.phases import Phase
from bench.load.scenario import ScenarioUnusable, Target, Wanted, make_scenario
from bench.organisations import SceneFailed, make_home
from bench.processes import resident
from bench.service import ServedHome, serve_home
from bench.shim import put_behind_shim
from bench.soak_ledger import Ledger
from bench.soak_result import Cycle, SoakResult, print_soak
from hsm.provision.demo_pki import write_demo_pki
from hsm.provision.keygen import KeyPlan, generate_keys

_SHARE: Final = 0.7
_CONNECTIONS: Final = 32
_UNDER_FAULT: Final = 1 / 3
"""Part of a cycle that belongs to its fault; the rest is calm."""

_CHANGES: Final = ("", "rotate", "reload")
_KEYS: Final = ("demo-rsa", "soak-rsa")
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench soak`."""
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default 60)")
    parser.add_argument("--cycle", type=float, default=60.0, help="seconds a fault (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="the same faults again (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run on a home made for it; 1 unless the run was clean."""
    if not (arguments.minutes > 0 and arguments.cycle > 0):
        print("soak: minutes and cycle are above 0", file=sys.stderr)
        return 2
    cycles = max(1, round(arguments.minutes * 60 / arguments.cycle))
    plan = Plan(cycles, arguments.cycle, min(10.0, arguments.cycle), arguments.seed)
    try:
        with workshop("soak-") as directory:
            result = run_soak(directory / "home", plan)
    except (SceneFailed, ScenarioUnusable, OSError, RuntimeError) as exc:
        print(f"soak: {exc}", file=sys.stderr)
        return 3
    if arguments.json:
        print(json.dumps(result.facts(), indent=2))
    else:
        print_soak(result)
    return 1 if result.troubles else 0


def run_soak(home: Path, plan: Plan) -> SoakResult:
    """Make a demo home with a second key, behind a shim, serve it, and go through the cycles.

    Raises:
        SceneFailed: the home cannot be made.
        RuntimeError: the service did not start or did not end well, or the shim is not built.
    """
    make_home(home)
    _add_successor(home)
    shim = put_behind_shim(home)
    notes = home / "notes"
    notes.mkdir()
    begun = time.monotonic()
    with serve_home(home) as served:
        target = Target(served.host, served.port)
        soak = _Soak(home, served, target, Injections(shim, home, plan.seed), notes)
        capacity = soak.load(plan.capacity, None).request_rate
        soak.ledger.check(notes)
        soak.rate = _SHARE * capacity
        try:
            cycles = tuple(soak.cycle(at, plan.seconds) for at in range(plan.cycles))
        finally:
            soak.injections.lift()
    if soak.injections.pins:
        soak.failures.append(f"a refused PIN was tried again {soak.injections.pins} times")
    return SoakResult(
        seconds=time.monotonic() - begun,
        capacity=capacity,
        rate=soak.rate,
        cycles=cycles,
        missing=tuple(soak.ledger.missing),
        verified=_verify(home),
        failures=tuple(soak.failures),
    )


@dataclass(slots=True)
class _Soak:
    """A service under way."""

    home: Path
    served: ServedHome
    target: Target
    injections: Injections
    notes: Path
    rate: float = 0.0
    failures: list[str] = field(default_factory=list)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.home)

    def load(self, seconds: float, rate: float | None) -> LoadResult:
        """Ask for vectors, each noted."""
        scenario = make_scenario("single", self.target, Wanted(convention=RSA))
        phases = [Phase(seconds, rate)]
        [result] = run_phases(scenario, self.target, phases, _CONNECTIONS, notes=self.notes)
        return result

    def cycle(self, at: int, seconds: float) -> Cycle:
        """Run a fault, then calm with or without a change."""
        kind, change = self.injections.draw(), _CHANGES[at % len(_CHANGES)]
        faulty, recovery = self._beside(seconds * _UNDER_FAULT, lambda: self._fail(kind))
        calm, _ = self._beside(seconds * (1 - _UNDER_FAULT), lambda: self._change(at, change))
        held: dict[str, list[int]] = {}
        for one in resident(self.served.pid):
            held.setdefault(one.kind, []).append(one.octets)
        if sys.stderr.isatty():
            print(f"\r\x1b[Kcycle {at + 1}: {kind}", end="", file=sys.stderr, flush=True)
        return Cycle(
            number=at + 1,
            fault=kind,
            change=change,
            recovery=recovery,
            faulty=faulty,
            calm=calm,
            traced=self.ledger.check(self.notes),
            held={name: sum(octets) / len(octets) for name, octets in held.items()},
        )

    def _beside(self, seconds: float, step: Callable[[], float]) -> tuple[LoadResult, float]:
        """Load the service while a step is taken; what the step says, in seconds."""
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(step)
            result = self.load(seconds, self.rate)
            try:
                return result, taken.result(_PATIENCE * 3)
            except _Trouble as exc:
                self.failures.append(str(exc))
                return result, 0.0

    def _fail(self, kind: str) -> float:
        """Inject a fault, lift it, and wait for vectors as before."""
        self.injections.inject(kind)
        self.injections.lift()
        begun, steady = time.monotonic(), 0
        while steady < _STEADY:
            steady = steady + 1 if self._issue() is not None else 0
            if time.monotonic() - begun > _PATIENCE:
                raise _Trouble(f"{kind}: no steady vectors within {_PATIENCE:.0f} s of its end")
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
        old, new = _KEYS if at // len(_CHANGES) % 2 == 0 else _KEYS[::-1]
        status, said = _command(
            "hsm", "rotate", "--home", str(self.home), "--key", old, "--to", new
        )
        if status:
            raise _Trouble(f"rotate to {new} ended with {status}: {said}")

    def _reload(self, at: int) -> None:
        """Have vectors live longer, or again as long as before, and see that the service has taken it."""
        old, new = _LIFETIMES if at // len(_CHANGES) % 2 == 0 else _LIFETIMES[::-1]
        before = self._issue()
        amend(
            self.home / "conventions" / f"{RSA}.toml",
            {f'lifetime = "{old}"': f'lifetime = "{new}"'},
        )
        os.kill(self.served.pid, signal.SIGHUP)
        deadline = time.monotonic() + _PATIENCE
        while self._issue() in {before, None}:
            if time.monotonic() > deadline:
                raise _Trouble(f"a reload did not come into force within {_PATIENCE:.0f} s")
            time.sleep(_POLL)

    def _issue(self) -> float | None:
        """Issue a vector and return how long it lives, seconds; None when it is refused."""
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
        vector = msgspec.json.decode(body, type=_Vector)
        return (vector.not_on_or_after - vector.not_before).total_seconds()


class _Vector(msgspec.Struct):
    not_before: datetime
    not_on_or_after: datetime


def _add_successor(home: Path) -> None:
    """Make a second RSA key in the token, certified, for conventions to be rotated to."""
    client = home / "conventions" / f"{RSA}.toml"
    amend(client, {'# lifetime = "1h"': 'lifetime = "1h"'})
    config = load_config(home)
    token = token_settings(config, config.tokens[0])
    [made] = generate_keys(token, [KeyPlan(_KEYS[1], "04", "rsa-2048")])
    write_demo_pki(home / "pki" / "soak", {_KEYS[1]: made.public_key}, SystemClock().now())
    file = home / "appliance.toml"
    table = (
        f'\n[[key]]\nname = "{_KEYS[1]}"\ntoken = "{token.name}"\nlabel = "{_KEYS[1]}"\nid = "04"\n'
        f'certificates = "pki/soak/{_KEYS[1]}.pem"\n'
    )
    file.write_text(file.read_text() + table)


def _verify(home: Path) -> int:
    """Verify the logs themselves: what faults made of signatures that no vector came of, `verify --home` would report rightly."""
    logs = [str(log) for log in sorted((home / "log").iterdir()) if log.is_dir()]
    status, said = _command("trace", "verify", "--key", str(home / "pki" / "audit.pem"), *logs)
    if status:
        print(said, file=sys.stderr)
    return status


def _command(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stderr.strip()
