"""RFC 3161 time-stamps from a real authority: OpenSSL's, behind a socket."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from appliance.errors import ServiceUnreachable
from appliance.trace.timestamp import time_stamp

CONFIGURATION = """
[tsa]
default_tsa = authority
[authority]
serial = {directory}/serial
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
"""


def openssl(directory: Path, *words: str) -> None:
    """Run OpenSSL."""
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


class Authority(HTTPServer):
    """A time-stamping authority.

    Attributes:
        answer: given instead of a time-stamp, while set.
    """

    directory: Path
    answer: bytes | None = None


class _Handler(BaseHTTPRequestHandler):
    server: Authority

    def do_POST(self) -> None:
        directory = self.server.directory
        query = self.rfile.read(int(self.headers["Content-Length"]))
        (directory / "query").write_bytes(query)
        openssl(
            directory, "ts", "-reply", "-config", "tsa.conf", "-queryfile", "query", "-out", "reply"
        )
        reply = self.server.answer or (directory / "reply").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """An authority with a certificate of its own."""
    (tmp_path / "tsa.conf").write_text(CONFIGURATION.format(directory=tmp_path))
    (tmp_path / "serial").write_text("01\n")
    openssl(
        tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.pem",
        "-subj", "/CN=Time", "-days", "2", "-addext", "extendedKeyUsage=critical,timeStamping",
    )  # fmt: skip
    with Authority(("127.0.0.1", 0), _Handler) as server:
        server.directory = tmp_path
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_time_stamp_is_granted_and_verifies(authority: Authority, tmp_path: Path) -> None:
    """What the authority answers is verified by OpenSSL over the same octets, and by none over others."""
    url = f"http://127.0.0.1:{authority.server_port}/"
    (tmp_path / "witness").write_bytes(b"witness")
    (tmp_path / "witness.tsr").write_bytes(time_stamp(b"witness", url))
    verify = ("ts", "-verify", "-data", "witness", "-in", "witness.tsr", "-CAfile", "tsa.pem")
    openssl(tmp_path, *verify)
    (tmp_path / "witness").write_bytes(b"another")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(tmp_path, *verify)


def test_what_is_no_time_stamp_is_refused(authority: Authority) -> None:
    """An old answer, a refusal, anything else, and silence: each is said."""
    url = f"http://127.0.0.1:{authority.server_port}/"
    old = time_stamp(b"witness", url)
    for answer, said in (
        (old, "another question"),
        (bytes.fromhex("30053003020102"), "did not grant"),
        (b"<html>", "did not grant"),
    ):
        authority.answer = answer
        with pytest.raises(ServiceUnreachable, match=said):
            time_stamp(b"witness", url)
    with pytest.raises(ServiceUnreachable, match="no time-stamp from"):
        time_stamp(b"witness", "http://127.0.0.1:1/")
