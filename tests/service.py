"""A real `appliance serve` on a demo home, and a small HTTP client for it."""

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


def make_demo_home(directory: Path) -> Path:
    """Make a complete demo home with the command an operator would use."""
    home = directory / "home"
    subprocess.run(
        [sys.executable, "-m", "appliance", "init", str(home), "--demo"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return home


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


@dataclass
class RunningService:
    """One `appliance serve` process."""

    home: Path
    process: subprocess.Popen[bytes]
    port: int
    ready_line: str
    errors: Path = field(repr=False)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | dict | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            octets = json.dumps(body).encode() if isinstance(body, dict) else body
            connection.request(method, path, octets, headers or {})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def issue(self, **fields: Any) -> Answer:
        """Ask for one vector of the demo convention."""
        request = {
            "convention": "demo-client",
            "subject": "agent-0042",
            "pagms": ["PAGM_CONSULTATION"],
        }
        return self.request("POST", "/v1/vectors", request | fields)

    def verify(self, octets: bytes, query: str = "") -> Answer:
        """Have a vector verified."""
        return self.request(
            "POST", f"/v1/verifications{query}", octets, {"Content-Type": "application/xml"}
        )

    def children(self, word: str) -> list[int]:
        """Process ids of the service's own children whose command line holds `word`; a process that waits to be a lane is none yet."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue
            if parent != self.process.pid or word.encode() not in command:
                continue
            if word != "hsm.lane" or _is_serving(entry):
                found.append(int(entry.name))
        return sorted(found)

    def stop(self) -> int:
        """Drain by SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT)


@contextmanager
def serve(home: Path, *arguments: str) -> Iterator[RunningService]:
    """Run the service on a free port until the block ends."""
    errors = home / "run" / "stderr.log"
    errors.parent.mkdir(exist_ok=True, mode=0o700)
    with errors.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "appliance", "serve", "--home", str(home)),
                *("--api", "127.0.0.1:0", *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        line = _read_ready_line(process, errors)
        port = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert port is not None, line
        yield RunningService(home, process, int(port[1]), line, errors)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Poll until a condition about another process holds, or fail saying what was awaited."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.02)


def raw_exchange(port: int, octets: bytes, timeout: float = 10) -> bytes:
    """Send octets as they are and read until the other side closes or is silent for `timeout`."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(octets)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except TimeoutError:
            pass
        return received


def _is_serving(process: Path) -> bool:
    """Whether a process, by its directory below /proc, waits for peers: it has a selector."""
    try:
        return any("[eventpoll]" in str(file.readlink()) for file in process.glob("fd/*"))
    except OSError:
        return False


def _read_ready_line(process: subprocess.Popen[bytes], errors: Path) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_TIMEOUT)
    line = process.stdout.readline().decode() if readable else ""
    assert "appliance ready" in line, f"not ready: {line!r}\n{errors.read_text()}"
    return line
