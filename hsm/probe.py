"""Proof that a key in the token is the one it is taken for (DESIGN invariant 10).

Owns the probe signature and its check with the public key, outside the token, so that the module never vouches for itself.
"""

import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.errors import Finding, HsmError
from hsm.keys import SigningKey
from hsm.mechanism import sign_digest

_PURPOSE: Final = b"InterOPS appliance lane probe\0"


def prove_key(key: SigningKey) -> None:
    """Sign a fresh probe and verify it with the key's public key.

    Raises:
        HsmError: KEY_MISMATCH, or what the signature failed with.
    """
    probe = _PURPOSE + secrets.token_bytes(32)
    digest = hashlib.sha256(probe).digest()
    signature = sign_digest(key, "sha256", digest, probe)
    if not _verifies(key, digest, signature):
        raise HsmError(
            key.target,
            Finding(
                "KEY_MISMATCH",
                "human",
                "what the private key signs does not verify with the configured certificate",
                "check that token, CKA_ID and certificate belong together",
            ),
        )


def _verifies(key: SigningKey, digest: bytes, signature: bytes) -> bool:
    public_key = load_der_public_key(key.public_key)
    prehashed = Prehashed(SHA256())
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, digest, _padding(key), prehashed)
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(_encode_der(signature), digest, ec.ECDSA(prehashed))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _padding(key: SigningKey) -> padding.AsymmetricPadding:
    if key.mechanism == "rsa-pss":
        return padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    return padding.PKCS1v15()


def _encode_der(signature: bytes) -> bytes:
    half = len(signature) // 2
    r, s = signature[:half], signature[half:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
