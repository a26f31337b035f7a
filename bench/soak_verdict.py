"""What the logs of a soak are worth: `appliance trace verify --home`, and which of the signatures without an entry its faults explain.

A fault leaves some without guilt: what was wrong is refused after it was signed, and what a lane had signed and not yet answered is signed
again by another. No more than what was on the way to the token is lost like that, and nothing where there was no fault.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

_PATIENCE: Final = 600.0


class Faulty(Protocol):
    """A time in which the token failed, from instant to instant as the trace writes them."""

    @property
    def since(self) -> str:
        """Before the fault."""

    @property
    def until(self) -> str:
        """When vectors came as before."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        wrong: in sentences; nothing when the logs are sound and the faults explain every signature without an entry.
        unaccounted: signatures without an entry.
    """

    wrong: tuple[str, ...]
    unaccounted: int = 0


class _Period(msgspec.Struct):
    since: str
    until: str
    unaccounted: int


class _Document(msgspec.Struct):
    """A line of the command: about a log, or about a key."""

    ok: bool
    detail: str = ""
    signing_key: str = ""
    periods: tuple[_Period, ...] = ()
    steps_back: tuple[Mapping[str, object], ...] = ()


def verify_home(home: Path, faults: Sequence[Faulty], on_the_way: int) -> Verdict:
    """Verify every log of a home, and hold each signature without an entry against the faults: each explains `on_the_way` of them."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "trace", "verify", "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    told = [msgspec.json.decode(line, type=_Document) for line in done.stdout.splitlines()]
    if done.returncode and all(one.ok for one in told):
        said = done.stderr.strip()
        return Verdict((f"`appliance trace verify` ended with {done.returncode}: {said}",))
    wrong = [one.detail for one in told if not (one.ok or one.signing_key)]
    for one in told:
        wrong += _judge(one, faults, on_the_way)
    unaccounted = sum(period.unaccounted for one in told for period in one.periods)
    return Verdict(tuple(wrong), unaccounted)


def _judge(account: _Document, faults: Sequence[Faulty], on_the_way: int) -> Iterator[str]:
    key = account.signing_key
    for step in account.steps_back:
        yield f"the count of key {key} stepped back: {json.dumps(step)}"
    for period in account.periods:
        met = sum(one.since <= period.until and one.until >= period.since for one in faults)
        if period.unaccounted > met * on_the_way:
            yield (
                f"key {key}: {period.unaccounted:,} signatures between {period.since} and {period.until} without an entry,"
                f" of which {met} faults explain {met * on_the_way}"
            )
