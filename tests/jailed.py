"""Reads documents by every door of the extension, in a process that the kernel kills when it reaches for anything.

`python -m tests.jailed KEY DOCUMENT…` loads its files, locks itself in, and prints what became of each document. Inside, opening a file,
making a socket and starting a process are the end of it (seccomp, SIGSYS); memory is bounded, and so is processor time.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance import native

MEMORY: Final = 64 * 1024**2
"""Octets beyond what the process has when it locks itself in."""
CPU_SECONDS: Final = 20
UNPROVABLE: Final = "this machine gives no seccomp filter, so nothing can be proven on it"

_FORBIDDEN: Final = {
    # open, openat, openat2, socket, connect, execve, execveat, fork, vfork, clone, clone3
    "x86_64": (2, 257, 437, 41, 42, 59, 322, 57, 58, 56, 435),
    "aarch64": (56, 437, 198, 203, 221, 281, 220, 435),
}
_LOAD_NUMBER: Final = (0x20, 0, 0, 0)
_RETURN: Final = 0x06
_EQUAL: Final = 0x15
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NO_NEW_PRIVILEGES: Final = 38
_SECCOMP: Final = 22
_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def lock_in() -> None:
    """From here on the kernel kills this process when it reaches out, and gives it no more memory than the bound.

    Raises:
        OSError: this kernel or processor gives no such proof.
    """
    numbers = _FORBIDDEN.get(platform.machine())
    if numbers is None:
        raise OSError(UNPROVABLE, platform.machine())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    steps = [_LOAD_NUMBER]
    steps += [(_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _KILL)]
    octets = b"".join(struct.pack("HBBI", *step) for step in steps)
    program = _Program(len(steps), octets)
    library = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SECCOMP, _FILTER, ctypes.byref(program), 0, 0),
    ):
        if library.prctl(*arguments) != 0:
            raise OSError(UNPROVABLE, ctypes.get_errno())


def outcome(read: Callable[[], object]) -> str:
    """`read`, or the reason of the refusal."""
    try:
        read()
    except (native.XmlRefused, native.SignatureRefused, native.StructureRefused) as exc:
        return exc.reason
    return "read"


def outcomes(octets: bytes, key: bytes) -> list[str]:
    """What each door says."""

    def as_vector() -> None:
        assertion = native.locate(octets).assertion
        if assertion is not None:
            assertion.check_structure()
            assertion.signature_claim().verify(lambda _: key, allow_sha1=True).read()

    return [
        outcome(as_vector),
        outcome(lambda: native.c14n(octets)),
        outcome(lambda: native.c14n_digest(octets)),
        outcome(lambda: native.verify_signature(octets, key, allow_sha1=True)),
    ]


def main(key: str, *names: str) -> None:
    """Read everything, lock in, judge."""
    octets, documents = Path(key).read_bytes(), [Path(name).read_bytes() for name in names]
    lock_in()
    for name, document in zip(names, documents, strict=True):
        print(Path(name).name, *outcomes(document, octets), flush=True)  # noqa: T201 - the result
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
