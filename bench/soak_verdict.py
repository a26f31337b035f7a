"""What the logs of a soak are worth: `appliance trace verify --home`, and which of the signatures without an entry its faults explain.

A fault leaves some without guilt: what was wrong is refused after it was signed, and what a lane had signed and not yet answered is signed
again by another. No more than what was on the way to the token is lost like that, and nothing before the first fault. It shows when fewer vectors
are on the way than it hides behind, which may be long after its fault.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

_PATIENCE: Final = 600.0


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
    until: str
    unaccounted: int


class _Document(msgspec.Struct):
    """A line of the command: about a log, or about a key."""

    ok: bool
    detail: str = ""
    signing_key: str = ""
    periods: tuple[_Period, ...] = ()
    steps_back: tuple[Mapping[str, object], ...] = ()


def verify_home(home: Path, faults: Sequence[str], on_the_way: int) -> Verdict:
    """Verify every log of a home, and hold signatures without an entry against the instants of faults: each explains `on_the_way` of those after it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", "trace", "verify", "--home", str(home), "--json"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        told = [msgspec.json.decode(line, type=_Document) for line in done.stdout.splitlines()]
    except (subprocess.TimeoutExpired, msgspec.MsgspecError) as exc:
        return Verdict((f"`appliance trace verify` gave no verdict: {exc}",))
    if done.returncode and all(one.ok for one in told):
        said = done.stderr.strip()
        return Verdict((f"`appliance trace verify` ended with {done.returncode}: {said}",))
    wrong = [one.detail for one in told if not (one.ok or one.signing_key)]
    for one in told:
        wrong += _judge(one, faults, on_the_way)
    unaccounted = sum(period.unaccounted for one in told for period in one.periods)
    return Verdict(tuple(wrong), unaccounted)


def _judge(account: _Document, faults: Sequence[str], on_the_way: int) -> Iterator[str]:
    key = account.signing_key
    for step in account.steps_back:
        yield f"the count of key {key} stepped back: {json.dumps(step)}"
    unaccounted = 0
    for period in account.periods:
        unaccounted += period.unaccounted
        before = sum(since <= period.until for since in faults)
        if unaccounted > before * on_the_way:
            yield (
                f"key {key}: {unaccounted:,} signatures up to {period.until} without an entry, of which {before} faults explain"
                f" {before * on_the_way}"
            )
