"""What a token holds and whether the configured keys work: one look, in a process of its own.

Owns the look. Promises to go through the same PIN guard, key checks and proof as a lane, so that what it finds is what a lane would.
"""

import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsm.audit import prove_audit_key
from hsm.child import DEADLINE, run_child, write_answer
from hsm.ckr import translate
from hsm.errors import Finding, HsmError, Target
from hsm.keys import find_audit_key, find_key, is_extractable, read_bits
from hsm.probe import prove_key
from hsm.session import become_user, lock_opening, open_session, read_serial
from hsm.settings import KeySettings, TokenSettings

_MECHANISMS: Final = (
    Mechanism.RSA_PKCS,
    Mechanism.SHA256_RSA_PKCS,
    Mechanism.RSA_PKCS_PSS,
    Mechanism.ECDSA,
)


class TokenFacts(msgspec.Struct, frozen=True):
    """The token as it describes itself.

    Attributes:
        mechanisms: those of ours that it announces (C_GetMechanismList): RSA_PKCS, SHA256_RSA_PKCS, RSA_PKCS_PSS, ECDSA.
    """

    slot: int
    label: str
    serial: str
    manufacturer: str
    model: str
    mechanisms: tuple[str, ...] = ()


class StoredKey(msgspec.Struct, frozen=True):
    """A private key in the token; `id` is hexadecimal, `bits` 0 where we do not sign with its kind."""

    label: str
    id: str
    kind: str
    bits: int
    is_extractable: bool


class KeyCheck(msgspec.Struct, frozen=True):
    """One configured key: why it cannot be used, or how many signatures were made and verified in how many seconds."""

    name: str
    finding: Finding | None
    signatures: int = 0
    seconds: float = 0.0


class Inventory(msgspec.Struct, frozen=True):
    """The token, every private key in it, and the verdict on each configured key, the audit key apart."""

    token: TokenFacts
    stored: tuple[StoredKey, ...]
    checks: tuple[KeyCheck, ...]
    audit: KeyCheck | None = None


class InventoryRequest(msgspec.Struct, frozen=True):
    """What the child is asked for."""

    token: TokenSettings
    keys: tuple[KeySettings, ...]
    signatures: int
    audit: KeySettings | None = None


def read_inventory(
    token: TokenSettings,
    keys: Sequence[KeySettings] = (),
    signatures: int = 1,
    audit: KeySettings | None = None,
    within: float = DEADLINE,
) -> Inventory:
    """Open the token, list it, and prove each configured key `signatures` times, the audit key once.

    Raises:
        HsmError: the token cannot be opened, its PIN was refused, now or before, or it has not answered `within` so many seconds.
    """
    request = InventoryRequest(token, tuple(keys), signatures, audit)
    return run_child(__name__, request, Inventory, token.target, within)


def _look(request: InventoryRequest) -> Inventory:
    become_user(request.token)
    with lock_opening(request.token) as guard:
        session = open_session(request.token, guard)
    try:
        stored = tuple(
            _describe(key)
            for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            if isinstance(key, pkcs11.PrivateKey)
        )
        checks = tuple(_check(session, key, request) for key in request.keys)
        audit = (
            None
            if request.audit is None
            else _check_audit(session, request.audit, request.token.target)
        )
        return Inventory(_describe_token(session.token), stored, checks, audit)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, request.token.target) from exc


def _describe_token(token: pkcs11.Token) -> TokenFacts:
    announced = token.slot.get_mechanisms()
    mechanisms = tuple(each.name for each in _MECHANISMS if each in announced)
    return TokenFacts(
        slot=token.slot.slot_id,
        label=token.label,
        serial=read_serial(token),
        manufacturer=token.manufacturer_id,
        model=token.model,
        mechanisms=mechanisms,
    )


def _describe(key: pkcs11.PrivateKey) -> StoredKey:
    bits = read_bits(key) if key.key_type in {KeyType.RSA, KeyType.EC} else 0
    kind = key.key_type.name.lower()
    return StoredKey(key.label, key.id.hex(), kind, bits, is_extractable(key))


def _check(session: pkcs11.Session, settings: KeySettings, request: InventoryRequest) -> KeyCheck:
    started = time.monotonic()
    try:
        key = find_key(session, settings, request.token.target)
        for _ in range(request.signatures):
            prove_key(key)
    except HsmError as error:
        return KeyCheck(settings.name, error.finding)
    return KeyCheck(settings.name, None, request.signatures, time.monotonic() - started)


def _check_audit(session: pkcs11.Session, settings: KeySettings, target: Target) -> KeyCheck:
    try:
        prove_audit_key(find_audit_key(session, settings, target))
    except HsmError as error:
        return KeyCheck(settings.name, error.finding)
    return KeyCheck(settings.name, None, 1)


if __name__ == "__main__":
    write_answer(lambda: _look(msgspec.json.decode(sys.stdin.buffer.read(), type=InventoryRequest)))
