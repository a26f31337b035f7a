"""The limits of CONTRACT 4 on real sockets, octet by octet: every one passed is a named error, never a crash, never a hang."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from appliance.server.settings import ServerSettings
from tests.api_server import Connection, RunningApi, running_api, write_request
from tests.software_operations import SoftwareIssuer, make_operations

HOST = b"Host: 127.0.0.1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
QUICK = ServerSettings(
    body_limit=4096,
    header_limit=2048,
    header_fields=20,
    request_line_limit=512,
    head_timeout=0.2,
    body_grace=0.2,
    keep_alive=0.4,
    write_timeout=0.4,
    linger=0.3,
    connections=8,
    connections_per_peer=4,
    pipeline=5,
    drain_timeout=1,
)


@pytest.fixture(scope="module")
def api() -> Iterator[RunningApi]:
    """A server with small limits and short timeouts."""
    with running_api(settings=QUICK) as running:
        yield running
        assert (
            running.request("GET", "/healthz").status == 200
        )  # whatever was sent, it still serves


def post(*fields: bytes, body: bytes = b"") -> bytes:
    """A POST with exactly these fields behind Host."""
    lines = [b"POST /v1/vectors HTTP/1.1", HOST.rstrip(), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def check_refused(answer, status: int, reason: str) -> None:
    """Check that an answer is the contract's error and ends the connection."""
    assert (answer.status, answer.reason) == (status, reason), answer.body
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == answer.json["error"]["request_id"]
    assert answer.json["error"]["detail"]


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS hello"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 preface"),
        pytest.param(b"GET /healthz\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET /healthz HTTP/3.0\r\n" + HOST + b"\r\n", id="HTTP/3.0"),
        pytest.param(b"BREW /healthz HTTP/1.1\r\n" + HOST + b"\r\n", id="unknown method"),
        pytest.param(b"GET healthz HTTP/1.1\r\n" + HOST + b"\r\n", id="target without slash"),
        pytest.param(b"GET https://127.0.0.1/healthz HTTP/1.1\r\n" + HOST + b"\r\n", id="https"),
        pytest.param(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n" + HOST + b"\r\n", id="CONNECT"),
        pytest.param(b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", id="space in target"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET /healthz HTTP/1.0\r\n\r\n", id="no Host in 1.0"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", id="two Hosts"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", id="folded"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", id="space in name"),
        pytest.param(b"GET /healthz HTTP/1.1\n" + HOST + b"\n", id="bare line feeds"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", id="NUL in value"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", id="bare CR"),
    ],
)
def test_what_is_not_http_is_refused(api: RunningApi, octets: bytes):
    """A head that HTTP/1.1 does not allow gets a 400 in JSON and a closed connection."""
    with api.connect() as connection:
        check_refused(connection.ask(octets), 400, "malformed-http")
        assert connection.is_closed()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([b"Content-Length: 3", b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 3"], b"0\r\n\r\n"),
        ([b"Content-Length: 3", b"Content-Length: 3"], b"abc"),
        ([b"Content-Length: 3", b"Content-Length: 4"], b"abc"),
        ([b"Content-Length: 3, 3"], b"abc"),
        ([b"Content-Length: +3"], b"abc"),
        ([b"Content-Length: -3"], b"abc"),
        ([b"Content-Length: 0x3"], b"abc"),
        ([b"Content-Length: 99999999999999999999999"], b"abc"),
        ([b"Content-Length:"], b"abc"),
        ([b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
        ([b"Transfer-Encoding: chunked, gzip"], b"0\r\n\r\n"),
        ([b"Transfer-Encoding: identity"], b"abc"),
        ([b"Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        ([b"Transfer-Encoding : chunked"], b"0\r\n\r\n"),
    ],
)
def test_ambiguous_framing_is_refused(api: RunningApi, fields: list[bytes], body: bytes):
    """No message that two parsers could cut differently is read, and nothing that follows it is answered."""
    with api.connect() as connection:
        check_refused(connection.ask(post(*fields, body=body) + HEALTH), 400, "malformed-http")
        assert connection.is_closed()


@pytest.mark.parametrize(
    "chunk", [b"Z\r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n", b"3\r\nabcd\r\n0\r\n\r\n"]
)
def test_a_broken_chunk_is_refused(api: RunningApi, chunk: bytes):
    """A chunk that is not one ends the request with a 400, though its head was good."""
    with api.connect() as connection:
        answer = connection.ask(post(b"Transfer-Encoding: chunked", body=chunk) + HEALTH)
        check_refused(answer, 400, "malformed-http")
        assert connection.is_closed()


def test_chunked_in_http_1_0_is_refused(api: RunningApi):
    """HTTP/1.0 has no transfer codings."""
    octets = (
        b"POST /v1/vectors HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    check_refused(api.ask(octets), 400, "malformed-http")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(
            b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 3000 + b"\r\n\r\n", id="one field"
        ),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\n"
            + HOST
            + b"X-Long: 12345678901234567890\r\n" * 100
            + b"\r\n",
            id="sum of fields",
        ),
        pytest.param(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 20 + b"\r\n", id="count"),
        pytest.param(b"GET /" + b"a" * 600 + b" HTTP/1.1\r\n" + HOST + b"\r\n", id="target"),
    ],
)
def test_a_giant_head_is_refused(api: RunningApi, octets: bytes):
    """A head over a limit is a 413 that names the limit."""
    with api.connect() as connection:
        check_refused(connection.ask(octets), 413, "headers-too-large")
        assert connection.is_closed()


def test_a_head_at_its_limits_is_taken(api: RunningApi):
    """As many fields as the limit says are no offence."""
    octets = b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 19 + b"\r\n"
    assert api.ask(octets).status == 200


def test_a_field_that_never_ends_is_refused(api: RunningApi):
    """A field is cut off once it alone passes the limit, before it ends."""
    with api.connect() as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: ")
        refusal = None
        for _ in range(100):
            connection.send(b"a" * 100)
        refusal = connection.answer()
        check_refused(refusal, 413, "headers-too-large")


def test_a_slow_head_is_refused(api: RunningApi):
    """Half a head gets a 408 when its time is over, however regularly it grows."""
    with api.connect() as connection:
        connection.send(b"GET /healthz HTTP/1.1\r\n")
        connection.sock.settimeout(0.03)
        answer = drip(connection, b"X: a\r\n", 200)
        check_refused(answer, 408, "request-timeout")


def drip(connection: Connection, octets: bytes, times: int):
    """Send the octets each time the socket has had nothing to read for its timeout, until an answer comes."""
    for _ in range(times):
        try:
            return connection.answer()
        except TimeoutError:
            connection.send(octets)
    raise AssertionError("the server went on reading")


def test_a_silent_connection_is_closed(api: RunningApi):
    """Who connects and says nothing is shown out without a word."""
    with api.connect() as connection:
        assert connection.is_closed()


def test_a_slow_body_is_refused(api: RunningApi):
    """A body that comes slower than the pace gets a 408."""
    with api.connect() as connection:
        connection.send(post(b"Content-Length: 4000", body=b"{"))
        connection.sock.settimeout(0.03)
        check_refused(drip(connection, b" ", 200), 408, "request-timeout")


def test_a_body_that_stops_is_refused(api: RunningApi):
    """A body that was quick and then stops gets a 408."""
    with api.connect() as connection:
        check_refused(
            connection.ask(post(b"Content-Length: 4000", body=b" " * 3000)), 408, "request-timeout"
        )


def test_a_chunked_body_that_stops_is_refused(api: RunningApi):
    """The same with chunks."""
    with api.connect() as connection:
        octets = post(b"Transfer-Encoding: chunked", body=b"5\r\n{    \r\n")
        check_refused(connection.ask(octets), 408, "request-timeout")


def test_an_announced_large_body_is_refused_unread(api: RunningApi):
    """Content-Length over the limit is a 413 before one octet of the body was sent, and no `100 Continue` invites it."""
    with api.connect() as connection:
        connection.send(post(b"Content-Length: 4097", b"Expect: 100-continue"))
        check_refused(connection.answer(), 413, "body-too-large")
        assert connection.is_closed()


def test_the_refusal_of_a_large_body_reaches_a_peer_that_sends_it_first(api: RunningApi):
    """The connection is not reset under the answer while the peer still sends."""
    with api.connect() as connection:
        connection.send(post(b"Content-Length: 2000000", body=b" " * 2_000_000))
        check_refused(connection.answer(), 413, "body-too-large")


def test_a_large_chunked_body_is_refused(api: RunningApi):
    """A chunked body is refused when it passes the limit."""
    chunks = (b"400\r\n" + b" " * 1024 + b"\r\n") * 5 + b"0\r\n\r\n"
    with api.connect() as connection:
        answer = connection.ask(post(b"Transfer-Encoding: chunked", body=chunks))
        check_refused(answer, 413, "body-too-large")


@pytest.mark.parametrize("tail", [b"0\r\nTrailer: ", b"1;extension="])
def test_chunk_framing_without_end_is_refused(api: RunningApi, tail: bytes):
    """A trailer or an extension that never ends is cut off like a body that is too large."""
    with api.connect() as connection:
        connection.send(post(b"Transfer-Encoding: chunked", body=tail + b"a" * 1_000_000))
        check_refused(connection.answer(), 413, "body-too-large")


def test_a_body_at_its_limit_is_read(api: RunningApi):
    """A body of exactly the limit is read, and refused for what it says."""
    answer = api.ask(post(b"Content-Length: 4096", body=b" " * 4096))
    assert (answer.status, answer.reason) == (400, "malformed-json")


def test_trailer_fields_change_nothing(api: RunningApi):
    """A trailer field is dropped: it cannot replace what the head said."""
    body = b"2\r\n{}\r\n0\r\nAuthorization: Bearer wrong\r\nX-Request-Id: late\r\n\r\n"
    with api.connect() as connection:
        answer = connection.ask(post(b"Transfer-Encoding: chunked", b"X-Request-Id: r1", body=body))
        assert (answer.reason, answer.headers["x-request-id"]) == ("malformed-json", "r1")
        assert connection.ask(HEALTH).status == 200


def test_expect_100_continue_is_answered():
    """The body is invited once the head has been accepted, and the connection goes on."""
    with running_api() as api, api.connect() as connection:
        octets = write_request("POST", "/v1/vectors", {"convention": "demo-client"})
        head, _, body = octets.partition(b"\r\n\r\n")
        connection.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.ask(body).status == 200
        assert connection.ask(HEALTH).status == 200


def test_a_request_left_unfinished_is_refused(api: RunningApi):
    """A peer that half-closes in the middle of its request still hears why it got nothing."""
    for octets in (b"GET /healthz HT", HEALTH[:-2], post(b"Content-Length: 5", body=b"{")):
        with api.connect() as connection:
            connection.send(octets)
            connection.sock.shutdown(socket.SHUT_WR)
            check_refused(connection.answer(), 400, "malformed-http")
            assert connection.is_closed()


def test_a_peer_that_half_closes_still_gets_its_answer(api: RunningApi):
    """What was asked before the half-close is answered, then the connection closes."""
    with api.connect() as connection:
        connection.send(HEALTH + HEALTH)
        connection.sock.shutdown(socket.SHUT_WR)
        assert [connection.answer().status, connection.answer().status] == [200, 200]
        assert connection.is_closed()


def test_an_idle_connection_is_kept_and_then_closed(api: RunningApi):
    """Keep-alive holds a connection for its time, no longer."""
    with api.connect() as connection:
        assert connection.ask(HEALTH).status == 200
        assert connection.ask(HEALTH).status == 200
        assert connection.is_closed()


def test_connection_close_is_honoured(api: RunningApi):
    """What follows a request that closes is not read."""
    closing = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    with api.connect() as connection:
        answer = connection.ask(closing + HEALTH)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(api: RunningApi):
    """Answers come in the order of the requests, each with its own id."""
    with api.connect() as connection:
        ids = [f"request-{at}" for at in range(5)]
        connection.send(
            b"".join(write_request("GET", "/healthz", x_request_id=each) for each in ids)
        )
        assert [connection.answer().headers["x-request-id"] for _ in ids] == ids


def test_a_refusal_waits_for_its_turn(api: RunningApi):
    """A bad request behind good ones is refused after their answers, and ends the connection."""
    with api.connect() as connection:
        connection.send(HEALTH + HEALTH + b"nonsense\r\n\r\n" + HEALTH)
        assert [connection.answer().status, connection.answer().status] == [200, 200]
        check_refused(connection.answer(), 400, "malformed-http")
        assert connection.is_closed()


def test_a_pipelined_body_is_refused_in_its_turn(api: RunningApi):
    """A body over the limit behind a good request is refused after the good one's answer."""
    chunked = post(b"Transfer-Encoding: chunked", body=b"1400\r\n" + b" " * 5120 + b"\r\n0\r\n\r\n")
    with api.connect() as connection:
        connection.send(HEALTH + chunked)
        assert connection.answer().status == 200
        check_refused(connection.answer(), 413, "body-too-large")


def test_too_many_pipelined_requests_are_pushed_back(api: RunningApi):
    """Requests beyond the bound of the pipeline are refused by name; those within it are answered."""
    with api.connect() as connection:
        connection.send(HEALTH * 7)
        assert [connection.answer().status for _ in range(6)] == [200] * 6
        refusal = connection.answer()
        check_refused(refusal, 503, "connection-limit")
        assert refusal.headers["retry-after"] == "1"


def test_an_upgrade_is_answered_as_if_it_had_not_been_asked(api: RunningApi):
    """Upgrade is ignored and loses nothing of what follows."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: %b\r\n"
    for protocol in (b"h2c", b"websocket"):
        head = b"GET /healthz HTTP/1.1\r\n" + HOST + upgrade % protocol
        with api.connect() as connection:
            connection.send((head + b"\r\n") * 2 + HEALTH)
            assert [connection.answer().status for _ in range(3)] == [200] * 3


def test_an_upgrade_with_a_body_is_read_whole(api: RunningApi):
    """A POST that offers h2c, as Java's client sends it, keeps its body."""
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAE")
    with api.connect() as connection:
        request = post(*fields, b"Content-Length: 3", body=b"[1]")
        connection.send(request[:-1])
        settle(api)
        connection.send(request[-1:] + request + HEALTH)
        assert connection.answer().reason == connection.answer().reason == "malformed-json"
        assert connection.answer().status == 200


def test_an_upgrade_with_a_chunked_body_is_read_whole(api: RunningApi):
    """However the octets arrive, the body is the body and what follows is the next request."""
    fields = (b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked")
    request = post(*fields, body=b"2;x=y\r\n[1\r\n1\r\n]\r\n0\r\nTrailer: x\r\n\r\n")
    for cut in range(len(request) - 30, len(request)):
        with api.connect() as connection:
            connection.send(request[:cut])
            connection.send(request[cut:] + request + HEALTH)
            assert connection.answer().reason == connection.answer().reason == "malformed-json"
            assert connection.answer().status == 200


def test_limits_hold_behind_an_upgrade(api: RunningApi):
    """A body that grows past the limit, and octets that frame nothing, are refused as without the offer."""
    fields = (b"Connection: Upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked")
    with api.connect() as connection:
        connection.send(post(*fields, body=b"fffffff\r\n" + b"x" * 200_000))
        check_refused(connection.answer(), 413, "body-too-large")
    with api.connect() as connection:
        check_refused(connection.ask(post(*fields, body=b"zz\r\n") + HEALTH), 400, "malformed-http")
        assert connection.is_closed()


def test_an_absolute_target_is_taken_with_its_own_host(api: RunningApi):
    """RFC 9112 3.2.2: the absolute form is accepted, and its host is the one that counts."""
    ours = b"GET http://127.0.0.1:%d/healthz HTTP/1.1\r\n" % api.port + HOST + b"\r\n"
    theirs = b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    assert api.ask(ours).status == 200
    assert api.ask(theirs).reason == "foreign-host"


def test_one_connection_more_than_a_peer_may_have_is_refused(api: RunningApi):
    """The fifth connection of one peer is told so, and a place that becomes free is given again."""
    open_connections = [api.connect() for _ in range(4)]
    try:
        for connection in open_connections:
            assert connection.ask(HEALTH).status == 200
        with api.connect() as refused:
            answer = refused.answer()
            check_refused(answer, 503, "connection-limit")
            assert answer.headers["retry-after"] == "1"
            assert refused.is_closed()
        with api.connect_unix() as other_listener:
            assert other_listener.ask(HEALTH.replace(b"127.0.0.1", b"localhost")).status == 200
    finally:
        for connection in open_connections:
            connection.sock.close()
    assert serves_again(api)


def serves_again(api: RunningApi) -> bool:
    """Tell whether a new connection is served once the server has seen the old ones go."""
    for _ in range(100):
        with api.connect() as connection:
            try:
                if connection.ask(HEALTH).status == 200:
                    return True
            except (BrokenPipeError, ConnectionResetError):
                continue
    return False


def test_one_connection_more_than_a_listener_may_have_is_refused():
    """The listener's own limit holds whoever the peer is."""
    settings = ServerSettings(connections=2, connections_per_peer=5)
    with running_api(settings=settings) as api, api.connect() as first, api.connect() as second:
        assert first.ask(HEALTH).status == second.ask(HEALTH).status == 200
        with api.connect() as third:
            check_refused(third.answer(), 503, "connection-limit")


def test_refused_connections_are_bounded_too():
    """Beyond as many lingering refusals as one peer may have connections, the rest are cut off unheard."""
    settings = ServerSettings(connections=1, connections_per_peer=1, linger=5)
    with running_api(settings=settings) as api, api.connect() as served:
        assert served.ask(HEALTH).status == 200
        with api.connect() as heard:
            assert heard.answer().status == 503
            with api.connect() as unheard:
                assert unheard.is_closed()


def test_a_peer_that_reads_nothing_is_cut_off():
    """An answer that the peer never takes does not hold its connection for ever."""
    settings = ServerSettings(write_timeout=0.2, body_grace=0.2)
    with running_api(settings=settings) as api, api.connect() as connection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_for_ever(connection, write_request("GET", "/openapi.json") * 10)


def send_for_ever(connection: Connection, octets: bytes) -> None:
    """Send and read nothing; a server that goes on waiting makes the socket time out."""
    while True:
        connection.send(octets)


def test_a_drain_finishes_what_is_in_flight():
    """After the drain has begun nobody new is served, the request in flight is answered, and the server ends."""
    issuer = SoftwareIssuer(gate=asyncio.Event())
    with running_api(make_operations(issuer)) as api, api.connect() as idle, api.connect() as busy:
        assert idle.ask(HEALTH).status == 200
        busy.send(write_request("POST", "/v1/vectors", {"convention": "demo-client"}))
        wait_for(api, issuer.entered)
        api.begin_drain()
        assert idle.is_closed()
        with pytest.raises(ConnectionRefusedError):
            api.connect()
        api.call(issuer.gate.set)
        answer = busy.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        api.join()


def test_a_drain_refuses_half_a_head():
    """A request whose head is not complete when the drain begins is told to come again elsewhere."""
    with running_api() as api, api.connect() as connection:
        connection.ask(HEALTH)
        connection.send(HEALTH[:10])
        settle(api)
        api.begin_drain()
        check_refused(connection.answer(), 503, "draining")


def test_a_drain_gives_up_on_what_takes_too_long():
    """What is not answered within the drain timeout gets a 503 and the server ends all the same."""
    issuer = SoftwareIssuer(gate=asyncio.Event())
    settings = ServerSettings(drain_timeout=0.2)
    with running_api(make_operations(issuer), settings) as api, api.connect() as connection:
        connection.send(write_request("POST", "/v1/vectors", {"convention": "demo-client"}))
        wait_for(api, issuer.entered)
        api.begin_drain()
        answer = connection.answer()
        assert (answer.status, answer.reason) == (503, "draining")
        api.join()


def test_a_draining_server_is_not_ready():
    """`/readyz` says so from the moment the drain begins, on connections that are still served."""
    issuer = SoftwareIssuer(gate=asyncio.Event())
    with running_api(make_operations(issuer)) as api, api.connect() as connection:
        asked = write_request("POST", "/v1/vectors", {"convention": "demo-client"})
        connection.send(asked + write_request("GET", "/readyz"))
        wait_for(api, issuer.entered)
        api.begin_drain()
        api.call(issuer.gate.set)
        assert connection.answer().status == 200
        answer = connection.answer()
        assert (answer.status, answer.json["reasons"]) == (503, ["draining"])


def wait_for(api: RunningApi, event: asyncio.Event) -> None:
    """Wait in this thread for an event of the server's loop."""
    asyncio.run_coroutine_threadsafe(event.wait(), api.loop).result(10)


def settle(api: RunningApi) -> None:
    """Let the server's loop read what has reached its sockets."""
    for _ in range(3):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), api.loop).result(10)
