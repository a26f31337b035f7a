"""Signatures that no entry accounts for: the lanes' count, as the log `system` states it, against the vectors that were created.

Compares from each statement to the next. An entry `created` or `message-signed` has the time before the token signs, so none is
missing that was signed by then. What is created and not yet counted is carried to the next statement for as long as it can be on its
way, and not at all where the service was at rest; what no count holds after that was lost from the counts. It is named, and never made
good by a signature of a later period. A run that began before the oldest entry kept is left out, as are vectors issued without a
service, by lanes that nobody counts. Believes what it reads: `appliance.trace.verify` judges the logs.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, TypeAlias

import msgspec

from appliance.clock import format_instant
from appliance.trace.names import COMMAND_LINE, SYSTEM, read_log_name
from appliance.trace.view import LogPlace

ON_THE_WAY: Final = 10.0
"""Seconds from the time of an entry to the lane's count of its signature, beyond the wait in the queue."""

_Counts: TypeAlias = Mapping[tuple[str, str], int]  # component and key → signatures without proofs


class Period(msgspec.Struct, frozen=True):
    """A period in which a key has signed more than vectors were created, by `unaccounted`."""

    since: str
    until: str
    unaccounted: int


class Loss(msgspec.Struct, frozen=True):
    """A period at whose end so many vectors state signatures that no count holds, and that cannot be on their way any more."""

    since: str
    until: str
    vectors: int


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
        losses: those whose signatures are missing from the counts.
        steps_back: statements that contradict those before them.
    """

    signing_key: str
    since: str
    until: str
    signatures: int
    created: int
    periods: tuple[Period, ...]
    losses: tuple[Loss, ...]
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


@dataclass(slots=True)
class _Mark:
    """A statement: when, and the counts it states.

    Attributes:
        is_first: whether it is the first of a run.
        is_at_rest: whether nothing was on its way to a token: before the first request of a run and after the last.
    """

    time: str
    is_first: bool
    is_at_rest: bool
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Vectors:
    """Of one key, by the number of the statement that follows: vectors created since the one before, and those perhaps on their way."""

    created: Counter[int] = field(default_factory=Counter)
    on_the_way: Counter[int] = field(default_factory=Counter)


_DECODER: Final = msgspec.json.Decoder(_Fact)
_SIGNED: Final = frozenset({"created", "message-signed"})
"""The events that account for one signature each."""


def read_accounts(place: LogPlace, on_the_way: float = ON_THE_WAY) -> tuple[KeyAccount, ...]:
    """Compare counts and vectors of every key; reads every entry once.

    Args:
        place: the logs.
        on_the_way: how many seconds after the time of its entry a vector's signature is counted at the latest.

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
    tally = _Tally(statements.marks, on_the_way)
    kept_since = max((_count_created(place, name, tally) for name in counted), default="")
    return tuple(_accounts(statements, kept_since, tally))


def _read(place: LogPlace, name: str) -> Iterator[_Fact]:
    return (_DECODER.decode(stored.octets) for stored in place.view(name).read())


def _first_time(log: Sequence[_Fact]) -> str:
    return log[0].time if log else ""


def _count_created(place: LogPlace, name: str, tally: "_Tally") -> str:
    """Count a log's vectors; return since when it is kept, "" where whole."""
    kept_since: str | None = None
    for stored in place.view(name).read():
        fact = _DECODER.decode(stored.octets)
        if kept_since is None:
            kept_since = fact.time if stored.index else ""
        if fact.event in _SIGNED:
            tally.take(fact)
    return kept_since or ""


class _Tally:
    """Counts vectors by key and statement."""

    def __init__(self, marks: Sequence[_Mark], on_the_way: float) -> None:
        self.vectors: Final[dict[str, _Vectors]] = {}
        # A clock that was set back has statements seem to come too early.
        self._times: Final = [*accumulate((mark.time for mark in marks), max)]
        self._since: Final = [
            time if mark.is_at_rest else _earlier(time, on_the_way)
            for mark, time in zip(marks, self._times, strict=True)
        ]

    def take(self, fact: _Fact) -> None:
        """Count one vector."""
        vectors = self.vectors.setdefault(fact.key, _Vectors())
        at = bisect_left(self._times, fact.time)
        vectors.created[at] += 1
        while at < len(self._since) and self._since[at] < fact.time:
            vectors.on_the_way[at] += 1
            at += 1


def _earlier(time: str, seconds: float) -> str:
    return format_instant(datetime.fromisoformat(time) - timedelta(seconds=seconds))


class _Statements:
    """Reads entries of the log `system` in order, and remembers what each statement says."""

    def __init__(self) -> None:
        self.steps_back: Final[dict[str, list[StepBack]]] = {}
        self.marks: Final[list[_Mark]] = []
        self._counts: Final[dict[tuple[str, str], int]] = {}
        self._is_starting: bool | None = None  # None before the first run

    def take(self, fact: _Fact) -> None:
        """Read the next entry."""
        if fact.event == "service-started":
            self._is_starting = True
        elif fact.event == "service-stopped" and self.marks:
            self.marks[-1].is_at_rest = True
        elif fact.event == "key-usage":
            self._count(fact)
            if self._is_starting is not None:
                self._mark(fact, is_first=self._is_starting)
                self._is_starting = False

    def _count(self, fact: _Fact) -> None:
        name, count = (fact.component, fact.key), fact.signatures - fact.proofs
        before = self._counts.get(name, 0)
        if count < before:
            step = StepBack(fact.component, fact.time, before, count)
            self.steps_back.setdefault(fact.key, []).append(step)
        self._counts[name] = count

    def _mark(self, fact: _Fact, *, is_first: bool) -> None:
        """Entries of one statement have the same time."""
        if is_first or self.marks[-1].time != fact.time:
            self.marks.append(_Mark(fact.time, is_first, is_at_rest=is_first))
        name = (fact.component, fact.key)
        self.marks[-1].counts[name] = self._counts[name]


def _accounts(statements: _Statements, kept_since: str, tally: _Tally) -> Iterator[KeyAccount]:
    marks = statements.marks
    if not marks:
        return
    is_kept = (mark.is_at_rest and mark.time >= kept_since for mark in marks)
    first = next((at for at, kept in enumerate(is_kept) if kept), len(marks) - 1)
    for key in sorted({key for mark in marks for _, key in mark.counts}):
        account = _Account(marks, tally.vectors.get(key, _Vectors()))
        for at, made in enumerate(_made(key, marks)):
            if at > first:
                account.compare(at, made)
        yield KeyAccount(
            signing_key=key,
            since=marks[first].time,
            until=marks[-1].time,
            signatures=account.signatures,
            created=account.created,
            periods=tuple(Period(*each) for each in account.surpluses),
            losses=tuple(Loss(*each) for each in account.losses),
            steps_back=tuple(statements.steps_back.get(key, ())),
        )


def _made(key: str, marks: Sequence[_Mark]) -> Iterator[int]:
    """Say of each statement how many signatures a key has made since the one before; a count that stepped back says nothing."""
    before: dict[tuple[str, str], int] = {}
    for mark in marks:
        stated: _Counts = {name: n for name, n in mark.counts.items() if name[1] == key}
        yield sum(max(0, count - before.get(name, 0)) for name, count in stated.items())
        before.update(stated)


class _Account:
    """Goes through the statements with one key, from the first that compares.

    Attributes:
        surpluses: instant, instant, and how many signatures no vector accounts for.
        losses: likewise, how many vectors no count accounts for.
    """

    def __init__(self, marks: Sequence[_Mark], vectors: _Vectors) -> None:
        self.signatures = 0
        self.created = 0
        self.surpluses: Final[list[tuple[str, str, int]]] = []
        self.losses: Final[list[tuple[str, str, int]]] = []
        self._marks: Final = marks
        self._vectors: Final = vectors
        self._pending = 0

    def compare(self, at: int, made: int) -> None:
        """Hold what was made since the statement before against what was created since, and what was on its way then."""
        created = self._vectors.created[at]
        self.signatures += made
        self.created += created
        left = self._pending + created - made
        self._pending = min(max(0, left), self._vectors.on_the_way[at])
        self._note(self.surpluses, at, -left)
        self._note(self.losses, at, left - self._pending)

    def _note(self, found: list[tuple[str, str, int]], at: int, number: int) -> None:
        """Note a difference if it is one; those of adjacent statements of one run make one period."""
        if number <= 0:
            return
        since, until = self._marks[at - 1].time, self._marks[at].time
        if found and found[-1][1] == since and not self._marks[at].is_first:
            since, _, before = found.pop()
            number += before
        found.append((since, until, number))
