"""Checkpoints: signed statements of a log's size and root (C2SP tlog-checkpoint, signed-note), read, written and verified.

Promises that what `AuditKey.open` returns was signed by that key for the origin it states. Signs nothing: the lane does. The key's name in a
note is the origin, so that one key signs for every log of an appliance and each log has a verifier key of its own.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from appliance.errors import ApplianceError, Reason

ED25519: Final = 1
ECDSA: Final = 2
"""Signature types of C2SP signed-note."""

_ID_OCTETS: Final = 4
_LONGEST_NOTE: Final = 1024 * 1024
_HASH_OCTETS: Final = 32
_SIGNATURE: Final = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class CheckpointInvalid(ApplianceError):
    """A checkpoint is malformed, or not signed by the key it should be."""

    def __init__(self, what: str) -> None:
        super().__init__(Reason.CHECKPOINT_INVALID, what)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and root of a log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    octets: bytes


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with its signatures, none of them verified."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]
    octets: bytes


@dataclass(frozen=True, slots=True)
class AuditKey:
    """A public key that checkpoints are signed with.

    Attributes:
        spki: DER SubjectPublicKeyInfo.
    """

    kind: Literal[1, 2]
    spki: bytes

    @property
    def material(self) -> bytes:
        """The key as a verifier key carries it: 32 octets of Ed25519, or the SubjectPublicKeyInfo of an ECDSA key."""
        return self.spki[-32:] if self.kind == ED25519 else self.spki

    def key_id(self, name: str) -> bytes:
        """Return the four octets that, with the name, identify the key in a note."""
        if self.kind == ECDSA:
            return hashlib.sha256(self.spki).digest()[:_ID_OCTETS]
        named = f"{name}\n".encode() + bytes((self.kind,)) + self.material
        return hashlib.sha256(named).digest()[:_ID_OCTETS]

    def vkey(self, name: str) -> str:
        """Write the verifier key for one origin."""
        return f"{name}+{self.key_id(name).hex()}+{_encode(bytes((self.kind,)) + self.material)}"

    def has_signed(self, signed: SignedCheckpoint) -> bool:
        """Tell whether the note names this key as a signer; whether it has signed, `open` says."""
        origin = signed.checkpoint.origin
        key_id = self.key_id(origin)
        return any(each.name == origin and each.key_id == key_id for each in signed.signatures)

    def open(self, signed: SignedCheckpoint) -> Checkpoint:
        """Return the checkpoint once its signature by this key verifies.

        Raises:
            CheckpointInvalid: it is not signed by this key.
        """
        checkpoint = signed.checkpoint
        key_id = self.key_id(checkpoint.origin)
        for each in signed.signatures:
            if each.name == checkpoint.origin and each.key_id == key_id:
                self._verify(checkpoint.text.encode(), each.octets)
                return checkpoint
        raise CheckpointInvalid(
            f"the checkpoint of {checkpoint.origin} is not signed by the key {key_id.hex()}"
        )

    def _verify(self, message: bytes, signature: bytes) -> None:
        key = load_der_public_key(self.spki)
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature as exc:
            raise CheckpointInvalid("the checkpoint's signature does not verify") from exc


def read_audit_key(octets: bytes) -> AuditKey:
    """Read a public key: PEM or DER SubjectPublicKeyInfo, or a verifier key of any origin.

    Raises:
        CheckpointInvalid: it is none of them, or neither Ed25519 nor P-256.
    """
    if octets.startswith(b"-----BEGIN"):
        return _audit_key(_loaded(octets, is_pem=True))
    text = octets.strip()
    if text.count(b"+") >= 2 and b"\0" not in text:  # noqa: PLR2004 - name, key ID, key
        try:
            kind_and_key = base64.b64decode(text.split(b"+", 2)[2], validate=True)
        except binascii.Error as exc:
            raise CheckpointInvalid("a verifier key ends with base64") from exc
        if kind_and_key[:1] == bytes((ED25519,)):
            if len(kind_and_key) != 1 + _HASH_OCTETS:
                raise CheckpointInvalid("an Ed25519 verifier key has 32 octets")
            return _audit_key(ed25519.Ed25519PublicKey.from_public_bytes(kind_and_key[1:]))
        return _audit_key(_loaded(kind_and_key[1:], is_pem=False))
    return _audit_key(_loaded(octets, is_pem=False))


def write_note(checkpoint: Checkpoint, key: AuditKey, signature: bytes) -> bytes:
    """Write a checkpoint with one signature as a signed note."""
    line = _encode(key.key_id(checkpoint.origin) + signature)
    return f"{checkpoint.text}\n— {checkpoint.origin} {line}\n".encode()


def read_checkpoint(octets: bytes) -> SignedCheckpoint:
    """Read a signed checkpoint without believing it.

    Raises:
        CheckpointInvalid: it is no checkpoint in a signed note; extension lines are refused, we never write any.
    """
    if len(octets) > _LONGEST_NOTE:
        raise CheckpointInvalid("a checkpoint of more than 1 MiB")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CheckpointInvalid("a checkpoint is UTF-8") from exc
    if any(ord(mark) < 0x20 and mark != "\n" for mark in text):  # noqa: PLR2004 - C2SP signed-note
        raise CheckpointInvalid("a control character in the checkpoint")
    body, blank, signatures = text.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) != 3:  # noqa: PLR2004 - origin, size, root
        raise CheckpointInvalid("a checkpoint has three lines, an empty one, and signatures")
    origin, size, root = lines
    if not origin or _SIZE.fullmatch(size) is None:
        raise CheckpointInvalid("origin or size of the checkpoint")
    hashed = _decode(root)
    if len(hashed) != _HASH_OCTETS:
        raise CheckpointInvalid("the root of the checkpoint has not 32 octets")
    return SignedCheckpoint(
        Checkpoint(origin, int(size), hashed), _read_signatures(signatures), octets
    )


def _read_signatures(text: str) -> tuple[Signature, ...]:
    lines = text.split("\n")
    if len(lines) < 2 or lines.pop():  # noqa: PLR2004 - at least one line, and its end
        raise CheckpointInvalid("the checkpoint ends without signatures")
    signatures: list[Signature] = []
    for line in lines:
        found = _SIGNATURE.fullmatch(line)
        octets = b"" if found is None else _decode(found[2])
        if found is None or len(octets) <= _ID_OCTETS:
            raise CheckpointInvalid("a signature line of the checkpoint")
        signatures.append(Signature(found[1], octets[:_ID_OCTETS], octets[_ID_OCTETS:]))
    return tuple(signatures)


def _loaded(octets: bytes, *, is_pem: bool) -> object:
    try:
        return load_pem_public_key(octets) if is_pem else load_der_public_key(octets)
    except ValueError as exc:
        raise CheckpointInvalid("not a public key in PEM, DER or verifier key form") from exc


def _audit_key(key: object) -> AuditKey:
    if isinstance(key, ed25519.Ed25519PublicKey):
        kind: Literal[1, 2] = ED25519
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        kind = ECDSA
    else:
        raise CheckpointInvalid("the audit key is neither Ed25519 nor P-256")
    return AuditKey(kind, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _decode(text: str) -> bytes:
    """Read base64; the one text it can have, or nothing."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return octets if _encode(octets) == text else b""
