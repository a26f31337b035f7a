"""Finds entries across the logs of a home: what to look for, and the matches of several logs merged by time."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from appliance.trace.reader import StoredEntry
from appliance.trace.record import Event, TraceEntry
from appliance.trace.view import LogPlace


class FoundEntry(msgspec.Struct, frozen=True):
    """A stored entry with what it says."""

    stored: StoredEntry
    entry: TraceEntry


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: every given fact must hold; None does not matter.

    Attributes:
        subject: the person as the caller named it, or NameID.
        partner: the other organisation, by the URI that stands for it in the vector, as issuer or recipient.
        pagm: one of those in the vector.
        since, until: instants as the trace writes them (`format_instant`); `since` is included, `until` is not.
    """

    assertion_id: str | None = None
    issuer: str | None = None
    subject: str | None = None
    partner: str | None = None
    pagm: str | None = None
    convention: str | None = None
    verdict: Literal["accepted", "refused"] | None = None
    event: Event | None = None
    since: str | None = None
    until: str | None = None

    def pick(
        self, stored: Iterable[StoredEntry], subjects: Sequence[str] | None = None
    ) -> Iterator[FoundEntry]:
        """Yield the entries that match, in order; `subjects` are further names under which the person may stand.

        Raises:
            LogDamaged: one of them is not an entry.
        """
        # Whatever is looked for stands in the entry as this JSON string: most entries need not be decoded.
        wanted = (self.assertion_id, self.issuer, self.partner, self.pagm, self.convention)
        names = frozenset(subjects or (self.subject,))
        needles = [msgspec.json.encode(value) for value in wanted if value is not None]
        for one in stored:
            if all(needle in one.octets for needle in needles):
                found = FoundEntry(one, one.entry)
                if self._matches(found.entry, names):
                    yield found

    def _matches(self, entry: TraceEntry, names: frozenset[str | None]) -> bool:
        pairs = (
            (self.assertion_id, entry.assertion_id),
            (self.issuer, entry.issuer),
            (self.convention, entry.convention),
            (self.verdict, entry.verdict),
            (self.event, entry.event),
        )
        return (
            all(wanted is None or wanted == held for wanted, held in pairs)
            and (self.subject is None or not names.isdisjoint((entry.subject, entry.name_id)))
            and (self.partner is None or self.partner in {entry.issuer, entry.recipient})
            and (self.pagm is None or self.pagm in entry.pagms)
            and (self.since is None or self.since <= entry.time)
            and (self.until is None or entry.time < self.until)
        )


def merge(logs: Iterable[Iterable[FoundEntry]]) -> Iterator[FoundEntry]:
    """Merge the entries of several logs, each in its own order, by time."""
    return heapq.merge(*logs, key=lambda found: found.entry.time)


def search(place: LogPlace, selection: Selection) -> Iterator[FoundEntry]:
    """Yield what matches in every log, by time.

    Raises:
        LogDamaged: where a log cannot be read; other logs may hold more.
    """
    return merge(selection.pick(place.view(name).read()) for name in place.names())


def find(place: LogPlace, assertion_id: str) -> tuple[FoundEntry, ...]:
    """Return every entry about one vector, from all logs, by time.

    Raises:
        LogDamaged: where a log cannot be read.
    """
    return tuple(search(place, Selection(assertion_id=assertion_id)))
