"""How each kind of key signs a digest: what the lane sends to C_Sign, built here and nowhere else.

Owns the mechanisms. Promises that a caller can only obtain a signature over a digest of a hash named here: RSA signs the
DigestInfo this module writes (CKM_RSA_PKCS, RFC 8017 9.2), EC signs the bare digest (CKM_ECDSA) and answers r‖s.
python-pkcs11 asks the module for the size first (a third call beside C_SignInit and C_Sign); its API has no way around that.
"""

from typing import Final

import pkcs11
from pkcs11 import Mechanism

from hsm.ckr import translate
from hsm.errors import Finding, HsmError
from hsm.keys import SigningKey

_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of DigestInfo up to the digest itself (RFC 8017 9.2 note 1)."""

DIGEST_LENGTHS: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The hashes a lane knows, with their length in octets."""


def sign_digest(key: SigningKey, hash_name: str, digest: bytes) -> bytes:
    """Sign; an RSA signature has the length of the modulus, an EC one is r‖s, each as wide as the curve's field.

    Raises:
        HsmError: HASH_UNKNOWN, DIGEST_LENGTH, or what the module answered.
    """
    payload, mechanism = write_payload(key, hash_name, digest)
    try:
        return key.handle.sign(payload, mechanism=mechanism)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, key.target) from exc


def write_payload(key: SigningKey, hash_name: str, digest: bytes) -> tuple[bytes, Mechanism]:
    """Write what C_Sign is given for a digest, and say with which mechanism.

    Raises:
        HsmError: HASH_UNKNOWN or DIGEST_LENGTH.
    """
    if len(digest) != DIGEST_LENGTHS.get(hash_name):
        raise _refuse(key, hash_name, len(digest))
    if key.kind == "rsa":
        return _DIGEST_INFO[hash_name] + digest, Mechanism.RSA_PKCS
    # FIPS 186-5 6.4.1: a digest longer than the order counts with its leftmost bits; tokens disagree on who cuts.
    return digest[: key.bits // 8], Mechanism.ECDSA


def _refuse(key: SigningKey, hash_name: str, length: int) -> HsmError:
    if hash_name not in DIGEST_LENGTHS:
        code, cause = "HASH_UNKNOWN", "the hash is none of sha256, sha384, sha512"
    else:
        code, cause = "DIGEST_LENGTH", f"{length} octets are no {hash_name} digest"
    return HsmError(key.target, Finding(code, "request", cause, "correct the caller"))
