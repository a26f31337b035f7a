"""The fault injector of `native/pkcs11-shim`, told from Python: one command a run, in effect on every process before it returns."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench import shim

_BUILT = Path(__file__).parents[1] / "target" / "release"
MODULE = _BUILT / "libpkcs11_shim.so"
PROGRAM = _BUILT / "pkcs11-shim"

NULL_PUBLIC_KEY = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    "7f5cd62a0d2a79dbe36d2d651a005a2ef403128e0379ddbb525ce7686298ae15"
    "f03e581a5cb2a516ef95904197290004fa1dae42dfdde6598ebcaf5895e02854"
)
"""DER SubjectPublicKeyInfo of the key of null mode, as its README has it."""

Calls = str | Iterable[str]
"""`C_Sign`, several of them, or `*` for every call."""


class Shim:
    """One state file, made anew where it is said what stands behind: load `MODULE` with `environment` and every call obeys what is told here."""

    def __init__(self, state: Path, *behind: str) -> None:
        if not (MODULE.exists() and PROGRAM.exists()):
            pytest.fail("native/pkcs11-shim is not built: run `make shim`")
        self._state = state
        if behind:
            self._run("create", *behind)

    @classmethod
    def before(cls, module: Path, state: Path) -> "Shim":
        """Stand in front of a real module."""
        return cls(state, "module", str(module))

    @classmethod
    def null(cls, state: Path, label: str, *keys: str) -> "Shim":
        """Be a token that signs P-256 at almost no cost, with a published key under each of the names `LABEL:ID`."""
        return cls(state, "null", label, *keys)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must have in its environment before it loads `MODULE`; the module behind may want more."""
        return {"PKCS11_SHIM_STATE": str(self._state)}

    def fail(
        self, calls: Calls, code: str, *, times: int | None = None, chance: float = 1.0
    ) -> int:
        """Answer with a code, `times` times or until cleared, each call with probability `chance`; returns the rule's number."""
        return self._arm("fail", calls, code, times=times, chance=chance)

    def hang(
        self,
        calls: Calls,
        seconds: float | None = None,
        *,
        times: int | None = None,
        chance: float = 1.0,
    ) -> int:
        """Keep calls for so long or until the rule is cleared, then let them go on."""
        words = [] if seconds is None else ["for", _duration(seconds)]
        return self._arm("hang", calls, *words, times=times, chance=chance)

    def delay(
        self,
        calls: Calls,
        *seconds: float,
        shape: str = "fixed",
        times: int | None = None,
        chance: float = 1.0,
    ) -> int:
        """Add latency: `fixed` (one number), `uniform` (two) or `exponential` (the mean)."""
        words = [shape, *map(_duration, seconds)]
        return self._arm("delay", calls, *words, times=times, chance=chance)

    def spoil(self, calls: Calls, *, times: int | None = None, chance: float = 1.0) -> int:
        """Flip a bit of what the module puts out: a wrong signature."""
        return self._arm("spoil", calls, times=times, chance=chance)

    def limit(self, calls: Calls, limit: int) -> None:
        """Let at most so many of these calls into the token at once, over all processes; 0 lifts it."""
        self._run("limit", _names(calls), str(limit))

    def profile(self, name: str) -> int:
        """Model a network HSM; returns the number of the rule that is its latency."""
        return int(self._run("profile", name))

    def drop_sessions(self) -> None:
        """End every session open now, login included."""
        self._run("drop-sessions")

    def remove_token(self) -> None:
        """Let the token disappear, its sessions with it."""
        self._run("remove")

    def return_token(self) -> None:
        """Let the token come back."""
        self._run("return")

    def clear(self, rule: int | None = None) -> None:
        """Take out one rule, or all; calls they keep waiting go on. Limits and the token's absence are no rules."""
        self._run("clear", *([] if rule is None else [str(rule)]))

    def zero(self) -> None:
        """Set the counters to zero."""
        self._run("zero")

    def status(self) -> dict[str, object]:
        """Rules, counters and the rest, over all processes."""
        return json.loads(self._run("status"))

    def count(self, call: str, what: str = "done") -> int:
        """How many calls were `entered`, `injected` (answered by the shim), `hung`, or `done` (CKR_OK, no mere size asked)."""
        return self.status()["calls"][call][what]

    def _arm(
        self, command: str, calls: Calls, *words: str, times: int | None, chance: float
    ) -> int:
        often = [] if times is None else ["times", str(times)]
        if chance < 1:
            often += ["chance", f"{chance:.6f}"]
        return int(self._run(command, _names(calls), *words, *often))

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [PROGRAM, self._state, *words], capture_output=True, text=True, timeout=10, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def put_behind_shim(home: Path) -> Shim:
    """Have a demo home reach its token through a shim."""
    shim.put_behind_shim(home)
    return Shim(home / "shim")


def _names(calls: Calls) -> str:
    return calls if isinstance(calls, str) else ",".join(calls)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"
