"""How fast one process can sign with one key through python-pkcs11, and nothing around it: the yardstick of the load tools.

Owns the measuring process: `python -m hsm.ceiling`, a request as one line of JSON on standard input. It says `ready` once the key is
proven, waits for one more line so that several start together, signs in a tight loop, and answers with its count.
"""

import hashlib
import sys
import time
from functools import partial
from typing import Final, Literal

import msgspec

from hsm.child import FAILED
from hsm.errors import HsmError
from hsm.keys import SigningKey, find_key
from hsm.mechanism import write_payload
from hsm.probe import prove_key
from hsm.report import LaneFailed
from hsm.session import become_user, lock_opening, open_session
from hsm.settings import KeySettings, Mechanism, TokenSettings

Scheme = Literal["pkcs1", "pss", "hash-in-token", "ecdsa"]

_SCHEMES: Final[dict[Mechanism, Scheme]] = {
    "": "pkcs1",
    "rsa-pss": "pss",
    "rsa-hash-in-token": "hash-in-token",
}


class CeilingRequest(msgspec.Struct, frozen=True):
    """What the process is asked for."""

    token: TokenSettings
    key: KeySettings
    seconds: float


class CeilingCount(msgspec.Struct, frozen=True):
    """What was counted, with which kind of key (`rsa-2048`, `p-256`) and how it signs."""

    mechanism: str
    scheme: Scheme
    signatures: int
    seconds: float
    cpu_seconds: float


def main() -> int:
    """Measure; returns the exit status."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=CeilingRequest)
    try:
        key = _open(request)
    except HsmError as error:
        say(msgspec.json.encode(LaneFailed(error.target, error.finding)))
        return FAILED
    say(b"ready")
    sys.stdin.buffer.readline()
    say(msgspec.json.encode(_count(key, request.seconds)))
    return 0


def say(line: bytes) -> None:
    """Write one line to whoever measures."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _open(request: CeilingRequest) -> SigningKey:
    become_user(request.token)
    with lock_opening(request.token) as guard:
        session = open_session(request.token, guard)
        key = find_key(session, request.key, request.token.target)
        prove_key(key)
        return key


def _count(key: SigningKey, seconds: float) -> CeilingCount:
    octets = bytes(range(32))
    payload = write_payload(key, "sha256", hashlib.sha256(octets).digest(), octets)
    sign = partial(
        key.handle.sign,
        payload.octets,
        mechanism=payload.mechanism,
        mechanism_param=payload.parameters,
    )
    signatures = 0
    cpu = time.process_time()
    begun = now = time.monotonic()
    while now - begun < seconds:
        sign()
        signatures += 1
        now = time.monotonic()
    cpu = time.process_time() - cpu
    if key.kind == "ec":
        return CeilingCount(f"p-{key.bits}", "ecdsa", signatures, now - begun, cpu)
    scheme = _SCHEMES[key.mechanism]
    return CeilingCount(f"rsa-{key.bits}", scheme, signatures, now - begun, cpu)


if __name__ == "__main__":
    sys.exit(main())
