"""A running service under load while its token fails in every way the shim knows, at random: what is signed, refused, lost.

Each cycle injects one fault, lets it last, lifts it, and waits until a request sent afterwards is answered with a vector. Every vector is
verified by libxmlsec. The service is never restarted. A request is lost when it is neither answered with a valid vector nor refused by
name within its deadline; a PIN is in danger whenever the token is asked again after it has refused one, or has twice left open whether.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.fault_load import DEADLINE, Load
from bench.fault_report import FaultsResult, name_slow, percentiles, print_result, sum_up
from bench.service import serve_home
from bench.shim import Shim, put_behind_shim
from hsm.ckr import KINDS
from hsm.errors import DEVICE_BLAMED, NEVER_ASKED, PIN_CODES
from hsm.guard import UNDECIDED_LOGINS

_QUEUE_AGE: Final = 30
"""Seconds a job may wait by the configuration: so many that a request is lost which waits for that instead of being refused."""

_PATIENCE: Final = 60.0
_LANES: Final = 2
_SIGNING: Final = ("C_SignInit", "C_Sign")
_OPENING: Final = (
    "C_Initialize",
    "C_GetSlotList",
    "C_OpenSession",
    "C_FindObjectsInit",
    "C_GetAttributeValue",
)
_OPENING_CODES: Final = (
    "CKR_DEVICE_ERROR",
    "CKR_GENERAL_ERROR",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_HOST_MEMORY",
    "CKR_FUNCTION_FAILED",
)
_LOGIN_CODES: Final = sorted(DEVICE_BLAMED | NEVER_ASKED)
_PIN_ANSWERS: Final = (("CKR_PIN_INCORRECT", 1), ("CKR_GENERAL_ERROR", UNDECIDED_LOGINS))
"""What a token may answer to a PIN it does not like, and how often it may then be asked."""

_CODES: Final = sorted(
    code
    for code, kind in KINDS.items()
    if code.startswith("CKR_") and kind != "human" and code not in PIN_CODES
)


def _let_jobs_wait(home: Path) -> None:
    file = home / "appliance.toml"
    file.write_text(file.read_text().replace('# age = "2s"', f'age = "{_QUEUE_AGE}s"'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench faults`."""
    parser.add_argument("--cycles", type=int, default=1000, help="faults to inject (1000)")
    parser.add_argument("--clients", type=int, default=4, help="threads that ask (4)")
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
            faults.lift()
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
        pins=faults.pins,
        resumed=faults.resumed,
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
        self.pins = 0
        self.resumed = 0
        self._shim: Final = shim
        self._home: Final = home
        self._load: Final = load
        self._chance: Final = random.Random(seed)  # noqa: S311 - a run that can be repeated
        self._drawn: Final[dict[str, tuple[float, Callable[[], None]]]] = {
            "code, so many times": (6, self._code_times),
            "code, by chance": (4, self._code_by_chance),
            "hang": (2, self._hang),
            "every call hangs": (0.5, self._hang_all),
            "sessions dropped": (3, self._drop),
            "token gone": (3, self._remove),
            "opening fails": (3, self._opening),
            "login fails": (2, self._login),
            "slow": (1, self._slow),
            "wrong signature": (2, self._spoil),
            "lane killed": (1, self._kill),
            "PIN refused": (0.2, self._refuse_pin),
        }

    def cycle(self, number: int) -> None:
        """Inject one fault, let it last, lift it, and wait for the first vector asked for afterwards."""
        kinds = list(self._drawn)
        [kind] = self._chance.choices(kinds, [self._drawn[each][0] for each in kinds])
        self.kinds.append(kind)
        self._load.begin(number)
        begun = time.monotonic()
        self._drawn[kind][1]()
        lifted = time.monotonic()
        refused_at = self._load.refused_at
        if refused_at is not None:
            self.detected.append(refused_at - begun)
        self.lift()
        self._await_vector(lifted)

    def lift(self) -> None:
        """End every fault."""
        self._shim.tell("clear")
        self._shim.tell("return")

    def _await_vector(self, lifted: float) -> None:
        while self._load.asked_at < lifted:
            if time.monotonic() - lifted > _PATIENCE:
                self.not_recovered += 1
                self.recovered.append(math.inf)
                return
            time.sleep(0.002)
        self.recovered.append(self._load.asked_at - lifted)

    def _last(self, shortest: float = 0.02, longest: float = 0.3) -> None:
        time.sleep(self._chance.uniform(shortest, longest))

    def _code_times(self) -> None:
        call, code = self._chance.choice(_SIGNING), self._chance.choice(_CODES)
        self._shim.tell("fail", call, _spell(code), "times", str(self._chance.randint(1, 4)))
        self._last()

    def _code_by_chance(self) -> None:
        call, code = self._chance.choice(_SIGNING), self._chance.choice(_CODES)
        self._shim.tell(
            "fail", call, _spell(code), "chance", f"{self._chance.uniform(0.05, 1):.3f}"
        )
        self._last()

    def _hang(self) -> None:
        self._shim.tell("hang", "C_Sign", "times", str(self._chance.randint(1, _LANES)))
        self._last(0.1, 0.8)

    def _hang_all(self) -> None:
        """Hang the whole token for longer than a request may take, so that one left in line until it is back is lost."""
        self._shim.tell("hang", "C_Sign")
        self._last(DEADLINE + 1, DEADLINE + 2)

    def _drop(self) -> None:
        self._shim.tell("drop-sessions")
        self._last()

    def _remove(self) -> None:
        self._shim.tell("remove")
        self._last(0.05, 1.0)

    def _opening(self) -> None:
        call, code = self._chance.choice(_OPENING), self._chance.choice(_OPENING_CODES)
        self._shim.tell("fail", call, code)
        self._shim.tell("drop-sessions")
        self._last(0.05, 0.8)

    def _login(self) -> None:
        """Have logins fail for a reason that is not the PIN: nobody needs to see to it."""
        self._shim.tell("fail", "C_Login", _spell(self._chance.choice(_LOGIN_CODES)))
        self._shim.tell("drop-sessions")
        self._last(0.05, 0.8)

    def _slow(self) -> None:
        self._shim.tell("delay", "C_Sign", "uniform", "1ms", "50ms")
        self._last()

    def _spoil(self) -> None:
        self._shim.tell("spoil", "C_Sign", "times", str(self._chance.randint(1, 3)))
        self._last()

    def _kill(self) -> None:
        lanes = [pid for pid in _pids() if _is_lane_of(pid, self._home)]
        if lanes:
            os.kill(self._chance.choice(lanes), signal.SIGKILL)
        self._last()

    def _refuse_pin(self) -> None:
        """Have the token refuse the PIN, or leave it open, see how often it is asked however long the lanes try, and do what the operator does."""
        code, often = self._chance.choice(_PIN_ANSWERS)
        self._shim.tell("fail", "C_Login", code)
        before = self._shim.count("C_Login", "injected")
        self._shim.tell("drop-sessions")
        deadline = time.monotonic() + _PATIENCE
        while self._asked_since(before) < often and time.monotonic() < deadline:
            time.sleep(0.02)
        self._last(1.0, 3.0)
        self.pins += max(0, self._asked_since(before) - often)
        self.resumed += 1
        self._shim.tell("clear")
        resume = [sys.executable, "-m", "appliance", "hsm", "resume", "--home", str(self._home)]
        subprocess.run([*resume, "--token", "demo"], check=True, capture_output=True, timeout=60)

    def _asked_since(self, before: int) -> int:
        return self._shim.count("C_Login", "injected") - before


def _spell(code: str) -> str:
    """Write a code as the shim takes it: it knows the names of PKCS#11 2.40."""
    return {
        "CKR_ACTION_PROHIBITED": "0x1b",
        "CKR_CURVE_NOT_SUPPORTED": "0x140",
        "CKR_FIPS_SELF_TEST_FAILED": "0x1a9",
        "CKR_LIBRARY_LOAD_FAILED": "0x1aa",
        "CKR_OPERATION_CANCEL_FAILED": "0x202",
        "CKR_PUBLIC_KEY_INVALID": "0x1b9",
        "CKR_TOKEN_RESOURCE_EXCEEDED": "0x201",
    }.get(code, code)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _is_lane_of(pid: int, home: Path) -> bool:
    """Whether the process is a lane that has its module's state in the home."""
    try:
        if b"hsm.lane" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return False
        return str(home / "shim") in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
