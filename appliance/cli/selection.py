"""Choosing entries on the command line: the options that say which, and the search that finds them, through the index where there is one."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from appliance.cli.output import Output
from appliance.clock import format_instant
from appliance.config import load_config
from appliance.errors import ApplianceError, ConfigurationError, Reason, ResourceUnknown
from appliance.home import Home
from appliance.trace.index import SearchIndex
from appliance.trace.privacy import Pseudonyms
from appliance.trace.record import Event
from appliance.trace.search import FoundEntry, Selection, merge
from appliance.trace.view import LogPlace


def add_selection(action: argparse.ArgumentParser) -> None:
    """Declare the options that say which entries."""
    action.add_argument("--id", metavar="ID", help="the vector's assertion ID")
    action.add_argument("--issuer", metavar="URI", help="who issued the vector")
    action.add_argument("--subject", metavar="S", help="as the caller named it, or NameID")
    action.add_argument("--partner", metavar="URI", help="the other organisation, either way")
    action.add_argument("--pagm", metavar="P", help="one of the vector's PAGMs")
    action.add_argument("--convention", metavar="ID", help="the convention it was judged by")
    action.add_argument("--verdict", choices=("accepted", "refused"), help="of received ones")
    action.add_argument("--event", choices=get_args(Event), help="what happened")
    action.add_argument(
        "--since", type=_read_instant, metavar="INSTANT", help="from then on; a day, or with time"
    )
    action.add_argument("--until", type=_read_instant, metavar="INSTANT", help="before then")
    action.add_argument("--log", metavar="LOG", help="this log only")


def read_selection(arguments: argparse.Namespace) -> Selection:
    """Read what `add_selection` declared."""
    return Selection(
        assertion_id=arguments.id,
        issuer=arguments.issuer,
        subject=arguments.subject,
        partner=arguments.partner,
        pagm=arguments.pagm,
        convention=arguments.convention,
        verdict=arguments.verdict,
        event=arguments.event,
        since=arguments.since,
        until=arguments.until,
    )


def select(
    home: Path, place: LogPlace, selection: Selection, logs: Sequence[str], output: Output
) -> Iterator[FoundEntry]:
    """Yield what matches: by the index what checkpoints cover, by reading what came since.

    Raises:
        LogDamaged: where a log cannot be read.
        ConfigurationError: the index cannot be used.
    """
    subjects = _names_of(home, selection.subject)
    with SearchIndex.open(Home(home.resolve()).index) as index:
        sizes = index.sizes()
        waiting = sum(place.view(log).covered() - sizes.get(log, 0) for log in place.names())
        with output.progress("index", waiting) as bar:
            index.update(place, bar.advance)
        sizes = index.sizes()
        covered = (
            FoundEntry(stored, stored.entry)
            for log, at in index.places(selection, subjects)
            if log in logs and (stored := next(place.view(log, at).read(), None)) is not None
        )
        recent = (
            selection.pick(place.view(log, sizes.get(log, 0)).read(), subjects) for log in logs
        )
        yield from merge([covered, *recent])


def look_up(place: LogPlace, wanted: str) -> tuple[FoundEntry, ...]:
    """Find the entries about a vector, or the one at `LOG:INDEX`."""
    log, _, index = wanted.rpartition(":")
    if log in place.names() and index.isascii() and index.isdigit():
        stored = next(place.view(log, int(index)).read(), None)
        is_there = stored is not None and stored.index == int(index)
        return (FoundEntry(stored, stored.entry),) if stored is not None and is_there else ()
    selection = Selection(assertion_id=wanted)
    home = place.logs.parent
    return tuple(select(home, place, selection, place.names(), Output()))


def place_of(root: Path) -> LogPlace:
    """Find the logs of a home without reading its configuration: a trace can be read while the rest is broken."""
    home = Home(root.resolve())
    if not home.config_file.is_file():
        raise ConfigurationError(str(home.config_file), "", "a home, this file makes one")
    return LogPlace(home.logs, home.spool)


def log_names(place: LogPlace, wanted: str | None) -> tuple[str, ...]:
    """Name the logs to look in.

    Raises:
        ResourceUnknown: there is none of that name.
    """
    names = place.names()
    if wanted is None:
        return names
    if wanted not in names:
        raise ResourceUnknown(Reason.NOT_FOUND, f"no log `{wanted}`, there is {list_names(place)}")
    return (wanted,)


def list_names(place: LogPlace) -> str:
    """Name every log in a sentence."""
    return ", ".join(place.names()) or "no log yet"


def _names_of(home: Path, subject: str | None) -> list[str]:
    """Return the names under which a person may stand: his own, and his pseudonym where the home's key can be had."""
    if subject is None:
        return []
    try:
        file = load_config(home).trace.pseudonym_key_file
        return [subject, Pseudonyms.load(file).of(subject)]
    except ApplianceError:
        return [subject]


def _read_instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        return format_instant(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"expected 2026-03-01, 2026-03-01T08:00 (UTC) or 2026-03-01T08:00:00+01:00, got `{text}`"
        ) from None
