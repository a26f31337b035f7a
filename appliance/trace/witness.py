"""Witness files: the last checkpoint of each log, to be kept where whoever can change the logs cannot change it.

One JSON document: `{"witness":1,"time":"…","checkpoints":["<signed note>",…]}`. It needs no protection but to be kept: every checkpoint in
it is signed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from appliance.clock import Clock, format_instant
from appliance.trace.checkpoint import CheckpointInvalid, SignedCheckpoint, read_checkpoint
from appliance.trace.reader import LogDamaged
from appliance.trace.store import CHECKPOINT_FILE


class WitnessFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a witness file holds."""

    witness: int
    time: str
    checkpoints: tuple[str, ...]


def write_witness(logs: Iterable[Path], clock: Clock) -> bytes:
    """Write the last checkpoint of each log directory; one without a checkpoint has nothing to be witnessed.

    Raises:
        LogDamaged: a checkpoint cannot be read.
    """
    notes: list[str] = []
    for directory in logs:
        try:
            octets = (directory / CHECKPOINT_FILE).read_bytes()
            read_checkpoint(octets)
        except FileNotFoundError:
            continue
        except CheckpointInvalid as exc:
            raise LogDamaged(directory.name, 0, exc.detail) from exc
        notes.append(octets.decode())
    written = WitnessFile(1, format_instant(clock.now()), tuple(notes))
    return msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n"


def read_witness(octets: bytes) -> Sequence[SignedCheckpoint]:
    """Read a witness file, or a single checkpoint, without believing it.

    Raises:
        CheckpointInvalid: it is neither, or holds no checkpoint.
    """
    if not octets.lstrip().startswith(b"{"):
        return [read_checkpoint(octets)]
    try:
        read = msgspec.json.decode(octets, type=WitnessFile)
    except msgspec.MsgspecError as exc:
        raise CheckpointInvalid(f"no witness file ({exc})") from exc
    if not read.checkpoints:
        raise CheckpointInvalid("a witness file without a checkpoint: it bears witness to nothing")
    return [read_checkpoint(note.encode()) for note in read.checkpoints]
