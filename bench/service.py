"""A service of one's own for the time of a measurement."""

import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READY_TIMEOUT: Final = 60
_STOP_TIMEOUT: Final = 30
_LAST: Final = 5
_WIDTH: Final = 400
_READY: Final = re.compile(r"http://(\S+):(\d+)")


@dataclass(frozen=True, slots=True)
class ServedHome:
    """A running service: where it listens, the line it said when it was ready, and the process id of its supervisor."""

    host: str
    port: int
    ready_line: str
    pid: int


@contextmanager
def serve_home(home: Path) -> Iterator[ServedHome]:
    """Run `appliance serve` on a free port of loopback for as long as the block; its log goes to `run/bench.log`.

    Raises:
        RuntimeError: it did not become ready, or did not drain and end with 0; says what it logged last.
    """
    log = home / "run" / "bench.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "appliance", "serve"),
                *("--home", str(home), "--api", "127.0.0.1:0"),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        line = _read_line(process)
        found = _READY.search(line)
        if found is not None:
            yield ServedHome(found[1], int(found[2]), line.strip(), process.pid)
    finally:
        status = _stop(process)
    if found is None:
        raise RuntimeError(f"the service did not become ready{_last_lines(log)}")
    if status:
        raise RuntimeError(f"the service ended with {status}{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    """What was logged last: the log may be gone with its home before anybody can read it."""
    lines = log.read_text(errors="replace").splitlines()[-_LAST:]
    return "".join(["; its log ends with", *(f"\n  {line[:_WIDTH]}" for line in lines)])


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
    if process.stdout is not None:
        process.stdout.close()
    return process.wait()


def _read_line(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        return ""
    readable, _, _ = select.select([process.stdout], [], [], _READY_TIMEOUT)
    return process.stdout.readline().decode() if readable else ""
