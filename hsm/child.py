"""A ceremony in a process of its own: the request on standard input, the answer or the error on standard output.

Owns the two ends of that pipe. Promises that the calling process never loads a PKCS#11 module and that no secret stands on a
command line; a module that hangs is killed at the deadline.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from hsm.errors import Finding, HsmError, Target

FAILED: Final = 3
"""Exit status of a child or a lane that says on standard output why it failed."""

DEADLINE: Final = 60.0
"""Seconds for a ceremony whose caller knows no better."""

Answer = TypeVar("Answer")


class _Failed(msgspec.Struct, frozen=True):
    target: Target
    finding: Finding


def run_child(
    module: str,
    request: msgspec.Struct,
    answer: type[Answer],
    target: Target,
    deadline: float = DEADLINE,
) -> Answer:
    """Run `python -m module`, give it the request, return its answer.

    Raises:
        HsmError: what the child raised, CALL_TIMEOUT after `deadline` seconds, or CHILD_DIED.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module name
            [sys.executable, "-m", module],
            input=msgspec.json.encode(request),
            stdout=subprocess.PIPE,
            timeout=deadline,
            check=False,
        )
        if done.returncode == FAILED:
            failed = msgspec.json.decode(done.stdout, type=_Failed)
            raise HsmError(failed.target, failed.finding)
        return msgspec.json.decode(done.stdout, type=answer)
    except subprocess.TimeoutExpired as exc:
        raise _died(
            target, "CALL_TIMEOUT", f"the module did not answer in {deadline:.0f} s"
        ) from exc
    except msgspec.DecodeError as exc:
        raise _died(target, "CHILD_DIED", "the process that used the module ended unasked") from exc


def write_answer(ceremony: Callable[[], object]) -> None:
    """Run the ceremony in the child and write its outcome to standard output."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(ceremony()))
    except HsmError as error:
        sys.stdout.buffer.write(msgspec.json.encode(_Failed(error.target, error.finding)))
        sys.exit(FAILED)


def _died(target: Target, code: str, cause: str) -> HsmError:
    return HsmError(
        target, Finding(code, "device", cause, "check the module with its vendor's tool")
    )
