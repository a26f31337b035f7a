"""Outbound: a plain application, a real service on SoftHSM, and a partner that asks for our certificate."""

import contextlib
import gzip
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from lxml import etree

from tests.gateway_homes import Application, envelope, events, make_home, without_header
from tests.logs import entries_of_home
from tests.messages import SOAP, WSSE
from tests.service import Answer, RunningService, serve, wait_until
from tests.tls_peers import (
    Answering,
    Organisation,
    Partner,
    Received,
    free_port,
    running_partner,
    write_answer,
)
from tests.wire import recording

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "gateway.md"
KEY = "correct horse battery staple"
ANSWER = b"<answer>\r\n as it came </answer>"
TABLES = """
[[partner]]
name = "fournisseur"
roots = ["{partner.root}"]
crl_directory = "{partner.crls}"
endpoints = ["https://localhost:{port}/base"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"
names = ["CN=front,C=FR"]
answer = "2s"
connect = "2s"
avoid = "0s"

[[partner]]
name = "deux"
roots = ["{partner.root}"]
crl_directory = "{partner.crls}"
endpoints = ["https://localhost:{dead}", "https://localhost:{port}/base"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"

[[partner]]
name = "absent"
roots = ["{partner.root}"]
crl_directory = "{partner.crls}"
endpoints = ["https://localhost:{dead}"]

[[partner]]
name = "etroit"
roots = ["{partner.root}"]
crl_directory = "{partner.crls}"
endpoints = ["https://localhost:{port}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"
connections = 1
waiting = 1
wait = "300ms"

[[partner]]
name = "relayed"
roots = ["{partner.root}"]
crl_directory = "{partner.crls}"
endpoints = ["https://localhost:{wire}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"

[[caller]]
name = "comptabilite"
key_sha256 = "{key}"

[[outbound]]
name = "known"
listen = "127.0.0.1:{known}"
certificates = "{front[0]}"
private_key = "{front[1]}"

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]

[[outbound]]
name = "certified"
listen = "127.0.0.1:{certified}"
certificates = "{front[0]}"
private_key = "{front[1]}"
client_roots = ["{locals.root}"]
client_crl_directory = "{locals.crls}"

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]

[[outbound]]
name = "local"
listen = "unix:run/out.sock"

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]

[[outbound]]
name = "applications"
listen = "127.0.0.1:{listen}"
callers_by_address = {{ "127.0.0.1/32" = "portail" }}

[[outbound.route]]
path = "/droits"
target = "/services/droits"
queries = ["service=Droits"]
convention = "demo-client"
partner = "fournisseur"
subject = "header"
subject_header = "X-Agent"
roles_header = "X-Roles"

[[outbound.route]]
path = "/batch"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/token"
convention = "demo-client"
partner = "fournisseur"
subject = "username-token"
existing = "replace"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/keep"
convention = "demo-client"
partner = "fournisseur"
existing = "keep"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/failover"
convention = "demo-client"
partner = "deux"
target = "/services/droits"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/absent"
convention = "demo-client"
partner = "absent"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/wire"
convention = "demo-client"
partner = "relayed"
subject = "header"
subject_header = "X-Agent"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/narrow"
convention = "demo-client"
partner = "etroit"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/choice"
soap_action = "urn:read"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_CONSULTATION"]

[[outbound.route]]
path = "/choice"
operation = "{{urn:o}}droits"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]
"""


@dataclass
class Exchange:
    """Both organisations."""

    application: Application
    partner: Partner
    organisation: Organisation
    service: RunningService
    ours: Organisation
    locals: Organisation
    ports: dict[str, int]

    def last(self) -> Received:
        """What the partner received last."""
        return self.partner.received[-1]

    def vector(self) -> dict:
        """The vector in it, as our own verifier sees it."""
        verdict = self.service.verify(self.last().body).json
        assert verdict["verdict"] == "accepted", verdict
        return verdict["vector"]


@pytest.fixture(scope="module")
def exchange(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An appliance between an application and its partner."""
    directory = tmp_path_factory.mktemp("outbound")
    ours, theirs = Organisation(directory / "ours", "ours"), Organisation(directory / "b", "theirs")
    local = Organisation(directory / "locals", "locals")
    listen = free_port()
    ports = {name: free_port() for name in ("dead", "known", "certified", "wire")}
    client = ours.certify("client")
    with running_partner(
        lambda _: write_answer(ANSWER), theirs.certify("front"), ours.root
    ) as partner:
        tables = TABLES.format(
            partner=theirs,
            port=partner.port,
            client=client,
            listen=listen,
            ours=ours,
            locals=local,
            front=ours.certify("front"),
            key=sha256(KEY.encode()).hexdigest(),
            **ports,
        )
        home = make_home(demo_home, directory, tables)
        conventions = home / "conventions" / "demo-client.toml"
        text = conventions.read_text()
        conventions.write_text(
            text + '\n[roles]\nagent = ["PAGM_CONSULTATION"]\nchef = ["PAGM_GESTION"]\n'
        )
        with serve(home) as service:
            fields = {"X-Agent": "agent-0042", "X-Roles": "agent"}
            application = Application(service, listen, fields=fields)
            yield Exchange(application, partner, theirs, service, ours, local, ports)


@pytest.fixture
def answering(exchange: Exchange) -> Iterator["Scripted"]:
    """The partner answers as the test says, for as long as the test."""
    before = exchange.partner.answer
    yield Scripted(exchange.partner)
    exchange.partner.answer = before


@dataclass
class Scripted:
    """How the partner answers."""

    partner: Partner

    def with_(self, answer: Answering) -> None:
        """Answer so from now on."""
        self.partner.answer = answer


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_message_reaches_the_partner_with_its_vector(exchange: Exchange, version: str) -> None:
    """Every octet outside the Header is as it was sent; so is the answer."""
    message = envelope(version)
    answer = exchange.application.post(message, SOAPAction='"urn:x"')
    assert (answer.status, answer.body) == (200, ANSWER)
    received = exchange.last()
    assert received.line == "POST /base/services/droits HTTP/1.1"
    assert without_header(received.body) == message
    assert received.field("SOAPAction") == '"urn:x"'
    assert received.field("Host") == f"localhost:{exchange.partner.port}"
    vector = exchange.vector()
    assert (vector["subject"], vector["pagms"]) == ("agent-0042", ["PAGM_CONSULTATION"])


def test_a_query_passes_where_the_route_lists_it(exchange: Exchange) -> None:
    """As it came, for services that are called so; any other, or more of it, is refused."""
    assert exchange.application.post(envelope(), "/droits?service=Droits").status == 200
    assert exchange.last().line == "POST /base/services/droits?service=Droits HTTP/1.1"
    before = len(exchange.partner.received)
    for query in ("service=droits", "service=Droits&method=x", "service=Droits%20", "?", "wsdl"):
        answer = exchange.application.post(envelope(), f"/droits?{query}")
        assert (answer.status, b"method-not-allowed" in answer.body) == (405, True), query
    assert exchange.application.post(envelope(), "/batch?service=Droits").status == 405
    assert len(exchange.partner.received) == before


def test_what_is_said_of_the_person_stays_here(exchange: Exchange) -> None:
    """The fields of the local portal do not leave, however they are written; the request id does."""
    exchange.application.post(envelope(), x_agent=None, X_REQUEST_ID="request-77")
    received = exchange.last()
    names = {name.lower().replace("_", "-") for name, _ in received.fields}
    assert not names & {"x-agent", "x-roles", "authorization"}
    assert received.field("X-Request-Id") == "request-77"
    [created] = [
        e for e in events(exchange.service.home, "created") if e.request_id == "request-77"
    ]
    assert (created.caller, created.subject) == ("portail", "agent-0042")


def test_connections_to_the_partner_are_kept_and_encrypted(exchange: Exchange) -> None:
    """Messages one after the other share a connection; none is in clear."""
    exchange.application.post(envelope())
    before = exchange.partner.connections
    for _ in range(5):
        assert exchange.application.post(envelope()).status == 200
    assert exchange.partner.connections == before
    assert set(exchange.partner.versions) == {"TLSv1.3"}


def test_nothing_is_in_clear_on_the_way_to_the_partner(exchange: Exchange) -> None:
    """A capture of the connection shows TLS records and nothing of the message, its vector, its user or the answer."""
    with recording(exchange.ports["wire"], exchange.partner.port) as wire:
        assert exchange.application.post(envelope(), "/wire").body == ANSWER
    assert b"agent-0042" in exchange.last().body
    wire.check_encrypted(b"agent-0042", b"Envelope", b"Assertion", b"POST ", b"as it came")


def test_an_application_without_user(exchange: Exchange) -> None:
    """A route may name the profiles itself; the vector then speaks for the application."""
    assert exchange.application.post(envelope(), "/batch").status == 200
    assert exchange.vector()["pagms"] == ["PAGM_GESTION"]
    assert b">NON_RENSEIGNE<" in exchange.last().body


def test_the_user_of_a_username_token(exchange: Exchange) -> None:
    """The token names the user, and does not leave."""
    token = (
        f"<s:Header><w:Security xmlns:w='{WSSE}'><w:UsernameToken><w:Username> agent-7 </w:Username>"
        "<w:Password>secret</w:Password></w:UsernameToken></w:Security></s:Header>"
    ).encode()
    assert exchange.application.post(envelope(header=token), "/token").status == 200
    assert exchange.vector()["subject"] == "agent-7"
    assert b"secret" not in exchange.last().body
    refused = exchange.application.post(envelope(), "/token")
    assert b"username-missing" in refused.body


def test_a_security_header_that_a_message_brings_is_kept_where_the_route_says_so(
    exchange: Exchange,
) -> None:
    """The vector joins what is there, of which no octet changes; one that holds an assertion already cannot take another."""
    brought = f"<w:UsernameToken xmlns:w='{WSSE}'><w:Username>a</w:Username></w:UsernameToken>"
    header = f"<s:Header><w:Security xmlns:w='{WSSE}'>{brought}</w:Security></s:Header>".encode()
    assert exchange.application.post(envelope(header=header), "/keep").status == 200
    body = exchange.last().body
    assert brought.encode() in body
    assert body.count(b"<w:Security") + body.count(b"<wsse:Security ") == 1
    assert exchange.vector()["pagms"] == ["PAGM_GESTION"]
    again = exchange.application.post(body, "/keep")
    assert b"security-header-conflict" in again.body


def test_the_operation_decides_before_the_action(exchange: Exchange) -> None:
    """Of several routes on a path the one that says most takes the message."""
    exchange.application.post(envelope(), "/choice", SOAPAction="urn:read")
    assert exchange.vector()["pagms"] == ["PAGM_GESTION"]
    other = envelope(body=b"<s:Body><o:autre xmlns:o='urn:o'/></s:Body>")
    exchange.application.post(other, "/choice", SOAPAction="urn:read")
    assert exchange.vector()["pagms"] == ["PAGM_CONSULTATION"]
    in_type = 'application/soap+xml; charset=utf-8; action="urn:read"'
    newer = other.replace(SOAP["1.1"].encode(), SOAP["1.2"].encode())
    accepted = exchange.application.post(newer, "/choice", Content_Type=in_type, SOAPAction='""')
    assert accepted.status == 200
    assert exchange.vector()["pagms"] == ["PAGM_CONSULTATION"]
    refused = exchange.application.post(other, "/choice", SOAPAction="urn:write")
    assert refused.status == 404
    assert b"SOAPAction" in refused.body


def test_gzip_is_taken_off_and_put_on_again(exchange: Exchange) -> None:
    """Byte for byte is of what was encoded."""
    message = envelope()
    answer = exchange.application.post(gzip.compress(message), Content_Encoding="gzip")
    assert answer.status == 200
    assert exchange.last().field("Content-Encoding") == "gzip"
    assert without_header(gzip.decompress(exchange.last().body)) == message
    bomb = gzip.compress(b" " * 50_000_000)
    assert exchange.application.post(bomb, Content_Encoding="gzip").status == 413
    assert b"content-coding" in exchange.application.post(b"x", Content_Encoding="br").body


FAULTS = [
    ({"body": b"<a/>"}, 500, "not-soap"),
    ({"body": b"{}", "Content_Type": "application/json"}, 500, "not-soap"),
    ({"body": envelope("1.2")[:-60], "Content_Type": "application/soap+xml"}, 400, "malformed-xml"),
    ({"X_Roles": "inconnu"}, 500, "role-unknown"),
    ({"X_Agent": None}, 500, "username-missing"),
    ({"path": "/nowhere"}, 404, "not-found"),
    ({"path": "/droits?x=1"}, 405, "method-not-allowed"),
    (
        {"body": envelope(header=f"<s:Header><w:Security xmlns:w='{WSSE}'/></s:Header>".encode())},
        500,
        "security-header-present",
    ),
]


@pytest.mark.parametrize(
    ("given", "status", "reason"), FAULTS, ids=[f[2] + str(n) for n, f in enumerate(FAULTS)]
)
def test_a_refusal_is_a_fault_in_the_version_of_the_message(
    exchange: Exchange, given: dict, status: int, reason: str
) -> None:
    """The application reads what to change; nothing reached the partner."""
    before = len(exchange.partner.received)
    fields = dict(given)
    body, path = fields.pop("body", envelope()), fields.pop("path", None)
    answer = exchange.application.post(body, path, **fields)
    assert answer.status == status
    assert reason.encode() in answer.body
    version = "1.2" if "soap+xml" in fields.get("Content_Type", "") else "1.1"
    assert (b"soap:Sender" if version == "1.2" else b"soap:Client") in answer.body
    assert len(exchange.partner.received) == before


def documented() -> dict[str, set[str]]:
    """What docs/gateway.md says is traced of each reason; nothing of what is counted."""
    text = DOCUMENT.read_text().split("| reason | status | trace |")[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in row.split(" | ")] for row in text.splitlines()[2:]]
    return {
        reason: set(re.findall("`([a-z-]+)`", row[2]))
        for row in cells
        for reason in re.findall("`([a-z-]+)`", row[0])
    }


CONFLICTING = envelope(
    header=(
        f"<s:Header xmlns:w='{WSSE}'><w:Security><w:UsernameToken><w:Username>a</w:Username></w:UsernameToken></w:Security>"
        "<w:Security s:actor='urn:other'/><w:Security s:actor='urn:other'/></s:Header>"
    ).encode()
)
TRACED = [
    *((given, reason) for given, _, reason in FAULTS),
    ({"path": "/absent"}, "partner-unreachable"),
    ({"Authorization": "Bearer wrong"}, "unknown-caller"),
    ({"body": gzip.compress(b" " * 50_000_000), "Content_Encoding": "gzip"}, "body-too-large"),
    ({"Content_Type": 'text/xml; action="a"'}, "malformed-http"),
    ({"body": CONFLICTING, "path": "/token"}, "security-header-conflict"),
    ({"answer": None}, "partner-failed"),
    ({"answer": b""}, "partner-timeout"),
]


@pytest.mark.parametrize(
    ("given", "reason"), TRACED, ids=[f"{t[1]}-{n}" for n, t in enumerate(TRACED)]
)
def test_every_refusal_is_traced_as_documented_or_counted(
    exchange: Exchange, answering: Scripted, given: dict, reason: str
) -> None:
    """With its reason where something was decided; what is not traced stands in the metrics."""
    fields = dict(given)
    body, path = fields.pop("body", envelope()), fields.pop("path", None)
    if "answer" in fields:
        raw = fields.pop("answer")
        answering.with_(lambda _: raw)
    before = counted(exchange, reason)
    request_id = f"traced-{TRACED.index((given, reason))}"
    answer = exchange.application.post(body, path, X_Request_Id=request_id, **fields)
    assert reason.encode() in answer.body
    wanted = documented()[reason]

    def traced() -> dict[str, str | None]:
        read = (stored.entry for stored in entries_of_home(exchange.service.home))
        return {each.event: each.reason for each in read if each.request_id == request_id}

    wait_until(lambda: traced().keys() == wanted, 10, f"{wanted} of {reason}")
    assert {said for event, said in traced().items() if event != "created"} <= {reason}
    assert counted(exchange, reason) == before + 1


def counted(exchange: Exchange, reason: str) -> float:
    """How often a reason stands in the metrics."""
    text = exchange.service.request("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if f'="{reason}"' in line]
    names = ("appliance_gateway_messages_total", "appliance_errors_total")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(names))


def test_the_partners_refusal_passes_and_is_traced(exchange: Exchange, answering: Scripted) -> None:
    """A fault comes back as it is, and stands in our trace with the vector's id."""
    answering.with_(lambda _: write_answer(b"<fault/>", 500))
    answer = exchange.application.post(envelope(), X_Request_Id="refused-there")
    assert (answer.status, answer.body) == (500, b"<fault/>")

    def traced() -> bool:
        return any(
            e.request_id == "refused-there" for e in events(exchange.service.home, "answered")
        )

    wait_until(traced, 10, "the entry")
    [entry] = [
        e for e in events(exchange.service.home, "answered") if e.request_id == "refused-there"
    ]
    vector = exchange.service.verify(exchange.last().body).json["vector"]
    assert (entry.issuer, entry.assertion_id) == (vector["issuer"], vector["id"])
    assert (entry.status, entry.component) == (500, "fournisseur")


def test_an_answer_in_chunks_passes_as_it_comes(exchange: Exchange, answering: Scripted) -> None:
    """The entity is the same whatever its framing; an answer that ends with the connection too."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answering.with_(lambda _: head + b"3\r\nabc\r\n" + b"5\r\ndefgh\r\n0\r\n\r\n")
    assert exchange.application.post(envelope()).body == b"abcdefgh"
    long = b"x" * 3_000_000
    answering.with_(lambda _: write_answer(long))
    assert exchange.application.post(envelope()).body == long


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, b"partner-failed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"partner-failed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            b"partner-failed",
        ),
        (b"no http at all\r\n\r\n", b"partner-failed"),
        (b"", b"partner-timeout"),
    ],
)
def test_a_partner_that_fails_is_named(
    exchange: Exchange, answering: Scripted, raw: bytes | None, reason: bytes
) -> None:
    """What was sent is not sent again; the application hears a Server fault."""
    before = len(exchange.partner.received)
    answering.with_(lambda _: raw)
    answer = exchange.application.post(envelope())
    assert answer.status == 500
    assert b"soap:Server" in answer.body
    assert reason in answer.body
    assert len(exchange.partner.received) == before + 1


def test_half_an_answer_never_looks_whole(exchange: Exchange, answering: Scripted) -> None:
    """What is cut off there is cut off here."""
    cut = write_answer(b"x" * 100)[:-50]
    calls: list[int] = []

    def answer(_: Received) -> bytes | None:
        calls.append(1)
        return cut if len(calls) == 1 else None

    answering.with_(answer)
    head = (
        b"POST /droits HTTP/1.1\r\nHost: localhost\r\nX-Agent: a\r\nX-Roles: agent\r\n"
        b"Content-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(envelope())
    )
    received = exchange.application.raw(head + envelope())
    assert received == b"" or not received.endswith(b"x" * 100)
    assert b"x" * 51 not in received


def test_a_description_passes_with_our_address(exchange: Exchange, answering: Scripted) -> None:
    """GET passes `?wsdl` and nothing else."""
    theirs = f"https://localhost:{exchange.partner.port}/base/services/droits"
    answering.with_(lambda _: write_answer(f"<address location='{theirs}'/>".encode()))
    answer = exchange.application.ask("GET", "/droits?wsdl", b"", {})
    ours = f"http://127.0.0.1:{exchange.application.port}/droits"
    assert answer.body == f"<address location='{ours}'/>".encode()
    assert exchange.last().line == "GET /base/services/droits?wsdl HTTP/1.1"
    assert exchange.application.ask("GET", "/droits", b"", {}).status == 405
    assert exchange.application.ask("GET", "/droits?x", b"", {}).status == 405


SOAP_12 = "application/soap+xml; charset=utf-8"
AMBIGUOUS = [
    ("1.1", 'SOAPAction: "a"\r\nSOAPAction: "b"', "malformed-http"),
    ("1.1", 'SOAPAction: "a"\r\nSOAP_Action: "b"\r\nSoapAction: "a"', "malformed-http"),
    ("1.1", 'Content-Type: text/xml; action="a"\r\nSOAPAction: "b"', "malformed-http"),
    ("1.1", 'Content-Type: text/xml; action="a"', "malformed-http"),
    ("1.2", f'Content-Type: {SOAP_12}; action="a"; action="b"', "malformed-http"),
    ("1.2", f'Content-Type: {SOAP_12}; action="a"\r\nSOAPAction: "b"', "malformed-http"),
    ("1.2", f"Content-Type: {SOAP_12}; action*=utf-8''a", "malformed-http"),
    ("1.1", "Content-Type: text/xml; charset=utf-16", "encoding-unsupported"),
    ("1.1", "Content-Type: text/xml; charset=utf-7", "encoding-unsupported"),
    ("1.1", "Content-Type: text/xml; charset=us-ascii", "encoding-unsupported"),
    ("1.1", "Content-Type: text/xml; charset=utf-8; charset=utf-7", "encoding-unsupported"),
    ("1.1", "Content-Encoding: identity\r\nContent-Encoding: gzip", "content-coding"),
    ("1.1", "Connection: close, soapaction", "malformed-http"),
    ("1.1", "Connection: close, Content_Type", "malformed-http"),
    ("1.1", "Connection: close, X-Agent", "malformed-http"),
]


@pytest.mark.parametrize(("version", "lines", "reason"), AMBIGUOUS)
def test_a_head_that_says_two_things_is_refused(
    exchange: Exchange, version: str, lines: str, reason: str
) -> None:
    """By name, on every route, and nothing of it is sent."""
    before = exchange.partner.connections, len(exchange.partner.received)
    answer = _ask_with(exchange, version, lines)
    assert reason.encode() in answer, answer[:500]
    assert before == (exchange.partner.connections, len(exchange.partner.received))


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ("1.1", 'Content-Type: text/xml; charset="UTF-8"\r\nSOAPAction: "a"'),
        ("1.1", "Content-Type: text/xml"),
        ("1.2", f'Content-Type: {SOAP_12}; action="a"\r\nSOAPAction: "a"'),
        ("1.2", f'Content-Type: {SOAP_12}; action="a"\r\nSOAPAction: ""'),
    ],
)
def test_a_head_that_says_one_thing_passes(exchange: Exchange, version: str, lines: str) -> None:
    """Stated once, or twice alike where the version of the message has a place for it."""
    assert _ask_with(exchange, version, lines).endswith(ANSWER)


def _ask_with(exchange: Exchange, version: str, lines: str) -> bytes:
    message = envelope(version)
    if "Content-Type" not in lines:
        lines += "\r\nContent-Type: text/xml"
    if "Connection" not in lines:
        lines += "\r\nConnection: close"
    head = (
        f"POST /droits HTTP/1.1\r\nHost: localhost\r\nX-Agent: a\r\nX-Roles: agent\r\n{lines}\r\n"
    )
    return exchange.application.raw(
        head.encode() + b"Content-Length: %d\r\n\r\n" % len(message) + message, timeout=20
    )


SMUGGLED = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length: +5\r\n",
    b"Host: other\r\nContent-Length: 5\r\n",
]


@pytest.mark.parametrize("name", ["X-Agent", "x_agent", "X-Roles", "X_ROLES", "Transfer_Encoding"])
def test_what_is_said_of_the_person_stays_here_by_get_too(exchange: Exchange, name: str) -> None:
    """The local fields of every route, and those of the connection, however they are written."""
    answer = exchange.application.ask("GET", "/droits?wsdl", b"", {name: "dupont"})
    assert answer.status == 200
    assert exchange.last().line.startswith("GET ")
    assert "dupont" not in dict(exchange.last().fields).values()


def test_the_fields_of_another_route_stay_here(exchange: Exchange) -> None:
    """A route without user sends nothing on of what the listener's other routes read."""
    answer = exchange.application.post(envelope(), "/batch", X_Agent="dupont", X_Roles="Agent")
    assert answer.status == 200, answer.body
    assert not {"dupont", "Agent"} & set(dict(exchange.last().fields).values())


@pytest.mark.parametrize(
    "query", ["wsdl=1&action=delete", "wsdl&x", "xsd=a;x=b", "xsd=a=b", "wsdl2", "wsdl=a?b", ""]
)
def test_get_passes_one_parameter_alone(exchange: Exchange, query: str) -> None:
    """What follows a description's name is not the other end's to interpret."""
    before = exchange.partner.connections, len(exchange.partner.received)
    assert exchange.application.ask("GET", f"/droits?{query}", b"", {}).status == 405
    assert before == (exchange.partner.connections, len(exchange.partner.received))


@pytest.mark.parametrize("framing", SMUGGLED)
def test_smuggling_shapes_are_refused(exchange: Exchange, framing: bytes) -> None:
    """Where two readers could see two requests there is none, and the connection ends."""
    before = len(exchange.partner.received)
    head = b"POST /droits HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
    answer = exchange.application.raw(head + framing + b"\r\n0\r\n\r\nGET /batch HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert_fault(answer, "1.1", b"soap:Client", b"malformed-http")
    assert len(exchange.partner.received) == before


def assert_fault(answer: bytes, version: str, code: bytes, reason: bytes) -> None:
    """Check that a raw answer is a fault that any SOAP toolkit reads, and all of it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    kind = b"application/soap+xml" if version == "1.2" else b"text/xml"
    assert b"\r\ncontent-type: %b; charset=utf-8\r\n" % kind in head
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert head.count(b"x-request-id: ") == 1
    fault = etree.fromstring(body).find(f"{{{SOAP[version]}}}Body/{{{SOAP[version]}}}Fault")
    assert fault is not None
    text = b"".join(etree.tostring(each) for each in fault)
    assert code in text
    assert reason in text


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (b"X: %b\r\n" % (b"x" * 70_000), b"413", b"headers-too-large"),
        (b"X: 1\r\n" * 200, b"413", b"headers-too-large"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"400", b"malformed-http"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_http_refuses_is_a_fault_too(
    exchange: Exchange, fields: bytes, status: bytes, reason: bytes, version: str
) -> None:
    """In the version that Content-Type announced, with the status of HTTP."""
    kind = b"application/soap+xml" if version == "1.2" else b"text/xml"
    head = b"POST /droits HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n" % kind
    answer = exchange.application.raw(head + fields + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 %b " % status)
    code = b"soap:Sender" if version == "1.2" else b"soap:Client"
    assert_fault(answer, version, code, reason)


def test_another_endpoint_is_tried_where_nothing_was_sent(exchange: Exchange) -> None:
    """The message arrives once; without any endpoint the application hears what is down."""
    before = len(exchange.partner.received)
    assert exchange.application.post(envelope(), "/failover").body == ANSWER
    assert len(exchange.partner.received) == before + 1
    answer = exchange.application.post(envelope(), "/absent")
    assert answer.status == 500
    assert b"partner-unreachable" in answer.body
    assert answer.headers["retry-after"]


def test_only_so_many_wait_for_a_partner(exchange: Exchange, answering: Scripted) -> None:
    """The others are told at once, or after the wait, and can come again."""
    gate = threading.Event()

    def answer(_: Received) -> bytes:
        gate.wait(10)
        return write_answer(ANSWER)

    answering.with_(answer)
    answers: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(exchange.application.post(envelope(), "/narrow").body)
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) == 2, 10, "two that are told")
    gate.set()
    for thread in threads:
        thread.join(10)
    assert sum(b"partner-busy" in each for each in answers) == 2
    assert answers.count(ANSWER) == 1


def test_a_session_is_offered_again(exchange: Exchange, answering: Scripted) -> None:
    """A new connection resumes the TLS session of an earlier one."""
    answering.with_(lambda _: write_answer(ANSWER, Connection="close"))
    for _ in range(3):
        assert exchange.application.post(envelope()).status == 200
    assert exchange.partner.resumed[-1]


def over_tls(
    exchange: Exchange, port: int, identity: tuple[Path, Path] | None, **fields: str
) -> Answer:
    """Post a message to one of the TLS listeners."""
    context = ssl.create_default_context(cafile=str(exchange.ours.root))
    if identity is not None:
        context.load_cert_chain(*identity)
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    with contextlib.closing(connection):
        connection.request("POST", "/droits", envelope(), {"Content-Type": "text/xml"} | fields)
        answer = connection.getresponse()
        return Answer(answer.status, {}, answer.read())


def caller_of(exchange: Exchange, request_id: str) -> str | None:
    """Who the trace says called."""
    found = [
        e.caller for e in events(exchange.service.home, "created") if e.request_id == request_id
    ]
    return found[0] if found else None


def test_a_caller_is_known_by_a_key(exchange: Exchange) -> None:
    """It stays here; a wrong one, or none where nothing else says who calls, is refused."""
    port = exchange.ports["known"]
    shown = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "by-key"}
    assert over_tls(exchange, port, None, **shown).status == 200
    assert caller_of(exchange, "by-key") == "comptabilite"
    assert exchange.last().field("Authorization") is None
    assert over_tls(exchange, port, None, Authorization="Bearer wrong").status == 401
    refused = over_tls(exchange, port, None)
    assert refused.status == 401
    assert b"unknown-caller" in refused.body


def test_a_caller_is_known_by_its_certificate(exchange: Exchange) -> None:
    """Its subject is its name; without one there is no connection."""
    port = exchange.ports["certified"]
    shown = exchange.locals.certify("paie")
    assert over_tls(exchange, port, shown, **{"X-Request-Id": "by-certificate"}).status == 200
    assert caller_of(exchange, "by-certificate") == "CN=paie,C=FR"
    with pytest.raises(OSError):  # noqa: PT011 - an alert, or the connection reset under it
        over_tls(exchange, port, None)


def test_an_application_whose_certificate_is_revoked_is_unknown(exchange: Exchange) -> None:
    """The CRL counts on the connection that it has; whatever key it shows beside; others go on."""
    port = exchange.ports["certified"]
    revoked, other = exchange.locals.certify("ancienne"), exchange.locals.certify("paie")
    context = ssl.create_default_context(cafile=str(exchange.ours.root))
    context.load_cert_chain(*revoked)
    kept = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)

    def ask() -> tuple[int, bytes]:
        kept.request("POST", "/droits", envelope(), {"Content-Type": "text/xml"})
        answer = kept.getresponse()
        return answer.status, answer.read()

    with contextlib.closing(kept):
        assert ask()[0] == 200
        exchange.locals.revoke(revoked[0])
        wait_until(lambda: ask()[0] == 401, 15, "the CRL to count")
        assert b"revoked" in ask()[1]
    shown = {"Authorization": f"Bearer {KEY}"}
    assert over_tls(exchange, port, revoked, **shown).status == 401
    assert over_tls(exchange, port, other, **shown).status == 200


def test_a_caller_is_known_by_its_socket(exchange: Exchange) -> None:
    """A unix peer is named by its uid; what it says in Authorization is the partner's affair."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(exchange.service.home / "run" / "out.sock"))
    fields = {
        "Content-Type": "text/xml",
        "X-Request-Id": "by-socket",
        "Authorization": "Basic eA==",
    }
    with contextlib.closing(connection):
        connection.request("POST", "/droits", envelope(), fields)
        assert connection.getresponse().status == 200
    assert (caller_of(exchange, "by-socket") or "").startswith("uid:")
    assert exchange.last().field("Authorization") == "Basic eA=="


def test_a_revoked_partner_is_sent_nothing(exchange: Exchange) -> None:
    """The CRL counts from the next connection on, with the session of an earlier one or without."""
    certificate = exchange.organisation.directory / "front.pem"
    exchange.organisation.revoke(certificate)
    wait_until(lambda: b"partner-distrusted" in _fresh(exchange), 15, "the CRL to be read")
    before = len(exchange.partner.received)
    assert b"revoked" in _fresh(exchange)
    assert len(exchange.partner.received) == before


def _fresh(exchange: Exchange) -> bytes:
    """An answer over a connection that is new: the partner closes each."""
    exchange.partner.answer = lambda _: write_answer(ANSWER, Connection="close")
    return exchange.application.post(envelope()).body
