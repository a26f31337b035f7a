"""Key generation inside a token.

Owns the ceremony. Promises private keys that are sensitive, never extractable, may only sign, and have a CKA_ID of their own;
the calling process never loads the module. Refuses to touch an existing key.
"""

import sys
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from hsm.child import run_child, write_answer
from hsm.ckr import translate
from hsm.errors import Finding, HsmError, Target
from hsm.keys import read_public_key
from hsm.session import become_user, lock_opening, open_session
from hsm.settings import TokenSettings

KeyProfile = Literal["rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384", "ed25519"]

_MODULUS_BITS: Final = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_CURVES: Final = {"p-256": "secp256r1", "p-384": "secp384r1"}
_ED25519: Final = bytes.fromhex("06032b6570")
"""EC_PARAMS of Ed25519: DER of its object identifier (RFC 8410 3)."""

KEY_EXISTS: Final = "KEY_EXISTS"
"""Code of the failure for which the caller is to blame: the CKA_ID it chose is taken."""

_PRIVATE: Final[dict[Attribute, bool]] = {
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.PRIVATE: True,
}


class KeyPlan(msgspec.Struct, frozen=True):
    """A key to make.

    Attributes:
        id: CKA_ID in hexadecimal.
    """

    label: str
    id: str
    profile: KeyProfile


class GeneratedKey(msgspec.Struct, frozen=True):
    """A key that now exists.

    Attributes:
        public_key: DER SubjectPublicKeyInfo.
    """

    plan: KeyPlan
    public_key: bytes


class KeygenRequest(msgspec.Struct, frozen=True):
    """What the child is asked for."""

    token: TokenSettings
    plans: tuple[KeyPlan, ...]


def generate_keys(token: TokenSettings, plans: Sequence[KeyPlan]) -> list[GeneratedKey]:
    """Make the keys in the token, in order.

    Raises:
        HsmError: the token cannot be opened, a CKA_ID is taken (KEY_EXISTS), or the token refuses the profile.
    """
    request = KeygenRequest(token, tuple(plans))
    return run_child(__name__, request, list[GeneratedKey], token.target)


def _generate_all(request: KeygenRequest) -> list[GeneratedKey]:
    become_user(request.token)
    with lock_opening(request.token) as guard:
        session = open_session(request.token, guard, is_writable=True)
        return [_generate(session, plan, request.token.target) for plan in request.plans]


def _generate(session: pkcs11.Session, plan: KeyPlan, token: Target) -> GeneratedKey:
    target = Target(token.module, token.token, plan.label)
    try:
        _check_free(session, plan, target)
        _, private = _generate_pair(session, plan)
        return GeneratedKey(plan, read_public_key(session, private, target))
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, target) from exc


def _check_free(session: pkcs11.Session, plan: KeyPlan, target: Target) -> None:
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: bytes.fromhex(plan.id)}
    if next(iter(session.get_objects(wanted)), None) is not None:
        cause, next_step = f"CKA_ID {plan.id} is taken", "choose another id"
        raise HsmError(target, Finding(KEY_EXISTS, "human", cause, next_step))


def _generate_pair(
    session: pkcs11.Session, plan: KeyPlan
) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
    identity = bytes.fromhex(plan.id)
    sign = MechanismFlag.SIGN | MechanismFlag.VERIFY
    if plan.profile in _MODULUS_BITS:
        return session.generate_keypair(
            KeyType.RSA,
            _MODULUS_BITS[plan.profile],
            id=identity,
            label=plan.label,
            store=True,
            capabilities=sign,
            private_template=_PRIVATE,
        )
    if plan.profile == "ed25519":
        edwards = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: _ED25519}, local=True
        )
        return edwards.generate_keypair(
            id=identity,
            label=plan.label,
            store=True,
            capabilities=sign,
            private_template=_PRIVATE,
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        )
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[plan.profile])}
    domain = session.create_domain_parameters(KeyType.EC, parameters, local=True)
    return domain.generate_keypair(
        id=identity, label=plan.label, store=True, capabilities=sign, private_template=_PRIVATE
    )


if __name__ == "__main__":
    write_answer(
        lambda: _generate_all(msgspec.json.decode(sys.stdin.buffer.read(), type=KeygenRequest))
    )
