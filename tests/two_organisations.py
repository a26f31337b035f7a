"""Two organisations: an application, its appliance, the partner's appliance, and an application behind that; nothing in between is faked."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.gateway_homes import Application, make_home
from tests.service import Answer, RunningService, serve
from tests.tls_peers import Organisation, Partner, free_port, running_partner, write_answer

SERVICE = "http://service.demo.example/droits"
ANSWER = b"<answer>\r\n as it came </answer>"
OUTBOUND = """
[[partner]]
name = "fournisseur"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{inbound}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"
answer = "5s"
avoid = "0s"

[[partner]]
name = "relayed"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://127.0.0.1:{wire}"]
server_name = "localhost"
client_certificates = "{client[0]}"
client_key = "{client[1]}"

[[partner]]
name = "absent"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{dead}"]

[[partner]]
name = "pinned"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
certificates = ["{pins}/front.pem"]
endpoints = ["https://localhost:{inbound}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"
idle = "10ms"

[[outbound]]
name = "applications"
listen = "127.0.0.1:{outbound}"
callers_by_address = {{ "127.0.0.1/32" = "portail" }}
signed_limit = "40MiB"

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "fournisseur"
subject = "header"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/wire"
target = "/droits"
convention = "demo-client"
partner = "relayed"
subject = "header"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/pinned"
target = "/droits"
convention = "demo-client"
partner = "pinned"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/absent"
convention = "demo-client"
partner = "absent"
subject = "header"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/slow"
convention = "demo-client"
partner = "fournisseur"
subject = "header"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/jws"
convention = "demo-client"
partner = "fournisseur"
subject = "header"
pagms = ["PAGM_CONSULTATION", "PAGM_GESTION"]

[[outbound.route]]
path = "/kept"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]
"""
INBOUND = """
[[partner]]
name = "client"
roots = ["{ours.root}"]
crl_directory = "{ours.crls}"
names = ["CN=client,C=FR"]

[[partner]]
name = "pinned"
roots = ["{ours.root}"]
crl_directory = "{ours.crls}"
certificates = ["{pins}/client.pem"]

[[inbound]]
name = "pinned"
listen = "127.0.0.1:{pinned}"
certificates = "{front[0]}"
private_key = "{front[1]}"
partners = ["pinned"]

[[inbound.route]]
path = "/droits"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/droits"
subject_header = "X-Remote-User"
jwt_header = "X-Jeton"

[[inbound]]
name = "partners"
listen = "127.0.0.1:{inbound}"
certificates = "{front[0]}"
private_key = "{front[1]}"
partners = ["client"]

[[inbound.route]]
path = "/droits"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/droits"
queries = ["service=Droits"]
answer = "5s"
open_operations = {{ "{{urn:o}}Ping" = "urn:ping" }}

[[inbound.route]]
path = "/slow"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/droits"
answer = "300ms"

[[inbound.route]]
path = "/jws"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/jws"
identity = "jwt"
jwt_audience = "urn:app"
jwt_key = "{jws[1]}"

[[inbound.route]]
path = "/kept"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/kept"
vector = "keep"
identity = "none"

[[inbound.route]]
path = "/encrypted"
service = "http://service.demo.example/droits"
forward = "https://localhost:{encrypted}/app/encrypted"
forward_roots = ["{theirs.root}"]

[[inbound.route]]
path = "/stranger"
service = "http://service.demo.example/droits"
forward = "https://localhost:{encrypted}/app/stranger"
forward_roots = ["{ours.root}"]

[[inbound.route]]
path = "/other"
service = "http://other.example/"
forward = "http://127.0.0.1:{backend}/app/other"
"""


@dataclass
class Organisations:
    """Everything there is.

    Attributes:
        encrypted: an application that is called over TLS.
        wire: where a test may put a relay between the two appliances.
        pinned: where the provider's appliance listens for one certificate of the client's.
        pins: the certificates that are pinned, `front.pem` by the client and `client.pem` by the provider.
    """

    application: Application
    client: RunningService
    provider: RunningService
    backend: Partner
    ours: Organisation
    theirs: Organisation
    inbound: int
    jws: Path
    encrypted: Partner
    wire: int
    pinned: int
    pins: Path

    def partner(
        self,
        message: bytes,
        path: str = "/droits",
        identity: tuple[Path, Path] | None = None,
        method: str = "POST",
        **fields: str,
    ) -> Answer:
        """Call the provider's appliance directly, as the partner's front end or as somebody else.

        Names of fields are written with underscores; one that has a hyphen is sent as it is.
        """
        context = ssl.create_default_context(cafile=str(self.theirs.root))
        context.load_cert_chain(*(identity or self._files("client")))
        connection = http.client.HTTPSConnection(
            "localhost", self.inbound, timeout=30, context=context
        )
        try:
            given = {"Content-Type": "text/xml"} | {
                name if "-" in name else name.replace("_", "-"): value
                for name, value in fields.items()
            }
            connection.request(method, path, message, given)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def _files(self, name: str) -> tuple[Path, Path]:
        return self.ours.directory / f"{name}.pem", self.ours.directory / f"{name}.key"

    def secured(self, message: bytes, convention: str = "demo-client") -> bytes:
        """The message with a vector, as the client's appliance makes it."""
        headers = {
            "Content-Type": "text/xml",
            "Vector-Subject": "agent-1",
            "Vector-Pagm": "PAGM_GESTION",
        }
        path = f"/v1/soap/secure?convention={convention}"
        answer = self.client.request("POST", path, message, headers)
        assert answer.status == 200, answer.body
        return answer.body


@contextmanager
def two_organisations(
    demo_home: Path,
    directory: Path,
    client_convention: str = "",
    provider_convention: str = "",
) -> Iterator[Organisations]:
    """Run everything until the block ends; the conventions of both sides get more lines."""
    ours, theirs = Organisation(directory / "ours", "ours"), Organisation(directory / "b", "theirs")
    names = ("outbound", "inbound", "wire", "pinned", "dead")
    ports = {name: free_port() for name in names}
    pins = directory / "pins"
    pins.mkdir()
    with (
        running_partner(lambda _: write_answer(ANSWER)) as backend,
        running_partner(lambda _: write_answer(ANSWER), theirs.certify("application")) as encrypted,
    ):
        facts = {
            "ours": ours,
            "theirs": theirs,
            "client": ours.certify("client"),
            "front": theirs.certify("front"),
            "jws": theirs.certify("jws"),
            "backend": backend.port,
            "encrypted": encrypted.port,
            "pins": pins,
        } | ports
        for side in ("client", "front"):
            (pins / f"{side}.pem").write_bytes(facts[side][0].read_bytes())
        homes = []
        for side, tables in (("a", OUTBOUND), ("b2", INBOUND)):
            (directory / side).mkdir()
            homes.append(make_home(demo_home, directory / side, tables.format(**facts)))
        _append(homes[0] / "conventions" / "demo-client.toml", client_convention)
        provider = homes[1] / "conventions" / "demo-provider.toml"
        other = provider.read_text().replace(SERVICE, "http://other.example/")
        (provider.parent / "other-provider.toml").write_text(other)
        _append(provider, provider_convention)
        with serve(homes[0]) as client, serve(homes[1]) as provider:
            application = Application(client, ports["outbound"], fields={"X-Subject": "agent-0042"})
            yield Organisations(
                application,
                client,
                provider,
                backend,
                ours,
                theirs,
                ports["inbound"],
                facts["jws"][0],
                encrypted,
                ports["wire"],
                ports["pinned"],
                pins,
            )


def _append(file: Path, text: str) -> None:
    with file.open("a") as stream:
        stream.write(f"\n{text}")


def send(
    both: Organisations, pieces: Iterator[bytes], *fields: bytes, path: bytes = b"/droits"
) -> bytes:
    """Send a message in chunks and return the whole answer; a connection that is cut answers nothing."""
    lines = [
        b"POST %b HTTP/1.1" % path,
        *(b"Host: localhost", b"X-Subject: agent-0042", b"Connection: close"),
        *(fields or (b"Content-Type: text/xml",)),
        b"Transfer-Encoding: chunked",
    ]
    with socket.create_connection(("127.0.0.1", both.application.port), 60) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        try:
            for piece in pieces:
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # it answers before the end
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received
