"""How fast one process can sign with several threads and the module's locks enabled: the yardstick of the other yardstick.

Owns the process that starts the native loop (`pkcs11-ceiling`, in native/pkcs11-shim): `python -m hsm.native_ceiling`, the same lines as
`hsm.ceiling`. Promises that the PIN goes through the guard and reaches the loop on its standard input, never on a command line.
"""

import contextlib
import resource
import subprocess
import sys
from typing import IO, Final

import msgspec

from hsm.ceiling import CeilingCount, Scheme, say
from hsm.child import FAILED
from hsm.ckr import describe
from hsm.errors import Finding, HsmError
from hsm.report import LaneFailed
from hsm.session import lock_opening, offer_pin
from hsm.settings import KeySettings, TokenSettings

_FAMILIES: Final[dict[Scheme, str]] = {"pkcs1": "rsa", "pss": "rsa", "ecdsa": "p"}
_HALVES: Final = {"rsa": 1, "p": 2}
"""A signature is as long as the modulus, or twice as long as the field."""


class NativeRequest(msgspec.Struct, frozen=True):
    """What the process is asked for; `program` is the path of the loop."""

    token: TokenSettings
    key: KeySettings
    seconds: float
    threads: int
    scheme: Scheme
    program: str


def main() -> int:
    """Measure; returns the exit status."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=NativeRequest)
    try:
        with lock_opening(request.token) as guard:
            loop = offer_pin(request.token, guard, lambda _, pin: _Loop(request, pin))
        say(b"ready")
        sys.stdin.buffer.readline()
        say(msgspec.json.encode(loop.count()))
    except HsmError as error:
        say(msgspec.json.encode(LaneFailed(error.target, error.finding)))
        return FAILED
    return 0


class _Loop:
    """The running loop, logged in and ready; ends by itself, a minute late when the module hangs."""

    def __init__(self, request: NativeRequest, pin: str) -> None:
        self._request: Final = request
        token, words = request.token, (request.scheme, request.threads, request.seconds)
        self._process: Final = subprocess.Popen(  # noqa: S603 - our own program
            [request.program, token.module, token.label, request.key.id, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._write(pin)
        (signature,) = self._read("ready")
        family = _FAMILIES[request.scheme]
        self._mechanism: Final = f"{family}-{len(signature) * 4 // _HALVES[family]}"

    def count(self) -> CeilingCount:
        """Start the threads and wait for what they count."""
        self._write("go")
        signatures, seconds = self._read("done")
        self._process.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        scheme = self._request.scheme
        return CeilingCount(self._mechanism, scheme, int(signatures), float(seconds), cpu)

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended, and the next read says why
            stdin = _pipe(self._process.stdin)
            stdin.write(f"{line}\n")
            stdin.flush()

    def _read(self, expected: str) -> list[str]:
        word, *rest = _pipe(self._process.stdout).readline().split() or [""]
        if word == expected:
            return rest
        if word == "failed":
            raise describe(rest[1], self._request.token.target)
        cause, next_step = "the native loop ended unasked", "read its messages above"
        raise HsmError(
            self._request.token.target, Finding("CHILD_DIED", "device", cause, next_step)
        )


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the loop was started without pipes")
    return pipe


if __name__ == "__main__":
    sys.exit(main())
