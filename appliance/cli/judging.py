"""`appliance trace verify|verify-proof`: what logs and proofs are worth, by the audit key.

Neither needs a home: a log directory or a proof, and the key. Faults end with 1 and name log, entry and file. Of a home, a log that is
gone is a fault too, and so are signatures that no entry accounts for.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from appliance.cli.actions import Actions, take_json
from appliance.cli.output import Colour, Exit, Output
from appliance.cli.signatures import show_accounts
from appliance.config import QueueTable, load_config
from appliance.errors import ConfigurationError
from appliance.home import Home
from appliance.trace.accounts import ON_THE_WAY
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_audit_key,
)
from appliance.trace.inventory import missing_logs
from appliance.trace.proofs import Proof, read_proof, verify_proof
from appliance.trace.reader import LogDamaged, log_names as names_below
from appliance.trace.store import CHECKPOINT_FILE
from appliance.trace.verify import VerifiedLog, verify_log
from appliance.trace.view import LogPlace
from appliance.trace.witness import read_witness
from hsm.heads import read_heads

_LIVE_ATTEMPTS: Final = 5
_LIVE_PAUSE: Final = 1.0
_Heads: TypeAlias = tuple[Sequence[SignedCheckpoint], Sequence[Checkpoint]]
"""What witnesses have seen, and what the lanes remember."""


def add_arguments(actions: Actions) -> None:
    """Register the subcommands of `trace` that judge."""
    judges = (_add_verify(actions), _add_verify_proof(actions))
    for action in judges:
        action.add_argument("--home", type=Path, metavar="DIR", help="take logs and keys from here")
        _add_keys(action)
    take_json(*judges)


def _add_verify(actions: Actions) -> argparse.ArgumentParser:
    verify = actions.add_parser(
        "verify",
        help="verify whole logs",
        description=(
            "Verify log directories with the audit key, or every log of a home; of a home, say also how often each key has "
            "signed and how many of its signatures no entry accounts for; any of those ends with 1 as well. "
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


def _add_keys(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an audit key: PEM, DER or a verifier key; repeatable, one for each epoch",
    )


def run_verify(arguments: argparse.Namespace) -> int:
    """Verify each log; the first fault of each is named, and so is every log that ought to be here and is not; one ends with 1."""
    output = Output(as_json=arguments.json)
    home = None if arguments.home is None else Home(arguments.home.resolve())
    logs: list[Path] = list(arguments.logs)
    if home is not None:
        logs += [home.logs / name for name in names_below(home.logs)]
    elif not logs:
        raise ConfigurationError("trace verify", "LOGDIR", "a log directory, or --home")
    keys = _keys(arguments)
    witnesses = [] if arguments.witness is None else read_witness(_read(arguments.witness))
    known = [] if home is None else _signed_before(home)
    is_sound = _judge_logs(output, logs, keys, (witnesses, known))
    gone = _unwitnessed(logs, witnesses)
    if home is not None:
        gone |= _missing(home, logs) | _unspooled(home, known)
    for name, detail in gone.items():
        wrong = output.paint(Colour.BAD, "wrong")
        output.show({"log": name, "ok": False, "detail": detail}, f"{wrong}  {detail}")
    if not is_sound or gone:
        return Exit.REFUSED
    if home is not None:
        _check_traced(home, logs)
        place = LogPlace(home.logs, home.spool, tuple(arguments.logs))
        if not show_accounts(output, place, _on_the_way(home)):
            return Exit.REFUSED
    return Exit.DONE


def _on_the_way(home: Home) -> float:
    """Return how long after its entry's time a signature may be counted: the configured wait in the queue is on top."""
    try:
        return ON_THE_WAY + load_config(home.root).queue.age
    except ConfigurationError:  # a home copied for its logs is judged by the default
        return ON_THE_WAY + QueueTable().age


def _judge_logs(
    output: Output, logs: Sequence[Path], keys: Sequence[AuditKey], heads: _Heads
) -> bool:
    """Say of each log what it is worth; tell whether all are sound."""
    is_sound = True
    with output.progress("verify", sum(map(_size, logs))) as bar:
        for log in logs:
            try:
                verified = _verify_live(log, keys, heads, bar.advance)
            except LogDamaged as damaged:
                is_sound = False
                place = {"log": log.name, "ok": False, "index": damaged.index}
                wrong = output.paint(Colour.BAD, "wrong")
                output.show(place | {"detail": damaged.detail}, f"{wrong}  {damaged.detail}")
            else:
                output.show(_facts(log, verified), _sentence(output, log, verified))
    return is_sound


def _check_traced(home: Home, logs: Sequence[Path]) -> None:
    """Refuse to call nothing sound.

    Raises:
        ConfigurationError: there is no log at all.
    """
    if not logs:
        raise ConfigurationError(
            str(home.logs),
            "",
            "at least one log: nothing has been traced here, so nothing is verified",
        )


def _verify_live(
    log: Path,
    keys: Sequence[AuditKey],
    heads: _Heads,
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
    except OSError:  # which `verify_log` names
        return b""


def _signed_before(home: Home) -> list[Checkpoint]:
    """Return what the lanes of a home remember to have signed: no proof to others, a witness to us."""
    return [
        Checkpoint(head.origin, head.size, head.root)
        for state in sorted(home.run.glob("**/checkpoints"))
        for head in read_heads(state)
    ]


def _unwitnessed(logs: Sequence[Path], witnesses: Sequence[SignedCheckpoint]) -> dict[str, str]:
    """Say of each origin that the witness has seen and no log here states."""
    here = {_origin(log) for log in logs}
    origins = (witness.checkpoint.origin for witness in witnesses)
    return {
        origin: f"the witness has seen {origin}, which is not among the logs verified"
        for origin in origins
        if origin not in here
    }


def _missing(home: Home, logs: Sequence[Path]) -> dict[str, str]:
    """Say of each log of a home that it is gone; one that has just begun may take a moment to appear."""
    place, kept = LogPlace(home.logs, home.spool), {log.name for log in logs}

    def missing() -> dict[str, str]:
        return missing_logs(place, kept | {*names_below(home.logs)}, _signed_before(home))

    gone = missing()
    if gone:
        time.sleep(_LIVE_PAUSE)
        gone = missing()
    return {name: f"log {name} is not here, yet {who}" for name, who in gone.items()}


def _unspooled(home: Home, known: Sequence[Checkpoint]) -> dict[str, str]:
    """Say of each log of a home what its spool lacks: a sound entry, or one that a lane has signed for already."""
    place = LogPlace(home.logs, home.spool)
    wrong = {
        path.name: f"log/{path.name} is no log: move it elsewhere"
        for path in sorted(home.logs.glob("*"))
        if not path.is_dir()
    }
    for name in place.names():
        signed = [head.size for head in known if head.origin == _origin(home.logs / name)]
        view = place.view(name)
        try:
            view.index = view.covered()
            for _ in view.read():
                pass
        except LogDamaged as damaged:
            wrong[name] = damaged.detail
        else:
            if view.index < max(signed, default=0):
                wrong[name] = (
                    f"log {name}: a lane has signed for {max(signed)} entries of it, log and spool end "
                    f"behind {view.index}: it is an older copy"
                )
    return wrong


def _origin(log: Path) -> str:
    return _checkpoint_octets(log).partition(b"\n")[0].decode("utf-8", "replace")


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
