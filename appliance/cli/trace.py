"""`appliance trace tail|search|show`: the trace logs of a home, read beside a running service or without one (and see `evidence`, `judging`).

One row, or one line of JSON, for each entry; entries of several logs merged by time. The JSON holds the entry octet for octet as
it was made durable, beside its log, index and leaf hash.
"""

import argparse
import time
from typing import Final

import msgspec

from appliance.cli import evidence, judging
from appliance.cli.actions import Actions, take_home, take_json
from appliance.cli.output import Colour, Exit, Output, printable
from appliance.cli.selection import (
    add_selection,
    list_names,
    log_names,
    look_up,
    place_of,
    read_selection,
    select,
)
from appliance.errors import Reason, ResourceUnknown
from appliance.trace.reader import StoredEntry
from appliance.trace.record import TraceEntry
from appliance.trace.search import FoundEntry, Selection, merge
from appliance.trace.view import LogPlace, LogView

_FOLLOW_EVERY: Final = 0.25
_COLUMNS: Final = (
    ("time", 24),
    ("entry", 14),
    ("event", 15),
    ("outcome", 24),
    ("convention", 15),
    ("vector", 37),
    ("subject", 14),
    ("pagms", 0),
)
_OUTCOME_COLUMN: Final = 3
_LONGEST_NAME: Final = 30


def add_arguments(commands: Actions) -> None:
    """Register `trace` and its subcommands."""
    trace = commands.add_parser(
        "trace",
        help="read the trace of vectors created, received and refused",
        description="The trace logs of a home. Example: appliance trace tail --home demo -n 5",
    )
    actions = trace.add_subparsers(metavar="ACTION", required=True)
    tail = actions.add_parser(
        "tail",
        help="the last entries",
        description="Show the last entries. Example: appliance trace tail --home demo --follow",
    )
    tail.add_argument("-n", type=_read_count, default=10, metavar="N", help="how many (10)")
    tail.add_argument("-f", "--follow", action="store_true", help="then show new ones as they come")
    tail.set_defaults(run=run_tail)
    search = actions.add_parser(
        "search",
        help="the entries that match",
        description=(
            "Show the entries for which every given option holds. "
            "Example: appliance trace search --home demo --subject agent-0042 --since 2026-03-01"
        ),
    )
    add_selection(search)
    search.set_defaults(run=run_search)
    show = actions.add_parser(
        "show",
        help="everything about one vector or one entry",
        description="Show whole entries. Example: appliance trace show --home demo worker-0:41",
    )
    show.add_argument("entry", metavar="ID|LOG:INDEX", help="a vector's ID, or one entry")
    show.set_defaults(run=run_show)
    tail.add_argument("--log", metavar="LOG", help="this log only")
    take_home(tail, search, show)
    take_json(tail, search, show)
    evidence.add_arguments(actions)
    judging.add_arguments(actions)


def run_tail(arguments: argparse.Namespace) -> int:
    """Print the last entries, and with --follow those that come, until interrupted."""
    listing = _Listing(Output(as_json=arguments.json))
    place = place_of(arguments.home)
    count: int = arguments.n
    readers = {log: _at_tail(place, log, count) for log in log_names(place, arguments.log)}
    latest = _read_new(readers)
    for found in latest[max(0, len(latest) - count) :]:
        listing.show(found)
    while arguments.follow:
        time.sleep(_FOLLOW_EVERY)
        for log in log_names(place, arguments.log):
            readers.setdefault(log, place.view(log))
        for found in _read_new(readers):
            listing.show(found)
    return Exit.DONE


def run_search(arguments: argparse.Namespace) -> int:
    """Print what matches; nothing found is a refusal."""
    output = Output(as_json=arguments.json)
    place = place_of(arguments.home)
    logs = log_names(place, arguments.log)
    listing = _Listing(output)
    for found in select(arguments.home, place, read_selection(arguments), logs, output):
        listing.show(found)
    if listing.is_empty:
        raise ResourceUnknown(Reason.NOT_FOUND, f"no entry matches, in {list_names(place)}")
    return Exit.DONE


def run_show(arguments: argparse.Namespace) -> int:
    """Print every field of one entry, or of all entries about one vector."""
    output = Output(as_json=arguments.json)
    place = place_of(arguments.home)
    entries = look_up(place, arguments.entry)
    if not entries:
        raise ResourceUnknown(
            Reason.NOT_FOUND, f"no vector and no entry `{arguments.entry}`, in {list_names(place)}"
        )
    for found in entries:
        output.show(_document(found.stored), _sheet(found))
    return Exit.DONE


class _Listing:
    """Prints entries one a line, as they come, under their column names."""

    def __init__(self, output: Output) -> None:
        self._output: Final = output
        self.is_empty = True

    def show(self, found: FoundEntry) -> None:
        if self.is_empty and not self._output.as_json:
            head = "  ".join(f"{name:<{width}}" for name, width in _COLUMNS)
            self._output.show(None, self._output.paint(Colour.STRONG, head))
        self.is_empty = False
        self._output.show(_document(found.stored), self._row(found))

    def _row(self, found: FoundEntry) -> str:
        entry = found.entry
        cells = [
            entry.time,
            _place(found.stored),
            entry.event,
            _outcome(entry),
            entry.convention or "-",
            entry.assertion_id or "-",
            _shorten(printable(entry.subject or entry.name_id or "-")),
            " ".join(entry.pagms) or "-",
        ]
        padded = [
            f"{printable(cell):<{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True)
        ]
        colour = Colour.GOOD if entry.reason is None else Colour.BAD
        padded[_OUTCOME_COLUMN] = self._output.paint(colour, padded[_OUTCOME_COLUMN])
        return "  ".join(padded)


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a count of entries, got `{text}`")
    return int(text)


def _at_tail(place: LogPlace, log: str, count: int) -> LogView:
    end = place.view(log).end()
    return place.view(log, max(0, end - count))


def _read_new(readers: dict[str, LogView]) -> list[FoundEntry]:
    selection = Selection()
    return list(merge(selection.pick(reader.read()) for reader in readers.values()))


def _document(stored: StoredEntry) -> dict[str, object]:
    return {
        "log": stored.log,
        "index": stored.index,
        "leaf_hash": stored.leaf_hash.hex(),
        "entry": msgspec.Raw(stored.octets),
    }


def _sheet(found: FoundEntry) -> str:
    """Lay one entry out, a field a line, and an empty line behind it."""
    facts: dict[str, object] = {
        "entry": _place(found.stored),
        "leaf_hash": found.stored.leaf_hash.hex(),
        **msgspec.to_builtins(found.entry),
    }
    width = max(map(len, facts))
    lines = (f"{name:<{width}}  {_text(value)}" for name, value in facts.items())
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return printable(str(value))


def _shorten(name: str) -> str:
    """Cut a name so that its row stays readable; `--json` and `show` have all of it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _place(stored: StoredEntry) -> str:
    return f"{stored.log}:{stored.index}"


def _outcome(entry: TraceEntry) -> str:
    return entry.reason or entry.verdict or "done"
