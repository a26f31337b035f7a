"""How each kind of key signs a digest: what the lane sends to C_Sign, built here and nowhere else.

Owns the mechanisms. Promises that a caller can only obtain a signature over a digest of a hash named here: RSA signs the
DigestInfo this module writes (CKM_RSA_PKCS, RFC 8017 9.2) or the digest itself under PSS (CKM_RSA_PKCS_PSS, 9.1), EC signs the bare
digest (CKM_ECDSA) and answers r‖s. Where a token's policy demands that it hashes itself (CKM_SHA256_RSA_PKCS), it is given the octets,
and only if they are those of the digest.
python-pkcs11 asks the module for the size first (a third call beside C_SignInit and C_Sign); its API has no way around that.
"""

import hashlib
from typing import Final, NamedTuple

import pkcs11
from pkcs11 import MGF, Mechanism

from hsm.ckr import translate
from hsm.errors import Finding, HsmError
from hsm.keys import SigningKey

_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of DigestInfo up to the digest itself (RFC 8017 9.2 note 1)."""

_HASHING: Final = {
    "sha256": Mechanism.SHA256_RSA_PKCS,
    "sha384": Mechanism.SHA384_RSA_PKCS,
    "sha512": Mechanism.SHA512_RSA_PKCS,
}

DIGEST_LENGTHS: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""The hashes a lane knows, with their length in octets."""

_PssParameters = tuple[Mechanism, MGF, int]

_PSS: Final[dict[str, _PssParameters]] = {
    "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
    "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
    "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
}
"""Hash, mask generation function and salt length (RFC 6931 2.3.10: the salt is as long as the hash)."""


class Payload(NamedTuple):
    """What C_Sign is given, and how."""

    octets: bytes
    mechanism: Mechanism
    parameters: _PssParameters | None = None


def sign_digest(key: SigningKey, hash_name: str, digest: bytes, octets: bytes = b"") -> bytes:
    """Sign; an RSA signature has the length of the modulus, an EC one is r‖s, each as wide as the curve's field.

    Args:
        key: what to sign with.
        hash_name: which hash the digest is of.
        digest: the hash value.
        octets: what was hashed; wanted only by keys whose token hashes itself.

    Raises:
        HsmError: HASH_UNKNOWN, DIGEST_LENGTH, OCTETS_MISMATCH, or what the module answered.
    """
    payload = write_payload(key, hash_name, digest, octets)
    try:
        return key.handle.sign(
            payload.octets,
            mechanism=payload.mechanism,
            mechanism_param=payload.parameters,
            buffer_size=key.signature_octets,
        )
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, key.target) from exc


def write_payload(key: SigningKey, hash_name: str, digest: bytes, octets: bytes = b"") -> Payload:
    """Write what C_Sign is given for a digest, and say with which mechanism.

    Raises:
        HsmError: HASH_UNKNOWN, DIGEST_LENGTH or OCTETS_MISMATCH.
    """
    if len(digest) != DIGEST_LENGTHS.get(hash_name):
        raise _refuse(key, hash_name, len(digest))
    if key.kind == "ec":
        # FIPS 186-5 6.4.1: a digest longer than the order counts with its leftmost bits; tokens disagree on who cuts.
        return Payload(digest[: key.bits // 8], Mechanism.ECDSA)
    if key.mechanism == "rsa-pss":
        return Payload(digest, Mechanism.RSA_PKCS_PSS, _PSS[hash_name])
    if key.mechanism == "rsa-hash-in-token":
        if hashlib.new(hash_name, octets).digest() != digest:
            cause = "the octets to be hashed in the token are not those of the digest"
            raise HsmError(
                key.target, Finding("OCTETS_MISMATCH", "request", cause, "correct the caller")
            )
        return Payload(octets, _HASHING[hash_name])
    return Payload(_DIGEST_INFO[hash_name] + digest, Mechanism.RSA_PKCS)


def _refuse(key: SigningKey, hash_name: str, length: int) -> HsmError:
    if hash_name not in DIGEST_LENGTHS:
        code, cause = "HASH_UNKNOWN", "the hash is none of sha256, sha384, sha512"
    else:
        code, cause = "DIGEST_LENGTH", f"{length} octets are no {hash_name} digest"
    return HsmError(key.target, Finding(code, "request", cause, "correct the caller"))
