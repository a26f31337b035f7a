"""Whether every vector that was answered stands in the trace: read as it grows, compared with what clients noted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from appliance.home import Home
from appliance.trace.view import LogPlace, LogView


class Ledger:
    """The logs of a home, read on from where the last look ended, so that a look costs what came since."""

    def __init__(self, home: Path) -> None:
        self._place: Final = LogPlace(Home(home).logs, Home(home).spool)
        self._views: Final[dict[str, LogView]] = {}
        self.missing: Final[list[str]] = []
        self._read()

    def check(self, notes: Path) -> int:
        """Take the notes of clients in that have ended, and drop them; how many vectors they were given.

        A vector is answered when its entry is durable, so that none of these may be missing now.
        """
        created = self._read()
        given = [line for file in notes.iterdir() for line in file.read_text().splitlines()]
        self.missing.extend(one for one in given if one not in created)
        for file in notes.iterdir():
            file.unlink()
        return len(given)

    def _read(self) -> frozenset[str]:
        """The vectors whose creation was traced since the last look."""
        return frozenset(self._identifiers())

    def _identifiers(self) -> Iterable[str]:
        for name in self._place.names():
            view = self._views.setdefault(name, self._place.view(name))
            for stored in view.read():
                if stored.entry.event == "created" and stored.entry.assertion_id:
                    yield stored.entry.assertion_id
