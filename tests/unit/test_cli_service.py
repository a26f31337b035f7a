"""The command line's HTTP client over a unix socket, against sockets that behave in every way."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.cli.service import ask_service
from appliance.errors import ServiceUnreachable


@contextmanager
def listener(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Answer one connection with the given octets; yields what was received."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(1)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received.append(receive_request(connection))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield received
        thread.join(10)


def receive_request(connection: socket.socket) -> bytes:
    """Read one request whole: whoever answers and leaves before that breaks the client's pipe."""
    octets = connection.recv(65536)
    while True:
        head, end, body = octets.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            return octets
        octets += connection.recv(65536)


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a socket, or with one a dead service left behind, there is no service: None, not an error."""
    path = tmp_path / "api.sock"
    assert ask_service(path, "GET", "/readyz") is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert path.exists()
    assert ask_service(path, "GET", "/readyz") is None


def test_answer(tmp_path: Path) -> None:
    """Status and body come back; the request names a Host that the service takes for its own."""
    path = tmp_path / "api.sock"
    octets = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"
    with listener(path, octets) as received:
        answer = ask_service(path, "POST", "/v1/vectors", b'{"a": 1}')
    assert answer is not None
    assert (answer.status, answer.body) == (503, b"{}")
    assert received[0].startswith(b"POST /v1/vectors HTTP/1.1\r\nHost: localhost\r\n")
    assert b"Content-Type: application/json\r\n" in received[0]
    assert received[0].endswith(b'{"a": 1}')


@pytest.mark.parametrize(
    "octets", [b"", b"not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_listener_that_does_not_answer(tmp_path: Path, octets: bytes) -> None:
    """Somebody who listens and hangs up, speaks no HTTP or stops half-way is an unreachable service, by name."""
    path = tmp_path / "api.sock"
    with listener(path, octets), pytest.raises(ServiceUnreachable, match="does not answer"):
        ask_service(path, "GET", "/readyz")
