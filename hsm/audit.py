"""What the audit key signs with: messages, as signed notes want them (Ed25519, or ECDSA over SHA-256 in DER), and its proof.

Owns the two mechanisms. Who may have which message signed is `hsm.checkpoints`' business, and nobody else calls this.
"""

import hashlib
import secrets
from typing import Final

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Mechanism

from hsm.ckr import translate
from hsm.errors import Finding, HsmError
from hsm.keys import SigningKey

_PURPOSE: Final = b"InterOPS appliance audit key probe\0"
_NONCE_OCTETS: Final = 32


def sign_message(key: SigningKey, message: bytes) -> bytes:
    """Sign a message with an audit key.

    Raises:
        HsmError: what the module answered.
    """
    try:
        if key.kind == "ed25519":
            return key.handle.sign(message, mechanism=Mechanism.EDDSA)
        digest = hashlib.sha256(message).digest()
        signature = key.handle.sign(digest, mechanism=Mechanism.ECDSA)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, key.target) from exc
    half = len(signature) // 2
    r, s = signature[:half], signature[half:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def prove_audit_key(key: SigningKey) -> None:
    """Sign a probe, which no checkpoint can be mistaken for, and verify it outside the token.

    Raises:
        HsmError: KEY_MISMATCH, or what the signature failed with.
    """
    message = _PURPOSE + secrets.token_bytes(_NONCE_OCTETS)
    if not _verifies(key.public_key, message, sign_message(key, message)):
        cause = "what the audit key signs does not verify with the configured public key"
        next_step = "check that token, CKA_ID and public key belong together"
        raise HsmError(key.target, Finding("KEY_MISMATCH", "human", cause, next_step))


def _verifies(spki: bytes, message: bytes, signature: bytes) -> bool:
    public_key = load_der_public_key(spki)
    try:
        if isinstance(public_key, ed25519.Ed25519PublicKey):
            public_key.verify(signature, message)
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, message, ec.ECDSA(SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
