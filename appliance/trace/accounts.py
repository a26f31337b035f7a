"""Signatures that no entry accounts for: the lanes' count, as the log `system` states it, against the vectors that were created.

Compares period by period, from statement to statement at which the service was at rest: a run of the service, and the pause before the
next. A run that goes on is compared up to its last statement. An entry `created` or `message-signed` has the time before the token signs, so none is
missing that was signed by then; those still on their way may hide as many others until the next statement. A run that began before
the oldest entry kept is left out, as are vectors issued without a service, by lanes that nobody counts. Believes what it reads:
`appliance.trace.verify` judges the logs.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

import msgspec

from appliance.trace.names import COMMAND_LINE, SYSTEM, read_log_name
from appliance.trace.view import LogPlace

_Counts: TypeAlias = Mapping[tuple[str, str], int]  # component and key → signatures without proofs


class Period(msgspec.Struct, frozen=True):
    """A period in which a key has signed more than vectors were created, by `unaccounted`."""

    since: str
    until: str
    unaccounted: int


class StepBack(msgspec.Struct, frozen=True):
    """A count that became smaller, which lanes cannot do: the file was lost, or put back."""

    component: str
    time: str
    before: int
    after: int


class KeyAccount(msgspec.Struct, frozen=True):
    """What one key has signed, and for what, between two instants.

    Attributes:
        signatures: by the lanes' count, without proofs.
        created: vectors, and signatures over messages, of the trace.
        periods: those with signatures that no entry accounts for.
        steps_back: statements that contradict those before them.
    """

    signing_key: str
    since: str
    until: str
    signatures: int
    created: int
    periods: tuple[Period, ...]
    steps_back: tuple[StepBack, ...]

    @property
    def unaccounted(self) -> int:
        """How many signatures no entry accounts for."""
        return sum(period.unaccounted for period in self.periods)


class _Fact(msgspec.Struct, frozen=True):
    """What of an entry matters here."""

    event: str
    time: str
    key: str = ""
    component: str = ""
    signatures: int = 0
    proofs: int = 0


@dataclass(frozen=True, slots=True)
class _Mark:
    """An instant, and what had been signed by then."""

    time: str
    counts: _Counts


_DECODER: Final = msgspec.json.Decoder(_Fact)
_SIGNED: Final = frozenset({"created", "message-signed"})
"""The events that account for one signature each."""


def read_accounts(place: LogPlace) -> tuple[KeyAccount, ...]:
    """Compare counts and vectors of every key; reads every entry once.

    Raises:
        LogDamaged: a log cannot be read.
    """
    names = [(name, parsed) for name in place.names() if (parsed := read_log_name(name))]
    system = [name for name, parsed in names if parsed.writer == SYSTEM]
    counted = [name for name, parsed in names if parsed.writer not in {SYSTEM, COMMAND_LINE}]
    statements = _Statements()
    for log in sorted(([*_read(place, name)] for name in system), key=_first_time):
        for fact in log:
            statements.take(fact)
    times = [*accumulate((mark.time for mark in statements.marks()), max)]
    created: dict[str, Counter[int]] = {}
    kept_since = max((_count_created(place, name, times, created) for name in counted), default="")
    return tuple(_accounts(statements, kept_since, created))


def _read(place: LogPlace, name: str) -> Iterator[_Fact]:
    return (_DECODER.decode(stored.octets) for stored in place.view(name).read())


def _first_time(log: Sequence[_Fact]) -> str:
    return log[0].time if log else ""


def _count_created(
    place: LogPlace, name: str, times: Sequence[str], created: dict[str, Counter[int]]
) -> str:
    """Count a log's vectors by key and period (the number of the mark that ends it); return since when it is kept, "" where whole."""
    kept_since: str | None = None
    for stored in place.view(name).read():
        fact = _DECODER.decode(stored.octets)
        if kept_since is None:
            kept_since = fact.time if stored.index else ""
        if fact.event in _SIGNED:
            created.setdefault(fact.key, Counter())[bisect_left(times, fact.time)] += 1
    return kept_since or ""


class _Statements:
    """Reads entries of the log `system` in order, and remembers the counts at the beginning and at the end of each run."""

    def __init__(self) -> None:
        self.steps_back: Final[dict[str, list[StepBack]]] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._runs: Final[list[list[_Mark]]] = []

    def take(self, fact: _Fact) -> None:
        """Read the next entry."""
        if fact.event == "service-started":
            self._runs.append([])
        elif fact.event == "key-usage":
            self._count(fact)
            if self._runs:
                self._mark(self._runs[-1], fact.time)

    def marks(self) -> list[_Mark]:
        """Return the instants between which to compare."""
        return [mark for run in self._runs for mark in run]

    def _count(self, fact: _Fact) -> None:
        name, count = (fact.component, fact.key), fact.signatures - fact.proofs
        before = self._counts.get(name, 0)
        if count < before:
            step = StepBack(fact.component, fact.time, before, count)
            self.steps_back.setdefault(fact.key, []).append(step)
        self._counts[name] = count

    def _mark(self, run: list[_Mark], time: str) -> None:
        """Entries of one statement have the same time; between the first statement and the last, a mark moves on."""
        mark = _Mark(time, dict(self._counts))
        if run and (run[-1].time == time or len(run) > 1):
            run[-1] = mark
        else:
            run.append(mark)


def _accounts(
    statements: _Statements, kept_since: str, created: Mapping[str, Counter[int]]
) -> Iterator[KeyAccount]:
    marks = statements.marks()
    if not marks:
        return
    kept = [at for at, mark in enumerate(marks) if mark.time >= kept_since]
    ends = kept[1:]
    since = marks[kept[0]].time if kept else marks[-1].time
    for key in sorted({key for _, key in marks[-1].counts}):
        vectors = created.get(key, Counter())
        signed = {at: _made(key, marks[at - 1].counts, marks[at].counts) for at in ends}
        surplus = {at: made - vectors[at] for at, made in signed.items()}
        yield KeyAccount(
            signing_key=key,
            since=since,
            until=marks[-1].time,
            signatures=sum(signed.values()),
            created=sum(vectors[at] for at in ends),
            periods=tuple(
                Period(marks[at - 1].time, marks[at].time, more)
                for at, more in surplus.items()
                if more > 0
            ),
            steps_back=tuple(statements.steps_back.get(key, ())),
        )


def _made(key: str, before: _Counts, after: _Counts) -> int:
    """Return how many signatures all tokens have made with a key; a count that stepped back says nothing."""
    made = (count - before.get(name, 0) for name, count in after.items() if name[1] == key)
    return sum(each for each in made if each > 0)
