"""Signs checkpoints of the trace with the audit key, and nothing else with it.

Owns the audit key and, per origin, the memory of the last checkpoint signed, durable and shared by every lane of the token. Promises to
sign only a checkpoint that extends that one by a consistency proof it has verified itself: whoever asks can neither fork a log nor
take it back. Builds the signed text itself (C2SP tlog-checkpoint), so that the key signs no octets of another's choosing.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hsm.audit import sign_message
from hsm.deadline import call_deadline
from hsm.errors import HsmError
from hsm.heads import SignedHead, locked_heads
from hsm.keys import SigningKey
from hsm.opened import OpenToken
from hsm.wire import CheckpointFrame, CheckpointRefused, CheckpointSigned, KeyFacts

_HASH_OCTETS: Final = 32
_LONGEST_ORIGIN: Final = 255
_LONGEST_PROOF: Final = 128


class CheckpointSigner:
    """The audit key of one lane."""

    def __init__(
        self,
        token: OpenToken,
        state: Path,
        call_timeout: float,
        note_failure: Callable[[HsmError], None],
    ) -> None:
        """Make it.

        Args:
            token: whose audit key signs, where it holds one.
            state: directory of what was signed, shared by the lanes of the home.
            call_timeout: seconds one signature may take before the process is ended.
            note_failure: told of each failure at the token, which concerns the whole session.
        """
        self._token: Final = token
        self._state: Final = state
        self._call_timeout: Final = call_timeout
        self._note_failure: Final = note_failure
        self._signatures = 0

    def facts(self) -> KeyFacts | None:
        """Describe the key and how often it has signed; None where the token holds none."""
        key = self._token.audit
        if key is None:
            return None
        return KeyFacts(key.name, key.kind, key.bits, key.public_key, self._signatures)

    def sign(self, asked: CheckpointFrame) -> CheckpointSigned | CheckpointRefused:
        """Sign a checkpoint that extends the last one of its origin; what is signed is remembered before it is."""
        key = self._token.audit
        if key is None:
            detail = "this lane's token holds no audit key"
            return CheckpointRefused("KEY_UNKNOWN", "request", detail)
        if not _is_well_formed(asked):
            return CheckpointRefused(
                "CHECKPOINT_MALFORMED", "request", "no checkpoint has this form"
            )
        try:
            refusal = self._remember_next(asked)
        except (OSError, msgspec.DecodeError) as exc:
            detail = f"what was signed before cannot be read or kept in {self._state}: {exc}"
            return CheckpointRefused("STATE_UNUSABLE", "human", detail)
        return refusal or self._sign(key, write_text(asked.origin, asked.size, asked.root))

    def _sign(self, key: SigningKey, text: bytes) -> CheckpointSigned | CheckpointRefused:
        try:
            with call_deadline(self._call_timeout):
                signature = sign_message(key, text)
        except HsmError as error:
            self._note_failure(error)
            return CheckpointRefused(error.finding.code, error.finding.kind, str(error))
        self._signatures += 1
        return CheckpointSigned(signature)

    def _remember_next(self, asked: CheckpointFrame) -> CheckpointRefused | None:
        with locked_heads(self._state) as heads:
            last = heads.read(asked.origin)
            refusal = _judge(asked, last)
            if refusal is None and (asked.size != last.size or not last.root):
                heads.write(SignedHead(asked.origin, asked.size, asked.root))
            return refusal


def write_text(origin: str, size: int, root: bytes) -> bytes:
    """Write the text of a checkpoint, which is what is signed (C2SP tlog-checkpoint, signed-note)."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def extends(last: SignedHead, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Verify a consistency proof (RFC 9162 2.1.4.2) from a tree that is not empty."""
    if last.size >= size:
        return last.size == size and last.root == root and not proof
    is_complete = last.size & (last.size - 1) == 0
    path = [last.root, *proof] if is_complete else list(proof)
    if not path:
        return False
    node, end = last.size - 1, size - 1
    while node & 1:
        node, end = node >> 1, end >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if node & 1 or node == end:
            old, new = _node(sibling, old), _node(sibling, new)
            while node and not node & 1:
                node, end = node >> 1, end >> 1
        else:
            new = _node(new, sibling)
        node, end = node >> 1, end >> 1
    return end == 0 and old == last.root and new == root


def _judge(asked: CheckpointFrame, last: SignedHead) -> CheckpointRefused | None:
    if last.root and asked.first != last.size:
        detail = (
            f"the last checkpoint signed for {asked.origin} has size {last.size}; prove from there"
        )
        return CheckpointRefused("CHECKPOINT_NOT_LAST", "request", detail, last.size, last.root)
    if last.root and not extends(last, asked.size, asked.root, asked.proof):
        detail = f"it does not extend the checkpoint of size {last.size} signed for {asked.origin}"
        return CheckpointRefused("CHECKPOINT_INCONSISTENT", "request", detail, last.size, last.root)
    return None


def _is_well_formed(asked: CheckpointFrame) -> bool:
    is_named = 0 < len(asked.origin) <= _LONGEST_ORIGIN and asked.origin.isprintable()
    hashes = (asked.root, *asked.proof)
    return (
        is_named
        and not any(mark.isspace() or mark == "+" for mark in asked.origin)
        and asked.size > 0
        and 0 <= asked.first <= asked.size
        and len(asked.proof) <= _LONGEST_PROOF
        and all(len(each) == _HASH_OCTETS for each in hashes)
    )


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
