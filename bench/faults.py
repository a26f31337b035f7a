"""A running service under load while its token fails in every way the shim knows, at random: what is signed, refused, lost.

Each cycle injects one fault, lets it last, lifts it, and waits until a request sent afterwards is answered with a vector. Every vector is
verified by libxmlsec. The service is never restarted. A request is lost when it is neither answered with a valid vector nor refused by
name within its deadline; a PIN is in danger whenever the token is asked again after it has refused one, or has twice left open whether.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from bench.arguments import whole
from bench.fault_load import Load
from bench.fault_report import FaultsResult, name_slow, percentiles, print_result, sum_up
from bench.homes import amend
from bench.injections import Injections
from bench.service import serve_home
from bench.shim import Shim, put_behind_shim

_QUEUE_AGE: Final = 30
"""Seconds a job may wait by the configuration: so many that a request is lost which waits for that instead of being refused."""

_PATIENCE: Final = 60.0


def _let_jobs_wait(home: Path) -> None:
    amend(home / "appliance.toml", {'# age = "2s"': f'age = "{_QUEUE_AGE}s"'})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench faults`."""
    parser.add_argument("--cycles", type=whole, default=1000, help="faults to inject (1000)")
    parser.add_argument("--clients", type=whole, default=4, help="threads that ask (4)")
    parser.add_argument("--seed", type=int, default=1, help="the same faults again (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run on a home made for it; 1 unless the run was clean."""
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        home = Path(directory, "home")
        made = [sys.executable, "-m", "appliance", "init", str(home), "--demo"]
        subprocess.run(made, check=True, capture_output=True, timeout=120)
        result = run_faults(home, arguments.cycles, arguments.clients, arguments.seed)
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(result), indent=2))
    else:
        print_result(result)
    return 0 if result.is_clean else 1


def run_faults(home: Path, cycles: int, clients: int = 4, seed: int = 1) -> FaultsResult:
    """Serve a demo home behind a shim and inject faults, one after the other."""
    shim = put_behind_shim(home)
    _let_jobs_wait(home)
    begun = time.monotonic()
    with serve_home(home) as served:
        load = Load(served, home, clients)
        faults = _Faults(shim, home, load, seed)
        try:
            for cycle in range(cycles):
                faults.cycle(cycle)
                if sys.stderr.isatty():
                    print(f"\r{cycle + 1} of {cycles} ", end="", file=sys.stderr, flush=True)
        finally:
            faults.injections.lift()
            load.stop()
    log = (home / "run" / "bench.log").read_text()
    return FaultsResult(
        seed=seed,
        cycles=cycles,
        seconds=time.monotonic() - begun,
        faults=dict(sorted(Counter(faults.kinds).items())),
        vectors=load.vectors,
        refused=dict(load.refused),
        wrong=load.wrong,
        lost=load.lost.total(),
        lost_how=dict(load.lost),
        pins=faults.injections.pins,
        resumed=faults.injections.resumed,
        load_average=os.getloadavg()[0],
        not_recovered=faults.not_recovered,
        restarts=log.count('"event":"child-restarted"'),
        detect=percentiles(faults.detected),
        refuse=percentiles([refusal.seconds for refusal in load.refusals]),
        recover=percentiles(faults.recovered),
        kinds=sum_up(faults.kinds, faults.recovered, load.refusals),
        slow=name_slow(faults.kinds, faults.recovered, load.refusals),
    )


class _Faults:
    """Draws faults, injects and lifts them, and measures what follows."""

    def __init__(self, shim: Shim, home: Path, load: Load, seed: int) -> None:
        self.kinds: Final[list[str]] = []
        self.detected: Final[list[float]] = []
        self.recovered: Final[list[float]] = []
        self.not_recovered = 0
        self.injections: Final = Injections(shim, home, seed)
        self._load: Final = load

    def cycle(self, number: int) -> None:
        """Inject one fault, let it last, lift it, and wait for the first vector asked for afterwards."""
        kind = self.injections.draw()
        self.kinds.append(kind)
        self._load.begin(number)
        begun = time.monotonic()
        self.injections.inject(kind)
        lifted = time.monotonic()
        refused_at = self._load.refused_at
        if refused_at is not None:
            self.detected.append(refused_at - begun)
        self.injections.lift()
        self._await_vector(lifted)

    def _await_vector(self, lifted: float) -> None:
        while self._load.asked_at < lifted:
            if time.monotonic() - lifted > _PATIENCE:
                self.not_recovered += 1
                self.recovered.append(math.inf)
                return
            time.sleep(0.002)
        self.recovered.append(self._load.asked_at - lifted)
