"""A relay between two TCP peers that keeps every octet, as a capture would, and what TLS records there are in them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TIMEOUT = 20.0
RECORD_TYPES = {
    20,
    21,
    22,
    23,
}  # RFC 8446 5.1: change_cipher_spec, alert, handshake, application_data
HANDSHAKE, APPLICATION_DATA = 22, 23


@dataclass
class Wire:
    """What passed: of each connection one stream a direction, the one of who connects first."""

    streams: list[tuple[bytearray, bytearray]] = field(default_factory=list)

    def check_encrypted(self, *secrets: bytes) -> None:
        """Check that every stream is TLS records from its first octet on, and that none shows a secret."""
        assert self.streams
        for stream in (each for both in self.streams for each in both):
            assert stream[:2] == b"\x16\x03", stream[:20]
            kinds = list(read_records(bytes(stream)))
            assert kinds[0] == HANDSHAKE
            assert APPLICATION_DATA in kinds
            assert not [secret for secret in secrets if secret in stream]


def read_records(stream: bytes) -> Iterator[int]:
    """Yield the type of each TLS record; they must fill the stream up to a last one that may be under way."""
    at = 0
    while at + 5 <= len(stream):
        assert stream[at] in RECORD_TYPES, stream[at : at + 20]
        assert stream[at + 1] == 3, stream[at : at + 20]
        yield stream[at]
        at += 5 + int.from_bytes(stream[at + 3 : at + 5], "big")


@contextmanager
def recording(port: int, target: int) -> Iterator[Wire]:
    """Relay a port of this machine to another until the block ends."""
    wire = Wire()
    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=_accept, args=(listener, target, wire), daemon=True).start()
        yield wire


def _accept(listener: socket.socket, target: int, wire: Wire) -> None:
    with suppress(OSError):  # the block has ended
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", target), TIMEOUT)
            sent, answered = bytearray(), bytearray()
            wire.streams.append((sent, answered))
            threading.Thread(target=_relay, args=(near, far, sent, answered), daemon=True).start()


def _relay(near: socket.socket, far: socket.socket, sent: bytearray, answered: bytearray) -> None:
    with near, far:
        back = threading.Thread(target=_pass, args=(far, near, answered), daemon=True)
        back.start()
        _pass(near, far, sent)
        back.join()


def _pass(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):  # either side has hung up
        while piece := source.recv(65536):
            kept += piece
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
