"""`appliance trace tail|search|show`: the trace logs of a home, read beside a running service or without one.

One row, or one line of JSON, for each entry; entries of several logs merged by time. The JSON holds the entry octet for octet as
it was made durable, beside its log, index and leaf hash.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_args

import msgspec

from appliance.cli.output import Colour, Exit, Output, Progress, printable
from appliance.clock import format_instant
from appliance.config import Home
from appliance.errors import ConfigurationError, Reason, ResourceUnknown
from appliance.trace.layout import FRAME_OCTETS
from appliance.trace.reader import LogReader, StoredEntry, log_names, read_log
from appliance.trace.record import Event, TraceEntry
from appliance.trace.search import FoundEntry, Selection, find, merge

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


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    _add_selection(search)
    search.set_defaults(run=run_search)
    show = actions.add_parser(
        "show",
        help="everything about one vector or one entry",
        description="Show whole entries. Example: appliance trace show --home demo worker-0:41",
    )
    show.add_argument("entry", metavar="ID|LOG:INDEX", help="a vector's ID, or one entry")
    show.set_defaults(run=run_show)
    for action in (tail, search):
        action.add_argument("--log", metavar="LOG", help="this log only")
    for action in (tail, search, show):
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
        action.add_argument("--json", action="store_true", help="one JSON document a line")


def run_tail(arguments: argparse.Namespace) -> int:
    """Print the last entries, and with --follow those that come, until interrupted."""
    listing = _Listing(Output(as_json=arguments.json))
    spool = _spool_of(arguments.home)
    count: int = arguments.n
    readers = {log: LogReader.at_tail(spool / log, count) for log in _logs(spool, arguments.log)}
    latest = _read_new(readers)
    for found in latest[max(0, len(latest) - count) :]:
        listing.show(found)
    while arguments.follow:
        time.sleep(_FOLLOW_EVERY)
        for log in _logs(spool, arguments.log):
            readers.setdefault(log, LogReader(spool / log))
        for found in _read_new(readers):
            listing.show(found)
    return Exit.DONE


def run_search(arguments: argparse.Namespace) -> int:
    """Print what matches; nothing found is a refusal."""
    output = Output(as_json=arguments.json)
    spool = _spool_of(arguments.home)
    logs = [spool / log for log in _logs(spool, arguments.log)]
    listing = _Listing(output)
    selection = _read_selection(arguments)
    with output.progress("search", sum(_size(log) for log in logs)) as bar:
        for found in merge(selection.pick(_counted(read_log(log), bar)) for log in logs):
            listing.show(found)
    if listing.is_empty:
        raise ResourceUnknown(Reason.NOT_FOUND, f"no entry matches, in {_names(spool)}")
    return Exit.DONE


def run_show(arguments: argparse.Namespace) -> int:
    """Print every field of one entry, or of all entries about one vector."""
    output = Output(as_json=arguments.json)
    spool = _spool_of(arguments.home)
    entries = _look_up(spool, arguments.entry)
    if not entries:
        raise ResourceUnknown(
            Reason.NOT_FOUND, f"no vector and no entry `{arguments.entry}`, in {_names(spool)}"
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


def _add_selection(search: argparse.ArgumentParser) -> None:
    search.add_argument("--id", metavar="ID", help="the vector's assertion ID")
    search.add_argument("--issuer", metavar="URI", help="who issued the vector")
    search.add_argument("--subject", metavar="S", help="as the caller named it, or NameID")
    search.add_argument("--pagm", metavar="P", help="one of the vector's PAGMs")
    search.add_argument("--convention", metavar="ID", help="the convention it was judged by")
    search.add_argument("--verdict", choices=("accepted", "refused"), help="of received ones")
    search.add_argument("--event", choices=get_args(Event), help="what happened")
    search.add_argument(
        "--since", type=_read_instant, metavar="INSTANT", help="from then on; a day, or with time"
    )
    search.add_argument("--until", type=_read_instant, metavar="INSTANT", help="before then")


def _read_selection(arguments: argparse.Namespace) -> Selection:
    return Selection(
        assertion_id=arguments.id,
        issuer=arguments.issuer,
        subject=arguments.subject,
        pagm=arguments.pagm,
        convention=arguments.convention,
        verdict=arguments.verdict,
        event=arguments.event,
        since=arguments.since,
        until=arguments.until,
    )


def _read_instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        return format_instant(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected 2026-03-01, 2026-03-01T08:00 (UTC) or 2026-03-01T08:00:00+01:00, got `{text}`"
        ) from None


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a count of entries, got `{text}`")
    return int(text)


def _spool_of(root: Path) -> Path:
    """Find the logs of a home without reading its configuration: a trace can be read while the rest is broken."""
    home = Home(root.resolve())
    if not home.config_file.is_file():
        raise ConfigurationError(str(home.config_file), "", "a home, this file makes one")
    return home.spool


def _logs(spool: Path, wanted: str | None) -> tuple[str, ...]:
    names = log_names(spool)
    if wanted is None:
        return names
    if wanted not in names:
        raise ResourceUnknown(Reason.NOT_FOUND, f"no log `{wanted}`, there is {_names(spool)}")
    return (wanted,)


def _names(spool: Path) -> str:
    return ", ".join(log_names(spool)) or "no log yet"


def _read_new(readers: dict[str, LogReader]) -> list[FoundEntry]:
    selection = Selection()
    return list(merge(selection.pick(reader.read()) for reader in readers.values()))


def _size(log: Path) -> int:
    return sum(file.stat().st_size for file in log.iterdir())


def _counted(entries: Iterator[StoredEntry], bar: Progress) -> Iterator[StoredEntry]:
    for stored in entries:
        bar.advance(FRAME_OCTETS + len(stored.octets))
        yield stored


def _look_up(spool: Path, wanted: str) -> tuple[FoundEntry, ...]:
    log, _, index = wanted.rpartition(":")
    if log not in log_names(spool) or not (index.isascii() and index.isdigit()):
        return find(spool, wanted)
    stored = next(read_log(spool / log, int(index)), None)
    return () if stored is None else (FoundEntry(stored, stored.entry),)


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
