"""A real Valkey or Redis server of this machine, on a unix socket, empty and for the tests alone."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.groups import leave_out
from tests.service import wait_until

PASSWORD = "a password of the tests"  # noqa: S105 - protects nothing


@contextmanager
def run_valkey(directory: Path, *options: str) -> Iterator[Path]:
    """Run a server until the block ends; yields its socket."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        leave_out("valkey", "neither valkey-server nor redis-server is installed (Debian has both)")
    address = directory / "valkey.sock"
    command = [
        *(found, "--port", "0", "--unixsocket", str(address), "--requirepass", PASSWORD),
        *("--save", "", "--dir", str(directory), *(options or ("--appendonly", "no"))),
    ]
    with (directory / "valkey.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(address), 20, "the server to answer")
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(address)) == 0
