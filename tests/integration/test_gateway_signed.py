"""Organisations that agreed on signing their messages, and the life of the certificates between them."""

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.gateway_homes import (
    HEAD,
    MIB,
    TAIL,
    der,
    envelope,
    events,
    eventually,
    long_message,
    memory,
    without_header,
)
from tests.homes import edit
from tests.service import RunningService, wait_until
from tests.tls_peers import Received, write_answer
from tests.two_organisations import ANSWER, Organisations, send, two_organisations

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

WSSE_CODE = 'xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">wsse:'


@pytest.fixture(scope="module")
def signing(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisations]:
    """Two organisations that agreed on signing Body, Timestamp and vector."""
    parts = 'signed = ["body", "timestamp", "assertion"]\n'
    with two_organisations(
        demo_home,
        tmp_path_factory.mktemp("signed"),
        f'[soap]\ntimestamp = "5m"\n{parts}',
        f"[soap]\n{parts}",
    ) as running:
        yield running


@pytest.mark.parametrize("octets", [1000, 3 * MIB, 36 * MIB])
def test_a_signed_body_arrives_verified(signing: Organisations, octets: int) -> None:
    """Short, held in memory, held on the disk: the application sees the message but for the security header.

    While that is sent and answered the message lies on the disk alone.
    """
    message = b"".join(long_message(octets))
    services, held, grown = (signing.client, signing.provider), [], []
    resident = [memory(each, "VmRSS") for each in services]

    def answer_and_look(_: Received) -> bytes:
        held.extend(map(held_files, services))
        grown.extend(memory(e, "VmRSS") - r for e, r in zip(services, resident, strict=True))
        return write_answer(ANSWER)

    before, signing.backend.answer = signing.backend.answer, answer_and_look
    try:
        answer = send(signing, iter([message]))
    finally:
        signing.backend.answer = before
    assert answer.endswith(ANSWER), answer[:500]
    is_on_disk = octets > 8 * MIB
    assert held == [is_on_disk] * 2, "each holds it until it is answered"
    assert max(grown) < 32, grown
    wait_until(lambda: not any(map(held_files, services)), 10, "the places to be given back")
    received = signing.backend.received[-1]
    assert b"Signature" not in received.body
    assert received.field("X-Interops-Subject") == "agent-0042"
    assert events(signing.client.home, "message-signed")
    assert list((signing.client.home / "run").glob("tmp*")) == []


def test_a_long_message_with_attachments_is_sent_from_the_disk(signing: Organisations) -> None:
    """The security header goes into the root part and out of it again; every octet around stays, with gzip taken off and put on."""
    message, noise = envelope(), b"".join(sha256(b"%d" % n).digest() for n in range(9 * MIB // 32))
    fields = (
        b'Content-Type: multipart/related; type="text/xml"; boundary=b; start="<root>"',
        b"Content-Encoding: gzip",
    )
    entity = b"preamble\r\n--b\r\nContent-ID: <root>\r\n\r\n%b\r\n--b\r\n\r\n%b\r\n--b--\r\n"
    entity %= (message, noise)
    answer = send(signing, iter([gzip.compress(entity, 1)]), *fields)
    assert answer.endswith(ANSWER), answer[:900]
    received = gzip.decompress(signing.backend.received[-1].body)
    identified = re.sub(rb'<s:Body xmlns:wsu="[^"]*" wsu:Id="[^"]*">', b"<s:Body>", received)
    assert identified.replace(b"<s:Header></s:Header>", b"") == entity


def test_a_signed_body_has_a_limit(signing: Organisations) -> None:
    """A longer one is refused by name while it comes, traced, and nothing of it goes on."""
    before = len(signing.backend.received)
    answer = send(signing, long_message(42 * MIB), b"Content-Type: text/xml", b"X-Request-Id: long")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body-too-large" in answer
    entry = eventually(signing.client.home, "request-refused", "long")
    assert (entry.reason, entry.component) == ("body-too-large", "/droits")
    assert held_files(signing.client) == 0
    assert len(signing.backend.received) == before


def held_files(service: RunningService) -> int:
    """How many messages a service holds on the disk: files without a name."""
    [worker] = service.children("worker")
    links = []
    for each in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(str(each.readlink()))
    return sum("run/messages/" in link and "(deleted)" in link for link in links)


def test_a_body_that_was_altered_is_refused(signing: Organisations) -> None:
    """So is one without a signature over what the convention asks for."""
    secured = signing.secured(envelope())
    altered = signing.partner(secured.replace(b"\xc3\xa9 <", b"\xc3\xa8 <"), X_Request_Id="altered")
    assert b"wsse:FailedCheck" in altered.body
    start, end = (
        secured.index(b"<ds:Signature", secured.index(b"</saml2:Assertion>")),
        secured.rindex(b"</ds:Signature>"),
    )
    bare = secured[:start] + secured[end + len(b"</ds:Signature>") :]
    assert b"wsse:FailedCheck" in signing.partner(bare).body
    [entry] = [e for e in events(signing.provider.home, "received") if e.request_id == "altered"]
    assert (entry.reason, entry.rule) == ("message-signature", "message-signature")
    assert signing.partner(secured).status == 200


def test_what_no_signature_covers_is_refused_by_name(signing: Organisations) -> None:
    """An xop:Include in a signed Body, on either side, before anything is forwarded."""
    include = b"<x:Include xmlns:x='http://www.w3.org/2004/08/xop/include' href='cid:1'/>"
    message = envelope().replace(b"&#233;", include)
    assert b"include-in-signed-body" in signing.application.post(message).body
    assert b"include-in-signed-body" in signing.partner(message).body
    long = HEAD + b"a" * (2 * MIB) + include + TAIL
    assert b"include-in-signed-body" in signing.application.post(long).body
    assert without_header(signing.secured(envelope())).count(b"wsu:Id") == 1


def test_a_rolled_key_and_a_reused_vector_pass(signing: Organisations) -> None:
    """A reload changes key and reuse on the client's side; the provider needs to be told nothing."""
    file = signing.client.home / "conventions" / "demo-client.toml"
    edit(file, 'key = "demo-rsa"', 'key = "demo-ec"')
    edit(file, '# algorithm = "rsa-sha256"', 'algorithm = "ecdsa-sha256"')
    edit(file, "# allowed = false", "allowed = true")
    os.kill(signing.client.process.pid, signal.SIGHUP)

    def keys() -> set[str | None]:
        assert signing.application.post(envelope()).status == 200
        return {entry.key for entry in events(signing.client.home, "created")}

    wait_until(lambda: "demo-ec" in keys(), 20, "the other key to sign")
    for _ in range(3):
        assert signing.application.post(envelope()).body == ANSWER
    created = [e for e in events(signing.client.home, "created") if e.key == "demo-ec"]
    reused = events(signing.client.home, "reused")
    assert {entry.assertion_id for entry in reused} == {created[-1].assertion_id}
    accepted = [
        entry
        for entry in events(signing.provider.home, "received")
        if entry.assertion_id == created[-1].assertion_id
    ]
    assert len(accepted) >= 4
    assert {entry.verdict for entry in accepted} == {"accepted"}
    join = created[-1].issuer, created[-1].assertion_id
    assert _searched(signing.client.home, *join) >= {"created", "reused", "message-signed"}
    wait_until(
        lambda: _searched(signing.provider.home, *join) == {"received", "answered"},
        10,
        "the answers",
    )


def _searched(home: Path, issuer: str | None, assertion_id: str | None) -> set[str]:
    """The events that the command line finds by issuer and assertion id."""
    words = ["trace", "search", "--home", home, "--issuer", issuer, "--id", assertion_id, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *map(str, words)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {json.loads(line)["entry"]["event"] for line in done.stdout.splitlines()}


def test_a_renewed_certificate_serves_without_a_restart(signing: Organisations) -> None:
    """SIGHUP reads it again; a key that does not fit leaves everything as it was. Whoever pinned the old one must learn of it."""
    assert signing.application.post(envelope(), "/pinned").status == 200
    renewed = signing.theirs.certify("renewed")
    served = [signing.theirs.directory / f"front.{kind}" for kind in ("pem", "key")]
    old = served[0].read_bytes()
    for source, target in zip(renewed, served, strict=True):
        target.write_bytes(source.read_bytes())
    os.kill(signing.provider.process.pid, signal.SIGHUP)
    wait_until(lambda: _served(signing) == der(renewed[0]), 15, "the renewed certificate")
    assert signing.application.post(envelope()).status == 200
    assert b"partner-distrusted" in signing.application.post(envelope(), "/pinned").body
    (signing.pins / "front.pem").write_bytes(renewed[0].read_bytes())
    os.kill(signing.client.process.pid, signal.SIGHUP)
    pinned = lambda: signing.application.post(envelope(), "/pinned").status == 200  # noqa: E731
    wait_until(pinned, 15, "the other pin")
    served[0].write_bytes(old)
    os.kill(signing.provider.process.pid, signal.SIGHUP)
    wait_until(
        lambda: any(
            "reload-refused" in line for line in signing.provider.errors.read_text().splitlines()
        ),
        15,
        "the refusal",
    )
    assert _served(signing) == der(renewed[0])
    assert signing.application.post(envelope()).status == 200


def _served(signing: Organisations) -> bytes:
    context = ssl.create_default_context(cafile=str(signing.theirs.root))
    context.load_cert_chain(
        signing.ours.directory / "client.pem", signing.ours.directory / "client.key"
    )
    with (
        socket.create_connection(("127.0.0.1", signing.inbound), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def test_a_revoked_client_is_refused_on_the_connection_it_has(signing: Organisations) -> None:
    """The CRL counts at once, on new connections and on kept ones, resumed or not."""
    assert signing.application.post(envelope()).status == 200
    signing.ours.revoke(signing.ours.directory / "client.pem")
    wait_until(lambda: signing.application.post(envelope()).status == 500, 15, "the CRL to count")
    answer = signing.application.post(envelope(), X_Request_Id="revoked")
    assert f"{WSSE_CODE}FailedCheck" in answer.body.decode()
    assert eventually(signing.provider.home, "received", "revoked").reason == "certificate-revoked"
    assert eventually(signing.client.home, "answered", "revoked").status == 500
