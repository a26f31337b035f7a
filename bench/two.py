"""The second act of `make run`: two organisations, an appliance each, and applications on both ends that know nothing of InterOPS.

Everything is real: two homes with a token and a PKI each, two services, mutual TLS between them, plain SOAP outside. Any step that does
not come out as said raises.
"""

import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.home import Home
from appliance.trace.record import TraceEntry
from appliance.trace.view import LogPlace
from bench.organisations import (
    free_port,
    inbound_tables,
    introduce,
    make_home,
    outbound_tables,
    write_gateway,
)
from bench.service import serve_home

_MESSAGE: Final = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    b'<droits xmlns="urn:demo"><assure>1 55 08 14 168 025</assure></droits></s:Body></s:Envelope>'
)
_PERSON: Final = "agent-0042"
_TRACED_WITHIN: Final = 10.0

Say = Callable[[str, str], None]

_ROUTE: Final = """
[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "b"
subject = "header"
subject_header = "X-Agent"
roles_header = "X-Role"
"""
_ROLES: Final = '\n[roles]\ngestionnaire = ["PAGM_GESTION"]\nconseiller = ["PAGM_CONSULTATION"]\n'


class ActFailed(Exception):
    """A step did not come out as it should."""


@dataclass(frozen=True, slots=True)
class _Ports:
    outbound: int
    inbound: int
    application: int


def show_two_organisations(home: Path, say: Say) -> None:
    """Play the act, in homes beside the given one.

    Raises:
        ActFailed: a step did not come out as said.
        SceneFailed: a home cannot be made.
        RuntimeError: a service did not become ready.
    """
    a, b = (make_home(home.with_name(f"{home.name}-{side}")) for side in ("a", "b"))
    said: list[str] = []
    with _application(said) as application:
        ports = _Ports(free_port(), free_port(), application)
        _set_the_scene(a, b, ports)
        with serve_home(a), serve_home(b):
            say(
                "two sides",
                "organisation A and organisation B: a token, a PKI and an appliance each;",
            )
            say("", "they know each other's trust anchors and CRLs, and agreed on a convention")
            _show_exchange(ports, said, say)
            _show_several(ports, say)
            _show_refusals(b, ports, said, say)
        _show_traces(a, b, say)


def _show_exchange(ports: _Ports, said: list[str], say: Say) -> None:
    status, answer = _post(ports, "conseiller")
    if status != http.HTTPStatus.OK or said[-1:] != [f"{_PERSON} with PAGM_CONSULTATION"]:
        raise ActFailed(f"the message did not arrive: {status} {answer!r}")
    say(
        "in line",
        "A's portal posts plain SOAP for agent-0042, a conseiller; A's appliance puts the",
    )
    say("", "vector in and calls B over mutual TLS; B's judges it, takes it out, and tells B's")
    say("", f"application « {said[-1]} »; the answer comes back octet for octet")


def _show_several(ports: _Ports, say: Say) -> None:
    begun = time.monotonic()
    for _ in range(50):
        if _post(ports, "gestionnaire")[0] != http.HTTPStatus.OK:
            raise ActFailed("a message of several did not arrive")
    say(
        "",
        f"50 more as gestionnaire, one after the other: {(time.monotonic() - begun) * 20:.1f} ms each",
    )


def _show_refusals(b: Path, ports: _Ports, said: list[str], say: Say) -> None:
    arrived = len(said)
    status, answer = _post(ports, "directeur")
    if b"role-unknown" not in answer:
        raise ActFailed(f"a role outside the convention was taken: {status}")
    say("refused", "by A: a role that the convention does not know; nothing was signed or sent")
    (b / "pki" / "a" / "crl" / "issuing.pem").rename(b / "pki" / "a" / "issuing.away")
    try:
        _until(lambda: b"FailedCheck" in _post(ports, "conseiller")[1], "the CRL to be missed")
    finally:
        (b / "pki" / "a" / "issuing.away").rename(b / "pki" / "a" / "crl" / "issuing.pem")
    say("", "by B, with A's CRL gone: wsse:FailedCheck, « La signature ou le chiffrement n'est pas")
    say("", "valide », which A's portal reads as a SOAP fault")
    _until(lambda: _post(ports, "conseiller")[0] == http.HTTPStatus.OK, "the CRL to count again")
    if len(said) <= arrived:
        raise ActFailed("nothing arrived after the CRL was back")
    say("", "with the CRL back in its place messages pass again, without a restart")


def _show_traces(a: Path, b: Path, say: Say) -> None:
    created = {(e.issuer, e.assertion_id) for e in _entries(a) if e.event == "created"}
    accepted = [e for e in _entries(b) if e.event == "received" and e.verdict == "accepted"]
    answered = [e for e in _entries(b) if e.event == "answered"]
    met = created & {(e.issuer, e.assertion_id) for e in (*accepted, *answered)}
    if not met:
        raise ActFailed("the traces of the two sides do not meet")
    say(
        "two traces",
        f"{len(met):,} vectors stand in both, found by issuer and assertion id from either side",
    )


def _set_the_scene(a: Path, b: Path, ports: _Ports) -> None:
    introduce(a, b)
    write_gateway(a, outbound_tables(ports.outbound, {"b": ports.inbound}) + _ROUTE)
    write_gateway(b, inbound_tables(ports.inbound, ports.application))
    client = a / "conventions" / "demo-client.toml"
    if _ROLES not in client.read_text():
        client.write_text(client.read_text() + _ROLES)


def _post(ports: _Ports, role: str) -> tuple[int, bytes]:
    """Be A's portal: plain SOAP, the person and the role in fields."""
    connection = http.client.HTTPConnection("127.0.0.1", ports.outbound, timeout=30)
    try:
        fields = {"Content-Type": "text/xml", "X-Agent": _PERSON, "X-Role": role}
        connection.request("POST", "/droits", _MESSAGE, fields)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def _application(said: list[str]) -> Iterator[int]:
    """Be B's application: it notes what it is told of the caller, and knows nothing else."""

    class Application(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if b"Assertion" in body:
                said.append("a message that still holds its vector")
            else:
                who, pagms = self.headers["X-Interops-Subject"], self.headers["X-Interops-Pagm"]
                said.append(f"{who} with {pagms}")
            answer = b"<droits>ouverts</droits>"
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def _entries(home: Path) -> list[TraceEntry]:
    place = LogPlace(Home(home).logs, Home(home).spool)
    return [stored.entry for name in place.names() for stored in place.view(name).read()]


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _TRACED_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise ActFailed(f"waited {_TRACED_WITHIN:.0f} s for {what}")
        time.sleep(0.1)
