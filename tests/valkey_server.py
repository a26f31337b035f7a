"""A real Valkey or Redis server of this machine, on a unix socket, empty and for the tests alone."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service import wait_until

PASSWORD = "a password of the tests"  # noqa: S105 - protects nothing


@contextmanager
def run_valkey(directory: Path) -> Iterator[Path]:
    """Run a server until the block ends; yields its socket."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("neither valkey-server nor redis-server is installed (Debian has both)")
    socket = directory / "valkey.sock"
    command = [
        *(found, "--port", "0", "--unixsocket", str(socket), "--requirepass", PASSWORD),
        *("--save", "", "--appendonly", "no", "--dir", str(directory)),
    ]
    with (directory / "valkey.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(socket.exists, 20, "the server's socket")
        yield socket
    finally:
        process.terminate()
        process.wait(20)
