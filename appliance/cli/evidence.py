"""`appliance trace prove|verify|verify-proof|witness|export|purge`: what a log proves, to us and to others, and what is let go of.

`verify` and `verify-proof` need no home: a log directory or a proof, and the audit key. Faults end with 1 and name log, entry and file.
"""

import argparse
import asyncio
import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from appliance.cli.certificates import find_certificate
from appliance.cli.output import Colour, Exit, Output
from appliance.cli.selection import (
    add_selection,
    log_names,
    look_up,
    place_of,
    read_selection,
    select,
)
from appliance.cli.signatures import show_accounts
from appliance.clock import SystemClock
from appliance.config import load_config
from appliance.errors import ConfigurationError, Reason, ResourceUnknown
from appliance.home import Home
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_audit_key,
)
from appliance.trace.proofs import Proof, prove_entry, read_proof, verify_proof
from appliance.trace.reader import LogDamaged, log_names as names_below
from appliance.trace.record import TraceEntry
from appliance.trace.search import FoundEntry
from appliance.trace.store import CHECKPOINT_FILE
from appliance.trace.timestamp import time_stamp
from appliance.trace.verify import VerifiedLog, verify_log
from appliance.trace.view import LogPlace
from appliance.trace.witness import read_witness, write_witness

_COVERED_WITHIN: Final = 5.0
_LIVE_ATTEMPTS: Final = 5
_LIVE_PAUSE: Final = 1.0
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")


Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it


def add_arguments(actions: Actions) -> None:
    """Register the subcommands of `trace` that prove, judge, export and purge."""
    at_home = (
        _add_prove(actions),
        _add_witness(actions),
        _add_export(actions),
        _add_purge(actions),
    )
    for action in at_home:
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
    anywhere = (_add_verify(actions), _add_verify_proof(actions))
    for action in anywhere:
        action.add_argument("--home", type=Path, metavar="DIR", help="take logs and keys from here")
        _add_keys(action)
    for action in (at_home[0], at_home[3], *anywhere):
        action.add_argument("--json", action="store_true", help="one JSON document a line")


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


def _add_verify(actions: Actions) -> argparse.ArgumentParser:
    verify = actions.add_parser(
        "verify",
        help="verify whole logs",
        description=(
            "Verify log directories with the audit key, or every log of a home; of a home, say also how often each key has "
            "signed and which of its signatures no entry accounts for (a warning: the exit code speaks of the logs). "
            "Example: appliance trace verify --key audit.pem log/worker-0.6y.2026"
        ),
    )
    verify.add_argument("logs", nargs="*", type=Path, metavar="LOGDIR", help="log directories")
    verify.add_argument(
        "--witness", type=Path, metavar="FILE", help="checkpoints kept elsewhere (trace witness)"
    )
    verify.set_defaults(run=run_verify)
    return verify


def _add_verify_proof(actions: Actions) -> argparse.ArgumentParser:
    check = actions.add_parser(
        "verify-proof",
        help="check a proof, with nothing but the audit key",
        description=(
            "Check that an entry is in a log. Example: appliance trace verify-proof --key audit.pem "
            "--entry x.json x.tlog-proof"
        ),
    )
    check.add_argument("proof", type=Path, metavar="PROOF", help="a .tlog-proof file")
    check.add_argument("--entry", type=Path, required=True, metavar="FILE", help="the entry")
    check.add_argument("--origin", metavar="ORIGIN", help="refuse a log of any other origin")
    check.set_defaults(run=run_verify_proof)
    return check


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


def _add_keys(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an audit key: PEM, DER or a verifier key; repeatable, one for each epoch",
    )


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


def run_verify(arguments: argparse.Namespace) -> int:
    """Verify each log; the first fault of each is named, and one fault ends with 1."""
    output = Output(as_json=arguments.json)
    logs: list[Path] = list(arguments.logs)
    if arguments.home is not None:
        home = Home(arguments.home.resolve())
        logs += [home.logs / name for name in names_below(home.logs)]
    if not logs and arguments.home is None:
        raise ConfigurationError("trace verify", "LOGDIR", "a log directory, or --home")
    keys = _keys(arguments)
    witnesses = [] if arguments.witness is None else read_witness(_read(arguments.witness))
    known = [] if arguments.home is None else _signed_before(Home(arguments.home.resolve()))
    total = sum(_size(log) for log in logs)
    ended = Exit.DONE
    with output.progress("verify", total) as bar:
        for log in logs:
            try:
                verified = _verify_live(log, keys, (witnesses, known), bar.advance)
            except LogDamaged as damaged:
                ended = Exit.REFUSED
                facts = {
                    "log": log.name,
                    "ok": False,
                    "index": damaged.index,
                    "detail": damaged.detail,
                }
                output.show(facts, f"{output.paint(Colour.BAD, 'wrong')}  {damaged.detail}")
            else:
                output.show(_facts(log, verified), _sentence(output, log, verified))
    missing = _missing(logs, witnesses)
    for origin in missing:
        detail = f"the witness has seen {origin}, which is not among the logs verified"
        output.show({"log": origin, "ok": False, "detail": detail}, f"wrong  {detail}")
    if arguments.home is not None and ended is Exit.DONE:
        home = Home(arguments.home.resolve())
        show_accounts(output, LogPlace(home.logs, home.spool))
    return Exit.REFUSED if missing else ended


def _verify_live(
    log: Path,
    keys: Sequence[AuditKey],
    heads: tuple[Sequence[SignedCheckpoint], Sequence[Checkpoint]],
    advance: Callable[[int], None],
) -> VerifiedLog:
    """Verify a log that may be growing meanwhile: what was found while its checkpoint moved on is looked at again."""
    spool = log.parent.parent / "spool" / log.name
    attempts = _LIVE_ATTEMPTS if spool.is_dir() else 1
    while True:
        attempts -= 1
        before = _checkpoint_octets(log)
        try:
            return verify_log(log, keys, heads[0], heads[1], advance)
        except LogDamaged:
            if not attempts:
                raise
            time.sleep(_LIVE_PAUSE)
            if _checkpoint_octets(log) == before:
                raise


def _checkpoint_octets(log: Path) -> bytes:
    try:
        return (log / CHECKPOINT_FILE).read_bytes()
    except FileNotFoundError:
        return b""


def _signed_before(home: Home) -> list[Checkpoint]:
    """Return what the lanes of a home remember to have signed: no proof to others, a witness to us."""
    from hsm.checkpoints import read_heads  # noqa: PLC0415 - loads the binding, which other subcommands are spared

    return [
        Checkpoint(head.origin, head.size, head.root)
        for state in sorted(home.run.glob("**/checkpoints"))
        for head in read_heads(state)
    ]


def _missing(logs: Sequence[Path], witnesses: Sequence[SignedCheckpoint]) -> list[str]:
    names = {log.name for log in logs}
    origins = [witness.checkpoint.origin for witness in witnesses]
    return [origin for origin in origins if origin.rpartition("/")[2] not in names]


def _facts(log: Path, verified: VerifiedLog) -> dict[str, object]:
    checkpoint = verified.checkpoint
    return {
        "log": log.name,
        "ok": True,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "first": verified.first,
        "closed": verified.is_closed,
        "key": verified.key.vkey(checkpoint.origin),
    }


def _sentence(output: Output, log: Path, verified: VerifiedLog) -> str:
    label = output.paint(Colour.GOOD, "ok   ")
    purged = f", from entry {verified.first} on" if verified.first else ""
    closed = ", closed" if verified.is_closed else ""
    return f"{label}  {log.name}: {verified.checkpoint.size} entries{purged}{closed}"


def run_verify_proof(arguments: argparse.Namespace) -> int:
    """Say what the proof shows, or why it shows nothing."""
    output = Output(as_json=arguments.json)
    proof, entry = read_proof(_read(arguments.proof)), _read(arguments.entry)
    checkpoint = _verify_with(proof, entry, _keys(arguments))
    if arguments.origin not in {None, checkpoint.origin}:
        raise CheckpointInvalid(f"the proof is of {checkpoint.origin}, not of {arguments.origin}")
    facts = {"ok": True, "origin": checkpoint.origin, "index": proof.index, "size": checkpoint.size}
    sentence = f"entry {proof.index} of {checkpoint.origin}, among {checkpoint.size} signed for"
    output.show(facts, f"{output.paint(Colour.GOOD, 'proven')}  {sentence}")
    return Exit.DONE


def _verify_with(proof: Proof, entry: bytes, keys: Sequence[AuditKey]) -> Checkpoint:
    signers = [key for key in keys if key.has_signed(proof.signed)] or keys[:1]
    return verify_proof(proof, entry, signers[0])


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
    out.write_bytes(witness)
    url = load_config(arguments.home).trace.time_stamp_url
    if url:
        out.with_name(f"{out.name}.tsr").write_bytes(time_stamp(witness, url))
    return Exit.DONE


def run_export(arguments: argparse.Namespace) -> int:
    """Write the entries that match, merged by time."""
    output = Output()
    place = place_of(arguments.home)
    selection = read_selection(arguments)
    if arguments.format == "csv":
        output.write(_csv_line(["log", "index", "leaf_hash", *TraceEntry.__struct_fields__]))
    for found in select(arguments.home, place, selection, log_names(place, arguments.log), output):
        stored = found.stored
        if arguments.format == "csv":
            values: dict[str, object] = msgspec.to_builtins(found.entry)
            cells = (_cell(values.get(name)) for name in TraceEntry.__struct_fields__)
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


def _keys(arguments: argparse.Namespace) -> Sequence[AuditKey]:
    keys = [_read_key(file) for file in arguments.key]
    if not keys and arguments.home is not None:
        from appliance.logkeeping import audit_keys, audit_table  # noqa: PLC0415 - loads the service's parts

        keys = list(audit_keys(audit_table(load_config(arguments.home))))
    if not keys:
        raise ConfigurationError("trace", "--key", "the audit key, or --home to take it from")
    return keys


def _read_key(file: Path) -> AuditKey:
    try:
        return read_audit_key(_read(file))
    except CheckpointInvalid as exc:
        raise ConfigurationError(str(file), "", f"a public key ({exc.detail})") from exc


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc


def _size(log: Path) -> int:
    try:
        return int(_checkpoint_octets(log).split(b"\n")[1])
    except (IndexError, ValueError):
        return 0
