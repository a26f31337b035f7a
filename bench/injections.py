"""Faults of a token under a running service, each injected through the shim and left to last a moment: a draw, or one by name."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.fault_load import DEADLINE
from bench.shim import Shim
from hsm.ckr import KINDS
from hsm.errors import DEVICE_BLAMED, NEVER_ASKED, PIN_CODES
from hsm.guard import UNDECIDED_LOGINS

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


class Injections:
    """Injects faults into the token of a demo home behind the shim; by chance, so that a seed repeats them.

    Attributes:
        pins: how often the token was asked again after it had refused the PIN.
        resumed: how often an operator had to `resume`.
    """

    def __init__(self, shim: Shim, home: Path, seed: int) -> None:
        self.pins = 0
        self.resumed = 0
        self._shim: Final = shim
        self._home: Final = home
        self._chance: Final = random.Random(seed)  # noqa: S311 - a run that can be repeated
        self._kinds: Final[Mapping[str, tuple[float, Callable[[], None]]]] = {
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

    def draw(self) -> str:
        """Draw a kind, some of them more often than others."""
        [kind] = self._chance.choices(
            list(self._kinds), [chance for chance, _ in self._kinds.values()]
        )
        return kind

    def inject(self, kind: str) -> None:
        """Inject a fault of a kind, and let it last."""
        self._kinds[kind][1]()

    def lift(self) -> None:
        """End every fault."""
        self._shim.tell("clear")
        self._shim.tell("return")

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
