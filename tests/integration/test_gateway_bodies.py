"""Long messages, attachments, signed Bodies and HTTP's ways of framing them, through two appliances."""

import base64
import gzip
import json
import socket
from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.gateway_homes import (
    HEAD,
    MIB,
    TAIL,
    envelope,
    events,
    eventually,
    long_message,
    memory,
)
from tests.service import RunningService, wait_until
from tests.tls_peers import Received, write_answer
from tests.two_organisations import (
    ANSWER,
    Organisations,
    send,
)

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

ROOT = (
    b'--b\r\nContent-Type: application/xop+xml; type="text/xml"\r\nContent-ID: <root>\r\n\r\n%b'
    b"\r\n--b\r\nContent-ID: <1>\r\nContent-Transfer-Encoding: binary\r\n\r\n"
)
MTOM = 'multipart/related; type="application/xop+xml"; boundary=b; start="<root>"; start-info="text/xml"'


def peak(service: RunningService) -> int:
    """The most memory that a worker has had, in MiB."""
    return memory(service, "VmHWM")


def test_200_mib_pass_in_bounded_memory(both: Organisations) -> None:
    """What arrives is what was sent but for the vector; neither appliance holds it."""
    before = [peak(side) for side in (both.client, both.provider)]
    answer = send(both, long_message(200 * MIB))
    assert answer.endswith(ANSWER), answer[:500]
    received = both.backend.received[-1]
    head = received.body[: received.body.index(b"<s:Body>")].replace(b"<s:Header></s:Header>", b"")
    sent = sha256()
    for piece in long_message(200 * MIB):
        sent.update(piece)
    assert head == HEAD[: HEAD.index(b"<s:Body>")]
    assert received.length == sum(map(len, long_message(200 * MIB))) + len(b"<s:Header></s:Header>")
    assert received.field("X-Interops-Subject") == "agent-0042"
    after = [peak(side) for side in (both.client, both.provider)]
    assert all(now - then < 48 for then, now in zip(before, after, strict=True)), (before, after)


def test_a_tail_that_is_not_well_formed_never_becomes_a_message(both: Organisations) -> None:
    """The application hears why; the other end sees a connection that was cut; both traces name the vector."""
    before = len(both.backend.received)

    def pieces() -> Iterator[bytes]:
        yield HEAD
        for _ in range(40):
            yield b"x" * 65536
        yield b"</o:autre>" + b"y" * 65536 + TAIL

    answer = send(both, pieces(), b"Content-Type: text/xml", b"X-Request-Id: torn")
    assert b"malformed-xml" in answer

    def reasons(service: RunningService) -> list[str | None]:
        return [e.reason for e in events(service.home, "answered") if e.request_id == "torn"]

    wait_until(lambda: reasons(both.client) == ["malformed-xml"], 10, "the client's entry")
    wait_until(lambda: len(reasons(both.provider)) == 1, 10, "the provider's entry")
    assert len(both.backend.received) == before


@pytest.mark.parametrize("octets", [3 * MIB, 30 * MIB])
def test_a_long_message_is_digested_whole_for_a_jws(both: Organisations, octets: int) -> None:
    """Held in memory, then on the disk: the JWS names what the application reads, gzip taken off, and memory stays bounded."""
    before = peak(both.provider)
    answer = send(both, long_message(octets), path=b"/jws")
    assert answer.endswith(ANSWER), answer[:500]
    received = both.backend.received[-1]
    assert received.line == "POST /app/jws HTTP/1.1"
    assert _stated(received) == received.sha256
    assert peak(both.provider) - before < 48
    assert not any((both.provider.home / "run" / "messages").iterdir())
    noise = b"".join(sha256(b"%d" % n).hexdigest().encode() for n in range(octets // 64))
    coded = gzip.compress(HEAD + noise + TAIL, 1)
    fields = b"Content-Type: text/xml", b"Content-Encoding: gzip"
    assert send(both, iter([coded]), *fields, path=b"/jws").endswith(ANSWER)
    received = both.backend.received[-1]
    assert _stated(received) == sha256(gzip.decompress(received.body)).digest()


def _stated(received: Received) -> bytes:
    """The digest in the JWS."""
    claims = (received.field("X-Interops-Identity") or "").split(".")[1]
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return base64.urlsafe_b64decode(said["message_sha256"] + "==")


def test_what_is_held_for_a_jws_is_forwarded_whole_or_not_at_all(both: Organisations) -> None:
    """The application is not called for a message that ends in pieces; the trace says why nothing was answered."""
    secured = both.secured(HEAD + b"<o:ligne/>" * (MIB // 5) + TAIL)
    before = both.backend.connections
    answer = both.partner(secured[: -len(TAIL)] + b"</o:autre>", "/jws", X_Request_Id="torn-jws")
    assert b"malformed-xml" in answer.body
    assert eventually(both.provider.home, "answered", "torn-jws").reason == "malformed-xml"
    assert both.backend.connections == before


def test_a_head_has_a_bound(both: Organisations) -> None:
    """1 MiB before the first element in the Body is enough."""

    def pieces() -> Iterator[bytes]:
        yield HEAD[: HEAD.index(b"<s:Body>")]
        yield b"<!--" + b"x" * (2 * MIB) + b"-->"
        yield HEAD[HEAD.index(b"<s:Body>") :] + TAIL

    assert b"soap-head-too-large" in send(both, pieces())


@pytest.mark.parametrize("attached", [100, 3 * MIB])
def test_attachments_pass_as_they_are(both: Organisations, attached: int) -> None:
    """Only the root part is touched, found by `start` or the first; a closing tag inside an attachment means nothing."""
    message, data = envelope(), b"</s:Body>\x00\xff\r\n-b" * (attached // 15)
    entity = ROOT % message + data + b"\r\n--b--\r\n"
    step = 50_000
    pieces = (entity[at : at + step] for at in range(0, len(entity), step))
    answer = send(both, pieces, b"Content-Type: " + MTOM.encode())
    assert answer.endswith(ANSWER), answer[:500]
    received = both.backend.received[-1]
    assert received.field("Content-Type") == MTOM
    assert received.body.replace(b"<s:Header></s:Header>", b"") == entity


def test_a_root_part_need_not_come_first(both: Organisations) -> None:
    """`start` names it; one that is not there, or is encoded, is refused by name."""
    first = b"--b\r\nContent-ID: <1>\r\n\r\n<a/>\r\n"
    root = b"--b\r\nContent-ID: <root>\r\n\r\n" + envelope() + b"\r\n--b--\r\n"
    assert send(both, iter([first + root]), b"Content-Type: " + MTOM.encode()).endswith(ANSWER)
    body = both.backend.received[-1].body
    assert body.startswith(first)
    other = MTOM.replace("<root>", "<other>").encode()
    assert b"multipart-invalid" in send(both, iter([first + root]), b"Content-Type: " + other)
    charset = root.replace(b"<root>\r\n", b"<root>\r\nContent-Type: text/xml; charset=utf-7\r\n")
    answer = send(both, iter([charset]), b"Content-Type: " + MTOM.encode())
    assert b"encoding-unsupported" in answer
    coded = root.replace(b"<root>\r\n", b"<root>\r\nContent-Transfer-Encoding: base64\r\n")
    assert b"multipart-invalid" in send(both, iter([coded]), b"Content-Type: " + MTOM.encode())


BND = 'multipart/related; type="text/xml"; boundary=bnd'
PART = b"--bnd\r\nContent-Type: text/xml\r\n\r\n" + envelope() + b"\r\n"
ROOTED = b"--bnd\r\nContent-ID: <r>\r\n\r\n" + envelope() + b"\r\n"
LONG = b"--bnd\r\n\r\n" + b"x" * (3 * MIB) + b"\r\n"
END = b"--bnd--\r\n"


@pytest.mark.parametrize(
    ("entity", "content_type"),
    [
        (PART.replace(b"bnd", b"bndX") + PART + END, BND),
        (PART.replace(b"bnd\r\n", b"bnd\n") + END, BND),
        (PART.replace(b"\r\n\r\n", b"\n\n\r\n\r\n") + END, BND),
        (b"preamble\n" + PART + PART + END, BND),
        (PART + END.replace(b"\r\n", b"x"), BND),
        (PART + END + PART + END, BND),
        (PART, BND),
        (ROOTED + ROOTED + END, BND + "; start=<r>"),
        (ROOTED + ROOTED.replace(b"<r>", b"R") + END, BND + "; start=<r>"),
        (ROOTED.replace(b"<r>", b"<r>\r\nContent-ID: <q>") + END, BND + "; start=<r>"),
        (ROOTED + LONG + ROOTED + END, BND + "; start=<r>"),
        (PART + LONG + PART.replace(b"bnd", b"bndX") + END, BND),
        (PART + LONG, BND),
        (PART + END, BND + "; boundary=other"),
        (PART + END, BND + "; start-info='a; boundary=other'"),
        (PART + END, BND.replace("boundary", "boundary*0")),
        (PART.replace(b"bnd", b"b@d") + END, BND.replace("bnd", '"b@d"')),
        (PART.replace(b"bnd", b"b" * 71) + END, BND.replace("bnd", "b" * 71)),
    ],
)
def test_parts_that_another_reader_would_find_elsewhere_are_refused(
    both: Organisations, entity: bytes, content_type: str
) -> None:
    """By name, wherever in the entity they stand; the application never has a whole message."""
    before = len(both.backend.received)
    step = 50_000
    pieces = (entity[at : at + step] for at in range(0, len(entity), step))
    answer = send(both, pieces, b"Content-Type: " + content_type.encode())
    assert b"multipart-invalid" in answer, answer[:500]
    assert len(both.backend.received) == before


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_delimiters_as_rfc_2046_writes_them_pass(both: Organisations, step: int) -> None:
    """With padding, preamble, epilogue and their like within a line, however the entity is cut."""
    entity = b"preamble --bnd\r\n" + PART.replace(b"--bnd", b"--bnd \t") + b"--bnd--  \r\nepilogue"
    pieces = (entity[at : at + step] for at in range(0, len(entity), step))
    assert send(both, pieces, b"Content-Type: " + BND.encode()).endswith(ANSWER)


def test_gzip_passes_both_appliances(both: Organisations) -> None:
    """Byte for byte is of what was encoded, short and long."""
    for octets in (10_000, 3 * MIB):
        noise = b"".join(sha256(b"%d" % n).hexdigest().encode() for n in range(octets // 64))
        message = HEAD + noise + TAIL
        pieces = iter([gzip.compress(message)])
        answer = send(both, pieces, b"Content-Type: text/xml", b"Content-Encoding: gzip")
        assert answer.endswith(ANSWER), answer[:300]
        body = gzip.decompress(both.backend.received[-1].body)
        assert body.replace(b"<s:Header></s:Header>", b"") == message


def test_a_caller_that_waits_to_be_asked_is_asked(both: Organisations) -> None:
    """`Expect: 100-continue`, then requests one behind the other on the connection: each its answer, in order."""
    message = envelope()
    head = (
        b"POST /droits HTTP/1.1\r\nHost: localhost\r\nX-Subject: a\r\nContent-Type: text/xml\r\n"
        b"Content-Length: %d\r\n" % len(message)
    )
    counter = iter(range(10))
    before = both.backend.answer
    both.backend.answer = lambda _: write_answer(b"<n>%d</n>" % next(counter))
    try:
        with socket.create_connection(("127.0.0.1", both.application.port), 20) as connection:
            connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            again = head + b"\r\n" + message
            connection.sendall(
                message + again + again.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            )
            received = b""
            while piece := connection.recv(65536):
                received += piece
    finally:
        both.backend.answer = before
    places = [received.index(b"<n>%d</n>" % number) for number in range(3)]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200 ") == 3
