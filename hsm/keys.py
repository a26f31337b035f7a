"""Private keys in the token: found once, by CKA_ID and class, and refused unless they are fit to sign for us.

Owns `SigningKey`. Promises that a key is unique, sensitive, not extractable (unless the configuration is a demonstration's), may sign
and needs no PIN per signature.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key

from hsm.ckr import translate
from hsm.errors import Finding, HsmError, Target
from hsm.settings import KeySettings, Mechanism

KeyKind = Literal["rsa", "ec", "ed25519"]

_KINDS: Final[dict[KeyType, KeyKind]] = {KeyType.RSA: "rsa", KeyType.EC: "ec"}
_AUDIT_BITS: Final = 256
_ED25519_OCTETS: Final = 32
_CURVE_BITS: Final = {"06082a8648ce3d030107": 256, "06052b81040022": 384}
"""EC_PARAMS (DER of the curve's object identifier, RFC 5480 2.1.1.1) of P-256 and P-384."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that may sign, with the handle of this process's session.

    Attributes:
        bits: modulus length (RSA) or field size (EC).
        public_key: DER SubjectPublicKeyInfo: the configured one, else what the token says.
        mechanism: how it signs (`hsm.settings`).
        signature_octets: length of what it makes.
    """

    name: str
    kind: KeyKind
    bits: int
    public_key: bytes
    handle: pkcs11.SignMixin
    target: Target
    mechanism: Mechanism
    signature_octets: int


def find_key(session: pkcs11.Session, settings: KeySettings, target: Target) -> SigningKey:
    """Find one private key and check that it is fit.

    Raises:
        HsmError: the key is absent, not unique, of another kind or size, or unfit.
    """
    where = replace(target, key=settings.name)
    try:
        handle = _find_private(session, settings, where)
        kind = read_kind(handle, where)
        _check_fit(handle, settings, where)
        if kind == "ec" and settings.mechanism:
            raise _unfit(where, "KEY_MECHANISM", f"an EC key cannot sign with {settings.mechanism}")
        if not isinstance(handle, pkcs11.SignMixin):
            raise _unfit(where, "KEY_MAY_NOT_SIGN", "CKA_SIGN is false")
        public_key = settings.public_key or read_public_key(session, handle, where)
        bits = read_bits(handle)
        return SigningKey(
            settings.name,
            kind,
            bits,
            public_key,
            handle,
            where,
            settings.mechanism,
            signature_octets=bits // 8 if kind == "rsa" else bits // 8 * 2,
        )
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, where) from exc


def find_audit_key(session: pkcs11.Session, settings: KeySettings, target: Target) -> SigningKey:
    """Find the key that signs checkpoints: Ed25519, or P-256 where the token has no Ed25519.

    Raises:
        HsmError: the key is absent, not unique, of another kind, or unfit.
    """
    where = replace(target, key=settings.name)
    try:
        handle = _find_private(session, settings, where)
        is_edwards = handle.key_type is KeyType.EC_EDWARDS
        if not is_edwards and read_bits(handle) != _AUDIT_BITS:
            raise _unfit(where, "KEY_TYPE_NOT_SUPPORTED", "the key is neither Ed25519 nor P-256")
        _check_confined(handle, settings, where)
        if not isinstance(handle, pkcs11.SignMixin):
            raise _unfit(where, "KEY_MAY_NOT_SIGN", "CKA_SIGN is false")
        public_key = settings.public_key or read_public_key(session, handle, where)
        kind: KeyKind = "ed25519" if is_edwards else "ec"
        return SigningKey(
            settings.name,
            kind,
            _AUDIT_BITS,
            public_key,
            handle,
            where,
            settings.mechanism,
            signature_octets=2 * _ED25519_OCTETS,
        )
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, where) from exc


def read_kind(key: pkcs11.PrivateKey, target: Target) -> KeyKind:
    """Say whether it is RSA or EC.

    Raises:
        HsmError: KEY_TYPE_NOT_SUPPORTED.
    """
    kind = _KINDS.get(key.key_type)
    if kind is None:
        raise _unfit(target, "KEY_TYPE_NOT_SUPPORTED", "the key is neither RSA nor EC")
    return kind


def read_bits(key: pkcs11.PrivateKey) -> int:
    """Return the modulus length or the size of the curve's field; 0 for a curve we do not sign with."""
    if key.key_type is KeyType.RSA:
        return int.from_bytes(key[Attribute.MODULUS], "big").bit_length()
    return _CURVE_BITS.get(key[Attribute.EC_PARAMS].hex(), 0)


def read_public_key(session: pkcs11.Session, key: pkcs11.PrivateKey, target: Target) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a private key, from itself (RSA) or its public object (EC).

    Raises:
        HsmError: PUBLIC_KEY_NOT_FOUND: an EC key without one public object of the same CKA_ID.
    """
    if key.key_type is KeyType.RSA:
        modulus = int.from_bytes(key[Attribute.MODULUS], "big")
        exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT], "big")
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    matching = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key[Attribute.ID]}
    stored = list(session.get_objects(matching))
    if len(stored) != 1 or not isinstance(stored[0], pkcs11.PublicKey):
        raise HsmError(
            target,
            Finding(
                "PUBLIC_KEY_NOT_FOUND",
                "human",
                "the token does not hold exactly one public key beside the private one",
                "configure the key's certificate",
            ),
        )
    if key.key_type is KeyType.EC_EDWARDS:
        # CKA_EC_POINT is the 32 octets of RFC 8032, bare or (PKCS#11 before 3.0, SoftHSM) in a DER OCTET STRING.
        point = ed25519.Ed25519PublicKey.from_public_bytes(
            stored[0][Attribute.EC_POINT][-_ED25519_OCTETS:]
        )
        return point.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encode_ec_public_key(stored[0])


def is_extractable(key: pkcs11.PrivateKey) -> bool:
    """Tell whether the private key could leave the token, in clear or wrapped."""
    return not _is_set(key, Attribute.SENSITIVE) or _is_set(key, Attribute.EXTRACTABLE)


def _find_private(
    session: pkcs11.Session, settings: KeySettings, target: Target
) -> pkcs11.PrivateKey:
    key = session.get_key(ObjectClass.PRIVATE_KEY, id=bytes.fromhex(settings.id))
    if not isinstance(key, pkcs11.PrivateKey):
        raise _unfit(target, "KEY_NOT_PRIVATE", "the object is no private key")
    if key.label != settings.label:
        raise HsmError(
            target,
            Finding(
                "KEY_LABEL_MISMATCH",
                "human",
                f"the key with CKA_ID {settings.id} is labelled `{key.label}`, not `{settings.label}`",
                "correct `id` or `label` of the [[key]]",
            ),
        )
    return key


def _check_confined(key: pkcs11.PrivateKey, settings: KeySettings, target: Target) -> None:
    if is_extractable(key) and not settings.may_leave:
        raise _unfit(target, "KEY_EXTRACTABLE", "the private key could leave the token")
    if _is_set(key, Attribute.ALWAYS_AUTHENTICATE):
        raise _unfit(target, "KEY_ALWAYS_AUTHENTICATE", "the key wants the PIN for each signature")


def _check_fit(key: pkcs11.PrivateKey, settings: KeySettings, target: Target) -> None:
    _check_confined(key, settings, target)
    if not read_bits(key):
        raise _unfit(target, "KEY_CURVE_NOT_SUPPORTED", "the curve is neither P-256 nor P-384")


def _is_set(key: pkcs11.PrivateKey, attribute: Attribute) -> bool:
    """Read a flag; a token that does not know the attribute means its default, false."""
    try:
        return bool(key[attribute])
    except pkcs11.AttributeTypeInvalid:
        return False


def _unfit(target: Target, code: str, cause: str) -> HsmError:
    next_step = "generate a key with `appliance hsm keygen`, or name another one"
    return HsmError(target, Finding(code, "human", cause, next_step))
