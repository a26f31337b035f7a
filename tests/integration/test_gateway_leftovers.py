"""What a connection has left over of one user's message never meets the next user's: a real service, and ends that answer when they like."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.gateway_homes import HEAD, MIB, TAIL, envelope, make_home
from tests.service import RunningService, serve, wait_until
from tests.tls_peers import TIMEOUT, Organisation, free_port, write_answer

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

HALF = b"~"
LONG = HEAD + b"a" * (MIB + MIB // 4) + HALF + b"a" * MIB + TAIL
TABLES = """
[[partner]]
name = "other"
roots = ["{pki.root}"]
crl_directory = "{pki.crls}"
endpoints = ["https://localhost:{partner}"]
names = ["CN=front,C=FR"]
answer = "2s"

[[outbound]]
name = "applications"
listen = "127.0.0.1:{outbound}"
callers_by_address = {{ "127.0.0.1/32" = "portail" }}

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "other"
pagms = ["PAGM_GESTION"]

[[inbound]]
name = "partners"
listen = "127.0.0.1:{inbound}"
certificates = "{front[0]}"
private_key = "{front[1]}"
partners = ["other"]

[[inbound.route]]
path = "/droits"
forward = "http://127.0.0.1:{backend}/app"
answer = "2s"
"""


@dataclass
class End:
    """The far end of a route, which does on each connection what `behave` says.

    Attributes:
        heard: what came, connection by connection.
        answers: how many were sent.
        answer: what `answer_whole` answers.
        let_go: ends those that take nothing.
    """

    port: int
    behave: Callable[["End", socket.socket, int], None]
    heard: list[bytearray] = field(default_factory=list)
    answers: int = 0
    answer: bytes = b""
    let_go: threading.Event = field(default_factory=threading.Event)


def answer_of(number: int, message: int) -> bytes:
    """What an end answers to a message on one of its connections."""
    return b"<answer>message %d of connection %d</answer>" % (message, number)


def answer_early(end: End, connection: socket.socket, number: int) -> None:
    """Answer a long message when half of it is there and go on reading; answer any other at its head, as the last."""
    heard, answered = end.heard[number], 0
    while piece := connection.recv(65536):
        heard += piece
        if heard.count(b"POST /") == answered or (b"chunked" in heard and HALF not in heard):
            continue
        answered += 1
        fields = {} if b"chunked" in heard and answered == 1 else {"Connection": "close"}
        connection.sendall(write_answer(answer_of(number, answered), **fields))
        end.answers += 1


def answer_whole(end: End, connection: socket.socket, number: int) -> None:
    """Answer every whole message, in one packet."""
    heard = end.heard[number]
    while piece := connection.recv(65536):
        heard += piece
        if heard.endswith(b"<!-- end -->"):
            connection.sendall(end.answer)


def take_nothing(end: End, _connection: socket.socket, _number: int) -> None:
    """Never read."""
    end.let_go.wait(TIMEOUT)


@contextmanager
def running_end(context: ssl.SSLContext | None) -> Iterator[End]:
    """Serve until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = End(listener.getsockname()[1], answer_early)
        threading.Thread(target=_accept, args=(listener, context, end), daemon=True).start()
        yield end


def _accept(listener: socket.socket, context: ssl.SSLContext | None, end: End) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, context, end), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext | None, end: End) -> None:
    connection.settimeout(TIMEOUT)
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        end.heard.append(bytearray())
        with connection:
            end.behave(end, connection, len(end.heard) - 1)
    except OSError:
        return


@dataclass
class Way:
    """One way through the appliance: how a message gets in, and where it comes out."""

    service: RunningService
    end: End
    pki: Organisation
    port: int
    context: ssl.SSLContext | None

    def connect(self) -> socket.socket:
        """Connect as who sends messages this way does."""
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        return (
            self.context.wrap_socket(plain, server_hostname="localhost") if self.context else plain
        )

    def prepare(self, message: bytes) -> bytes:
        """The message as it is sent this way: a partner's has a vector."""
        if self.context is None:
            return message
        fields = {"Content-Type": "text/xml", "Vector-Pagm": "PAGM_GESTION"}
        path = "/v1/soap/secure?convention=demo-client"
        answer = self.service.request("POST", path, message, fields)
        assert answer.status == 200, answer.body
        return answer.body

    def refused(self) -> int:
        """How many messages the log says were refused."""
        return self.service.errors.read_text().count("message-refused")

    def post(self, message: bytes) -> bytes:
        """Send a whole message, and read until the connection ends."""
        with self.connect() as connection:
            connection.sendall(request(len(message)) + message)
            return read_all(connection)


def request(octets: int) -> bytes:
    """The head of a request."""
    lines = ["POST /droits HTTP/1.1", "Host: localhost", "Content-Type: text/xml"]
    lines += ["Connection: close", f"Content-Length: {octets}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def read_all(connection: socket.socket) -> bytes:
    """Read until the connection ends."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass  # cut off: what came is all
    return received


@pytest.fixture(scope="module")
def ways(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Way]]:
    """An appliance with a way out to an end over TLS, and a way in to one in clear."""
    directory = tmp_path_factory.mktemp("leftovers")
    pki = Organisation(directory / "pki", "other")
    front = pki.certify("front")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*front)
    shown = ssl.create_default_context(cafile=str(pki.root))
    shown.load_cert_chain(*front)
    ports = {name: free_port() for name in ("outbound", "inbound")}
    with running_end(served) as partner, running_end(None) as backend:
        ends = {"partner": partner.port, "backend": backend.port}
        home = make_home(demo_home, directory, TABLES.format(pki=pki, front=front, **ends, **ports))
        with serve(home) as service:
            yield {
                "outbound": Way(service, partner, pki, ports["outbound"], None),
                "inbound": Way(service, backend, pki, ports["inbound"], shown),
            }


@pytest.fixture(params=["outbound", "inbound"])
def way(ways: dict[str, Way], request: pytest.FixtureRequest) -> Way:
    """Each of the two."""
    return ways[request.param]


@pytest.mark.parametrize("how", ["malformed", "hung up"])
def test_an_answer_to_half_a_message_never_reaches_the_next_user(way: Way, how: str) -> None:
    """The end answers and keeps the connection while the message still comes; that one is given up, and its connection with it."""
    way.end.behave = answer_early
    message, refused = way.prepare(LONG), way.refused()
    connections, answers = len(way.end.heard), way.end.answers
    with way.connect() as connection:
        connection.sendall(request(len(message)) + message[: message.index(HALF) + 1])
        wait_until(lambda: way.end.answers > answers, 10, "the answer to half of it")
        if how == "malformed":
            connection.sendall(b"</wrong>")
            read_all(connection)
    wait_until(lambda: way.refused() > refused, 10, "the message to be given up")
    answer = way.post(way.prepare(envelope()))
    assert answer.endswith(b"\r\n\r\n" + answer_of(connections + 1, 1)), answer
    assert [heard.count(b"POST /") for heard in way.end.heard[connections:]] == [1, 1]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<a/>\r\n0\r\n\r\n"
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "surplus"),
    [
        (write_answer(b"<a/>"), write_answer(b"<evil/>")),
        (write_answer(b"<a/>\r\n"), b"\n"),
        (CHUNKED, b"\r\n"),
        (NOTHING, b"x"),
    ],
    ids=["second answer", "line end", "chunked", "no body"],
)
def test_octets_behind_an_answer_end_the_connection(
    way: Way, answer: bytes, surplus: bytes
) -> None:
    """They came in its packet; the answer stands, and neither this message nor the next sees anything of them."""
    way.end.behave, way.end.answer = answer_whole, answer
    message = way.prepare(envelope())
    plain, before = stated(way.post(message)), len(way.end.heard)
    assert stated(way.post(message)) == plain
    assert len(way.end.heard) == before, "what ends where it should is kept"
    way.end.answer = answer + surplus
    for count in (0, 1):
        assert stated(way.post(message)) == plain
        assert len(way.end.heard) == before + count


def stated(answer: bytes) -> bytes:
    """Status and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0] + body


def test_an_end_that_takes_nothing_is_given_up(way: Way) -> None:
    """No progress within `answer` is a timeout, however much of the message is still to come."""
    way.end.behave = take_nothing
    opened = way.prepare(HEAD + TAIL).removesuffix(TAIL)
    log = way.service.errors
    before = log.read_text().count("nothing was taken")
    with way.connect() as connection:
        with contextlib.suppress(OSError):  # it answers before the end
            connection.sendall(request(64 * MIB) + opened + b"a" * (16 * MIB))
        wait_until(lambda: log.read_text().count("nothing was taken") > before, 15, "the refusal")
    way.end.let_go.set()
    assert "partner-timeout" in log.read_text()


def test_a_partner_revoked_meanwhile_is_sent_nothing_more(ways: dict[str, Way]) -> None:
    """The CRL counts on the connection that is kept."""
    way = ways["outbound"]
    way.end.behave, way.end.answer = answer_whole, write_answer(b"<a/>")
    assert b"<a/>" in way.post(envelope())
    kept = len(way.end.heard)
    assert b"<a/>" in way.post(envelope())
    assert len(way.end.heard) == kept
    way.pki.revoke(way.pki.directory / "front.pem")
    wait_until(lambda: b"partner-distrusted" in way.post(envelope()), 15, "the CRL to count")
    sent = sum(heard.count(b"POST /") for heard in way.end.heard)
    assert b"revoked" in way.post(envelope())
    assert sum(heard.count(b"POST /") for heard in way.end.heard) == sent
