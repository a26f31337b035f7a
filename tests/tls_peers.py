"""Organisations as TLS peers: certificates of today with names for this machine, and a partner that speaks HTTP as a test tells it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.pki import ec_key

TIMEOUT = 20.0
KEPT = 32 * 1024**2


class Organisation:
    """A root with its CRL, and certificates under it, as files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self._key = ec_key(f"{name} root")
        self._subject = _name(f"{name} root")
        self.root = directory / "root.pem"
        self.crls = directory / "crl"
        self.crls.mkdir(parents=True)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(self._subject, self._subject, self._key.public_key(), 1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.root.write_bytes(certificate.public_bytes(Encoding.PEM))
        self._revoked: list[int] = []
        self.publish()

    def certify(
        self, common_name: str, file: str | None = None, ends: timedelta = timedelta(days=1)
    ) -> tuple[Path, Path]:
        """Issue a certificate for this machine, for the same key each time; its file and that of its key."""
        key = ec_key(f"{self.name} {common_name}")
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder(
                self._subject, _name(common_name), key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        stem = file or common_name
        files = self.directory / f"{stem}.pem", self.directory / f"{stem}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].touch(mode=0o600)
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files

    def revoke(self, certificate: Path) -> None:
        """Put a certificate on the list, and publish that."""
        self._revoked.append(x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number)
        self.publish()

    def publish(self, ends: timedelta = timedelta(days=1)) -> None:
        """Write the CRL, as its directory wants it: by renaming."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._subject)
            .last_update(now - timedelta(days=1, minutes=1))
            .next_update(now + ends)
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        crl = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        fresh = self.directory / "fresh.crl"
        fresh.write_bytes(crl)
        fresh.rename(self.crls / "root.crl")


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@dataclass
class Received:
    """One request as a partner read it; of a long body only the start is kept, with length and digest of all."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes
    is_chunked: bool
    length: int
    sha256: bytes

    def field(self, name: str) -> str | None:
        """The first field of a name, whatever its case."""
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)


def write_answer(body: bytes, status: int = 200, **fields: str) -> bytes:
    """An answer of stated length."""
    named = {"Content-Type": "text/xml", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{n}: {v}" for n, v in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Answering = Callable[[Received], bytes | None]


@dataclass
class Partner:
    """An HTTP server that remembers what came; `answer` gives octets as they are, None closes the connection.

    Attributes:
        hangs_up: whether it closes the connection behind each answer.
        versions: TLS version of each connection; None in clear.
        resumed: whether each was resumed.
    """

    port: int
    answer: Answering
    hangs_up: bool = False
    received: list[Received] = field(default_factory=list)
    versions: list[str | None] = field(default_factory=list)
    resumed: list[bool] = field(default_factory=list)

    @property
    def connections(self) -> int:
        """How many were made."""
        return len(self.versions)


@contextmanager
def running_partner(
    answer: Answering, identity: tuple[Path, Path] | None = None, clients: Path | None = None
) -> Any:
    """Serve on a free port until the block ends; with an identity over TLS, with `clients` asking for certificates under it."""
    context = None
    if identity is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*identity)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
    listener = socket.create_server(("127.0.0.1", 0))
    partner = Partner(listener.getsockname()[1], answer)
    threading.Thread(target=_accept, args=(listener, context, partner), daemon=True).start()
    try:
        yield partner
    finally:
        listener.close()


def _accept(listener: socket.socket, context: ssl.SSLContext | None, partner: Partner) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, context, partner), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext | None, partner: Partner) -> None:
    connection.settimeout(TIMEOUT)
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        partner.versions.append(connection.version() if context is not None else None)
        partner.resumed.append(bool(context is not None and connection.session_reused))
        with connection, connection.makefile("rb") as stream:
            while (request := _read(stream)) is not None:
                partner.received.append(request)
                answer = partner.answer(request)
                if answer is None:
                    return
                connection.sendall(answer)
                if partner.hangs_up:
                    return
    except OSError:
        return


def _read(stream: Any) -> Received | None:
    line = stream.readline()
    if not line:
        return None
    fields: list[tuple[str, str]] = []
    while (field_line := stream.readline().rstrip(b"\r\n")) != b"":
        name, _, value = field_line.decode("latin-1").partition(":")
        fields.append((name, value.strip()))
    named = {name.lower(): value for name, value in fields}
    is_chunked = named.get("transfer-encoding") == "chunked"
    pieces = (
        _chunks(stream) if is_chunked else _octets(stream, int(named.get("content-length", "0")))
    )
    kept, length, digest = bytearray(), 0, sha256()
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        if len(kept) < KEPT:
            kept += piece
    return Received(line.decode().strip(), fields, bytes(kept), is_chunked, length, digest.digest())


def _octets(stream: Any, left: int) -> Iterator[bytes]:
    while left:
        piece = stream.read(min(left, 65536))
        if not piece:
            raise OSError("cut off")
        left -= len(piece)
        yield piece


def _chunks(stream: Any) -> Iterator[bytes]:
    while True:
        line = stream.readline()
        if not line:
            raise OSError("cut off")
        size = int(line, 16)
        yield from _octets(stream, size)
        stream.readline()
        if not size:
            return


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
