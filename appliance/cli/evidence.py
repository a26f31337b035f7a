"""`appliance trace prove|witness|export|purge`: what a log shows to others, and what is let go of; `judging` tells what it is worth."""

import argparse
import asyncio
import csv
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.cli.actions import Actions, take_home, take_json
from appliance.cli.certificates import find_certificate
from appliance.cli.output import Exit, Output
from appliance.cli.selection import (
    add_selection,
    log_names,
    look_up,
    place_of,
    read_selection,
    select,
)
from appliance.clock import SystemClock
from appliance.config import load_config
from appliance.errors import ConfigurationError, Reason, ResourceUnknown
from appliance.home import Home
from appliance.trace.disk import Disk
from appliance.trace.durable import replace_file
from appliance.trace.proofs import prove_entry
from appliance.trace.reader import log_names as names_below
from appliance.trace.record import TraceEntry
from appliance.trace.search import FoundEntry
from appliance.trace.timestamp import time_stamp
from appliance.trace.view import LogPlace
from appliance.trace.witness import write_witness

_COVERED_WITHIN: Final = 5.0
_FIELDS: Final = ("version", *TraceEntry.__struct_fields__)
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


def add_arguments(actions: Actions) -> None:
    """Register the subcommands of `trace` that prove, export and purge."""
    prove, purge = _add_prove(actions), _add_purge(actions)
    take_home(prove, _add_witness(actions), _add_export(actions), purge)
    take_json(prove, purge)


def _add_prove(actions: Actions) -> argparse.ArgumentParser:
    prove = actions.add_parser(
        "prove",
        help="write a proof of an entry for a third party",
        description=(
            "Write, for each entry about a vector (or for the one at LOG:INDEX), a C2SP tlog-proof, the entry and the "
            "signer's certificate. Example: appliance trace prove --home demo _3ad6336d-36bb-4572-8177-2f00c0ffee00"
        ),
    )
    prove.add_argument("entry", metavar="ID|LOG:INDEX", help="a vector's ID, or one entry")
    prove.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where to write (here)"
    )
    prove.set_defaults(run=run_prove)
    return prove


def _add_witness(actions: Actions) -> argparse.ArgumentParser:
    witness = actions.add_parser(
        "witness",
        help="export the last checkpoints, to be kept elsewhere",
        description=(
            "Write the last checkpoint of every log; `trace verify --witness` checks against it. "
            "Example: appliance trace witness --home demo > /mnt/elsewhere/witness.json"
        ),
    )
    witness.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write here instead of stdout, and its RFC 3161 time-stamp to FILE.tsr where trace.time_stamp_url is set",
    )
    witness.set_defaults(run=run_witness)
    return witness


def _add_export(actions: Actions) -> argparse.ArgumentParser:
    export = actions.add_parser(
        "export",
        help="write entries as JSON lines or CSV",
        description=(
            "Write the entries for which every given option holds. "
            "Example: appliance trace export --home demo --since 2026-03-01 --format csv > march.csv"
        ),
    )
    export.add_argument(
        "--format", choices=("jsonl", "csv"), default="jsonl", help="JSON lines (default) or CSV"
    )
    add_selection(export)
    export.set_defaults(run=run_export)
    return export


def _add_purge(actions: Actions) -> argparse.ArgumentParser:
    purge = actions.add_parser(
        "purge",
        help="drop whole old bundles of entries from the front of the logs",
        description=(
            "Drop entries older than their retention class keeps them, in whole bundles; proofs of later ones still hold. "
            "Example: appliance trace purge --home demo --dry-run"
        ),
    )
    purge.add_argument("--dry-run", action="store_true", help="only say what would be dropped")
    purge.set_defaults(run=run_purge)
    return purge


def run_prove(arguments: argparse.Namespace) -> int:
    """Write proof, entry and certificate of each entry found, and name the files."""
    output = Output(as_json=arguments.json)
    place = place_of(arguments.home)
    entries = look_up(place, arguments.entry)
    if not entries:
        raise ResourceUnknown(Reason.NOT_FOUND, f"no vector and no entry `{arguments.entry}`")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for found in entries:
        for file in _write_evidence(arguments.home, place, found, arguments.out):
            output.show({"file": str(file)}, str(file))
    return Exit.DONE


def _write_evidence(home: Path, place: LogPlace, found: FoundEntry, out: Path) -> Iterator[Path]:
    stored = found.stored
    directory = place.logs / stored.log
    deadline = time.monotonic() + _COVERED_WITHIN
    while place.view(stored.log).covered() <= stored.index:
        if time.monotonic() > deadline:
            raise ResourceUnknown(
                Reason.CHECKPOINT_NOT_LAST,
                f"no checkpoint covers {stored.log}:{stored.index} yet; try again when the service signs checkpoints",
            )
        time.sleep(0.1)
    base = f"{stored.log}-{stored.index}"
    files: dict[str, bytes] = {
        f"{base}.tlog-proof": prove_entry(directory, stored.index),
        f"{base}.json": stored.octets,
    }
    fingerprint = found.entry.certificate_sha256
    certificate = None if fingerprint is None else find_certificate(Home(home), fingerprint)
    if certificate is not None:
        files[f"{base}.pem"] = certificate
    for name, octets in files.items():
        (out / name).write_bytes(octets)
        yield out / name


def run_witness(arguments: argparse.Namespace) -> int:
    """Write the witness file, and have it time-stamped where the home says by whom."""
    home = Home(arguments.home.resolve())
    place_of(arguments.home)
    logs = [home.logs / name for name in names_below(home.logs)]
    witness = write_witness(logs, SystemClock())
    out: Path | None = arguments.out
    if out is None:
        Output().write(witness)
        return Exit.DONE
    _write_durably(out, witness)
    url = load_config(arguments.home).trace.time_stamp_url
    if url:
        _write_durably(out.with_name(f"{out.name}.tsr"), time_stamp(witness, url))
    return Exit.DONE


def _write_durably(file: Path, octets: bytes) -> None:
    """Write a file that is to outlive this machine's next moments, in the place of an older one.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        replace_file(Disk(), file, octets, file.with_name(f"{file.name}.new"))
    except OSError as exc:
        raise ConfigurationError(
            "--out", "", f"a file that can be written, got {file} ({exc.strerror})"
        ) from exc


def run_export(arguments: argparse.Namespace) -> int:
    """Write the entries that match, merged by time."""
    output = Output()
    place = place_of(arguments.home)
    selection = read_selection(arguments)
    if arguments.format == "csv":
        output.write(_csv_line(["log", "index", "leaf_hash", *_FIELDS]))
    for found in select(arguments.home, place, selection, log_names(place, arguments.log), output):
        stored = found.stored
        if arguments.format == "csv":
            values: dict[str, object] = msgspec.to_builtins(found.entry)
            cells = (_cell(values.get(name)) for name in _FIELDS)
            output.write(_csv_line([stored.log, str(stored.index), stored.leaf_hash.hex(), *cells]))
        else:
            facts = {
                "log": stored.log,
                "index": stored.index,
                "leaf_hash": stored.leaf_hash.hex(),
                "entry": msgspec.Raw(stored.octets),
            }
            output.write(msgspec.json.encode(facts) + b"\n")
    return Exit.DONE


def _cell(value: object) -> str:
    """Write a value; what a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, list | tuple):
        return " ".join(map(_cell, value))
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _csv_line(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


def run_purge(arguments: argparse.Namespace) -> int:
    """Drop what is older than its class keeps it, log by log, and say what was dropped."""
    from appliance.purging import purge_home  # noqa: PLC0415 - opens lanes, which other subcommands are spared

    output = Output(as_json=arguments.json)
    config = load_config(arguments.home)
    for purged in asyncio.run(purge_home(config, SystemClock(), is_trial=arguments.dry_run)):
        done = "would be dropped" if arguments.dry_run else "dropped"
        output.show(purged, f"{purged.log}: entries before {purged.minimum_index} {done}")
    return Exit.DONE
