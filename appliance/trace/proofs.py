"""C2SP tlog-proof: that one entry is in a log, as a text a third party checks with the audit key and nothing of ours.

Promises that a proof written here was verified before it was written, and that one read is believed only when signature and inclusion
both hold.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.native import TreeRefused, prove_inclusion, verify_inclusion
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    CheckpointInvalid,
    SignedCheckpoint,
    read_checkpoint,
)
from appliance.trace.store import CHECKPOINT_FILE, read_resource
from appliance.trace.tree import leaf_hash

HEADER: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")
_LONGEST: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Proof:
    """An inclusion proof with the checkpoint it leads to, none of it verified."""

    index: int
    hashes: tuple[bytes, ...]
    signed: SignedCheckpoint


def prove_entry(directory: Path, index: int) -> bytes:
    """Write the proof of an entry that the log's checkpoint covers.

    Raises:
        CheckpointInvalid: the log has no readable checkpoint.
        TreeRefused: the checkpoint does not cover the entry, or a tile is not as it should be.
        FileNotFoundError: a tile, or the checkpoint, is not there.
    """
    signed = read_checkpoint((directory / CHECKPOINT_FILE).read_bytes())
    size = signed.checkpoint.size
    hashes = prove_inclusion(index, size, lambda path: read_resource(directory, path))
    return write_proof(Proof(index, tuple(hashes), signed))


def write_proof(proof: Proof) -> bytes:
    """Write a proof; the checkpoint goes in octet for octet."""
    hashes = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof.hashes)
    return f"{HEADER}\nindex {proof.index}\n{hashes}\n".encode() + proof.signed.octets


def read_proof(octets: bytes) -> Proof:
    """Read a proof without believing it; `extra` is passed over, it proves nothing.

    Raises:
        CheckpointInvalid: the octets are no tlog-proof.
    """
    head, blank, note = octets[:_LONGEST].partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as exc:
        raise CheckpointInvalid("a proof begins with lines of ASCII") from exc
    if lines[:1] != [HEADER] or not blank:
        raise CheckpointInvalid(f"no `{HEADER}`")
    lines = lines[2:] if lines[1:2] and lines[1].startswith("extra ") else lines[1:]
    found = _INDEX.fullmatch(lines[0]) if lines else None
    if found is None:
        raise CheckpointInvalid("the proof states no index")
    hashes = tuple(map(_read_hash, lines[1:]))
    return Proof(int(found[1]), hashes, read_checkpoint(note))


def verify_proof(proof: Proof, entry: bytes, key: AuditKey) -> Checkpoint:
    """Return the checkpoint once it is signed by the key and includes the entry at the index.

    Raises:
        CheckpointInvalid: it is not, or does not.
    """
    checkpoint = key.open(proof.signed)
    try:
        verify_inclusion(
            proof.index, checkpoint.size, leaf_hash(entry), proof.hashes, checkpoint.root
        )
    except TreeRefused as exc:
        raise CheckpointInvalid(
            f"the log {checkpoint.origin} does not hold this entry at index {proof.index}: {exc}"
        ) from exc
    return checkpoint


def _read_hash(line: str) -> bytes:
    try:
        octets = base64.b64decode(line, validate=True)
    except binascii.Error as exc:
        raise CheckpointInvalid("a line of the proof is no base64") from exc
    if len(octets) != 32 or base64.b64encode(octets).decode() != line:  # noqa: PLR2004 - SHA-256
        raise CheckpointInvalid("a line of the proof is no SHA-256 value in base64")
    return octets
