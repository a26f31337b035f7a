"""A certificate request signed by a key in the token.

Owns the PKCS #10 structure (RFC 2986) and the ceremony that signs it. Promises that the request is signed by the very key whose public
half it carries; the calling process never loads the module.
"""

import hashlib
import sys
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hsm.child import run_child, write_answer
from hsm.keys import SigningKey, find_key
from hsm.mechanism import sign_digest
from hsm.session import become_user, lock_opening, open_session
from hsm.settings import KeySettings, TokenSettings

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_ATTRIBUTES: Final = 0xA0
_SHORT_LENGTH: Final = 0x80

_VERSION: Final = bytes.fromhex("020100")  # INTEGER 0: v1
_ALGORITHMS: Final = {
    "rsa": bytes.fromhex("300d06092a864886f70d01010b0500"),  # sha256WithRSAEncryption, RFC 4055 5
    "ec": bytes.fromhex("300a06082a8648ce3d040302"),  # ecdsa-with-SHA256, RFC 5758 3.2
}


class RequestedKey(msgspec.Struct, frozen=True):
    """What the child is asked for.

    Attributes:
        subject: the name to be certified, DER.
    """

    token: TokenSettings
    key: KeySettings
    subject: bytes


class SignedRequest(msgspec.Struct, frozen=True):
    """The request, DER."""

    der: bytes


def sign_request(token: TokenSettings, key: KeySettings, subject: x509.Name) -> bytes:
    """Return a certificate request, DER, for a key in the token.

    Raises:
        HsmError: the token cannot be opened, or the key cannot sign.
    """
    request = RequestedKey(token, key, subject.public_bytes())
    return run_child(__name__, request, SignedRequest, token.target).der


def _sign(request: RequestedKey) -> SignedRequest:
    become_user(request.token)
    with lock_opening(request.token) as guard:
        session = open_session(request.token, guard)
    key = find_key(session, request.key, request.token.target)
    info = _der(_SEQUENCE, _VERSION, request.subject, key.public_key, _der(_ATTRIBUTES))
    signature = _der(_BIT_STRING, b"\0", _sign_info(key, info))
    return SignedRequest(_der(_SEQUENCE, info, _ALGORITHMS[key.kind], signature))


def _sign_info(key: SigningKey, info: bytes) -> bytes:
    signature = sign_digest(key, "sha256", hashlib.sha256(info).digest(), info)
    if key.kind == "rsa":
        return signature
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    return encode_dss_signature(r, s)


def _der(tag: int, *contents: bytes) -> bytes:
    """Write one DER element (X.690 8.1)."""
    content = b"".join(contents)
    length = len(content)
    if length < _SHORT_LENGTH:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT_LENGTH | len(octets)]) + octets + content


if __name__ == "__main__":
    write_answer(lambda: _sign(msgspec.json.decode(sys.stdin.buffer.read(), type=RequestedKey)))
