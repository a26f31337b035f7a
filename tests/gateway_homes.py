"""A demo home with a gateway, what is asked of it, and what its trace says."""

import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.trace.record import TraceEntry
from tests.homes import copy_home, edit
from tests.logs import entries_of_home
from tests.messages import SOAP
from tests.service import Answer, RunningService, wait_until

BODY = b"<s:Body><o:droits xmlns:o='urn:o'>\r\n &#233;\xc3\xa9 </o:droits></s:Body>"


def envelope(version: str = "1.1", header: bytes = b"", body: bytes = BODY) -> bytes:
    """A message that is written as no serializer would."""
    return b"<?xml version='1.0'?>\n<s:Envelope  xmlns:s='%b'>%b%b</s:Envelope>\n<!-- end -->" % (
        SOAP[version].encode(),
        header,
        body,
    )


def without_header(message: bytes) -> bytes:
    """The message without the Header that we made for it."""
    start = message.index(b"<s:Header>")
    end = message.index(b"</s:Header>") + len(b"</s:Header>")
    return message[:start] + message[end:]


def make_home(home: Path, directory: Path, tables: str) -> Path:
    """Copy a demo home and give it more tables, and less room on the disk."""
    copy = copy_home(home, directory)
    edit(copy / "appliance.toml", "# capacity = 1000000", "capacity = 10000")
    edit(copy / "appliance.toml", '# shared_memory = "64MiB"', 'shared_memory = "1MiB"')
    with (copy / "appliance.toml").open("a") as file:
        file.write(f"\n{tables}")
    return copy


def events(home: Path, event: str) -> list[TraceEntry]:
    """The entries of one kind."""
    read = (stored.entry for stored in entries_of_home(home))
    return [entry for entry in read if entry.event == event]


def eventually(home: Path, event: str, request_id: str) -> TraceEntry:
    """The entry of a request, once it is there."""

    def found() -> list[TraceEntry]:
        return [entry for entry in events(home, event) if entry.request_id == request_id]

    wait_until(lambda: bool(found()), 10, f"{event} of {request_id}")
    return found()[0]


def memory(service: RunningService, which: str) -> int:
    """What `/proc` says of a worker's memory, in MiB: `VmRSS` now, `VmHWM` at most."""
    [worker] = service.children("worker")
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(which)).split()[1]) // 1024


def der(file: Path) -> bytes:
    """The certificate of a file, DER."""
    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)


@dataclass
class Application:
    """An application of ours that knows nothing but SOAP over HTTP."""

    service: RunningService
    port: int
    path: str = "/droits"
    fields: dict[str, str] = field(default_factory=dict)

    def post(self, message: bytes, path: str | None = None, **fields: str | None) -> Answer:
        """Send one message on a connection of its own; names are written with underscores, None leaves one out."""
        given = {"Content-Type": "text/xml; charset=utf-8"} | self.fields
        given |= {name.replace("_", "-"): value for name, value in fields.items()}
        return self.ask("POST", path or self.path, message, given)

    def ask(self, method: str, path: str, body: bytes, fields: dict[str, str | None]) -> Answer:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            stated = {name: value for name, value in fields.items() if value is not None}
            connection.request(method, path, body, stated)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def raw(self, octets: bytes, timeout: float = 10) -> bytes:
        """Send octets as they are, and read until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(octets)
            received = b""
            while piece := connection.recv(65536):
                received += piece
            return received


MIB = 1024**2
HEAD = b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><o:droits xmlns:o='urn:o'>"
TAIL = b"</o:droits></s:Body></s:Envelope>"


def long_message(octets: int) -> Iterator[bytes]:
    """A message of about so many octets, in pieces."""
    yield HEAD
    block = b"<o:ligne no='1'>" + b"0123456789abcdef" * 4092 + b"</o:ligne>\n"
    for _ in range(octets // len(block)):
        yield block
    yield TAIL
