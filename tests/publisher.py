"""Small HTTP servers on loopback: one that publishes documents, and one that never comes to an end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"


@dataclass
class Publisher:
    """What a server publishes now, by path; a number is a status without a document."""

    documents: dict[str, bytes | int]
    address: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def publish(**documents: bytes | int) -> Iterator[Publisher]:
    """Publish documents (`/NAME`) on a free port of loopback; they may be changed meanwhile."""
    publisher = Publisher({f"/{name}": document for name, document in documents.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked.append(self.path)
            document = publisher.documents.get(self.path, 404)
            body = document if isinstance(document, bytes) else b""
            self.send_response(200 if isinstance(document, bytes) else document)
            if document == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    publisher.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield publisher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def trickle(beginning: bytes = ENDLESS) -> Iterator[tuple[str, threading.Event]]:
    """Send one octet after the other for as long as anybody listens; yields the address, and what is set when nobody does."""
    gone = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(beginning)
            while not gone.wait(0.01):
                try:
                    connection.sendall(b"x")
                except OSError:
                    gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", gone
        assert gone.wait(30), "the connection is still open"
        thread.join()
