"""A message from an application to an application of another organisation, through two appliances on SoftHSM."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.gateway_homes import (
    der,
    envelope,
    events,
    eventually,
    without_header,
)
from tests.messages import SOAP, WSSE
from tests.tls_peers import Answering, Organisation, free_port, write_answer
from tests.two_organisations import ANSWER, Organisations
from tests.wire import recording

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

WSSE_CODE = 'xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">wsse:'
VI_CODE = 'xmlns:vi="urn:iops:vi:faultcodes">vi:'


@pytest.fixture
def answering(both: Organisations) -> Iterator[Callable[[Answering], None]]:
    """The application behind answers as the test says, for as long as the test."""
    before = both.backend.answer

    def change(answer: Answering) -> None:
        both.backend.answer = answer

    yield change
    both.backend.answer = before


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_message_arrives_with_the_verified_identity(both: Organisations, version: str) -> None:
    """The application behind sees who asks with which profiles, and the message but for the vector."""
    message = envelope(version)
    answer = both.application.post(message, X_Request_Id=f"exchange-{version}")
    assert (answer.status, answer.body) == (200, ANSWER)
    assert answer.headers["x-request-id"] == f"exchange-{version}"
    received = both.backend.received[-1]
    assert received.line == "POST /app/droits HTTP/1.1"
    assert received.field("X-Request-Id") == f"exchange-{version}"
    assert received.field("X-Interops-Subject") == "agent-0042"
    assert received.field("X-Interops-Pagm") == "PAGM_CONSULTATION"
    assert b"Assertion" not in received.body
    assert received.body.replace(b"<s:Header></s:Header>", b"") == message


def test_the_two_traces_of_an_exchange_join(both: Organisations) -> None:
    """Issuer and assertion id stand in what the client created, and in what the provider received and answered."""
    both.application.post(envelope(), X_Request_Id="join")
    [created] = [e for e in events(both.client.home, "created") if e.request_id == "join"]
    received = eventually(both.provider.home, "received", "join")
    answered = eventually(both.provider.home, "answered", "join")
    for entry in (received, answered):
        assert (entry.issuer, entry.assertion_id) == (created.issuer, created.assertion_id)
    assert (received.verdict, received.caller, received.service) == (
        "accepted",
        "client",
        "http://service.demo.example/droits",
    )
    assert received.tls_peer == hashlib.sha256(der(both.ours.directory / "client.pem")).hexdigest()
    assert (answered.status, answered.component) == (200, "/droits")


@pytest.mark.parametrize("status", [202, 204, 302, 404, 503])
def test_whatever_the_application_answers_is_traced(
    both: Organisations, answering: Callable[[Answering], None], status: int
) -> None:
    """Its status with the vector's id, on the provider's side every one; on the client's all but success."""
    answering(lambda _: write_answer(b"" if status == 204 else b"<a/>", status))
    request_id = f"status-{status}"
    assert both.application.post(envelope(), X_Request_Id=request_id).status == status
    [created] = [e for e in events(both.client.home, "created") if e.request_id == request_id]
    there = eventually(both.provider.home, "answered", request_id)
    assert (there.issuer, there.assertion_id) == (created.issuer, created.assertion_id)
    assert there.status == status
    if status >= 300:
        assert eventually(both.client.home, "answered", request_id).status == status
    else:
        here = events(both.client.home, "answered")
        assert request_id not in {entry.request_id for entry in here}


def test_no_identity_comes_from_outside(both: Organisations) -> None:
    """Fields that speak for one are removed, however they are written."""
    message = both.secured(envelope())
    both.partner(
        message,
        **{
            "X-Interops_Subject": "admin",
            "x-interops_pagm": "PAGM_ADMIN",
            "X-INTEROPS-IDENTITY": "e30",
        },
    )
    received = both.backend.received[-1]
    said = [(n.lower().replace("_", "-"), v) for n, v in received.fields]
    assert [v for n, v in said if n == "x-interops-subject"] == ["agent-1"]
    assert [v for n, v in said if n == "x-interops-pagm"] == ["PAGM_GESTION"]
    assert not [v for n, v in said if n == "x-interops-identity"]


def test_no_identity_comes_from_outside_by_get(both: Organisations) -> None:
    """A description is asked for in nobody's name."""
    said = {"X-Interops-Subject": "admin", "X-Interops_Pagm": "ROOT", "x_INTEROPS-issuer": "us"}
    answer = both.partner(b"", "/droits?wsdl", None, "GET", **said)
    assert answer.status == 200
    received = both.backend.received[-1]
    assert received.line == "GET /app/droits?wsdl HTTP/1.1"
    assert not {"admin", "ROOT", "us"} & set(dict(received.fields).values())


def test_the_identity_as_a_jws(both: Organisations) -> None:
    """It verifies, is for one audience and a minute, and names the message by its digest."""
    assert both.application.post(envelope(), "/jws").status == 200
    received = both.backend.received[-1]
    head, claims, signature = (received.field("X-Interops-Identity") or "").split(".")
    key = x509.load_pem_x509_certificate(both.jws.read_bytes()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    raw = _decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert json.loads(_decode(head))["alg"] == "ES256"
    said = json.loads(_decode(claims))
    assert (said["aud"], said["sub"]) == ("urn:app", "agent-0042")
    assert said["pagms"] == ["PAGM_CONSULTATION", "PAGM_GESTION"]
    assert 0 < said["exp"] - said["iat"] <= 60
    assert _decode(said["message_sha256"]) == hashlib.sha256(received.body).digest()
    assert received.field("X-Interops-Subject") is None


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_vector_may_be_kept(both: Organisations) -> None:
    """Then the application gets the message as it came to us."""
    assert both.application.post(envelope(), "/kept").status == 200
    received = both.backend.received[-1]
    assert without_header(received.body) == envelope()
    assert both.provider.verify(received.body).json["verdict"] == "accepted"
    assert not [n for n, _ in received.fields if n.lower().startswith("x-interops")]


REFUSED = [
    (
        "no header",
        lambda _: envelope(),
        "/droits",
        f"{WSSE_CODE}SecurityTokenUnavailable",
        "introuvable",
    ),
    (
        "empty security",
        lambda _: envelope(header=f"<s:Header><w:Security xmlns:w='{WSSE}'/></s:Header>".encode()),
        "/droits",
        f"{WSSE_CODE}SecurityTokenUnavailable",
        "introuvable",
    ),
    (
        "altered",
        lambda both: both.secured(envelope()).replace(b"agent-1<", b"agent-2<"),
        "/droits",
        f"{WSSE_CODE}FailedCheck",
        "signature",
    ),
    (
        "audience",
        lambda both: both.secured(envelope()),
        "/other",
        f"{VI_CODE}InvalidService",
        "service",
    ),
]


@pytest.mark.parametrize(
    ("make", "path", "code", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_refusal_is_the_fault_of_the_standard(
    both: Organisations,
    make: Callable[[Organisations], bytes],
    path: str,
    code: str,
    sentence: str,
    version: str,
) -> None:
    """In the message's own version, with its status; nothing reached the application, and the trace says why."""
    message = make(both).replace(SOAP["1.1"].encode(), SOAP[version].encode())
    before = len(both.backend.received)
    request_id = f"{code[-12:]}-{version}-{sentence}"
    answer = both.partner(message, path, X_Request_Id=request_id)
    assert answer.status == (500 if version == "1.1" else 400)
    text = answer.body.decode()
    assert code in text
    assert sentence in text
    assert SOAP[version] in text
    assert (answer.headers["content-type"].startswith("application/soap+xml")) == (version == "1.2")
    assert len(both.backend.received) == before
    entry = eventually(both.provider.home, "received", request_id)
    assert entry.verdict == "refused"
    assert entry.fault == code[code.index(">") + 1 :]


def test_an_open_operation_needs_no_vector(both: Organisations) -> None:
    """As long as nothing in the message could be read as another request."""
    ping = envelope(body=b"<s:Body><o:Ping xmlns:o='urn:o'/></s:Body>")
    assert both.partner(ping, SOAPAction='"urn:ping"').status == 200
    assert both.backend.received[-1].body == ping
    assert both.backend.received[-1].field("X-Interops-Subject") is None
    assert both.partner(ping, SOAPAction='"urn:delete"').status == 500
    two = envelope(body=b"<s:Body><o:Ping xmlns:o='urn:o'/><o:droits xmlns:o='urn:o'/></s:Body>")
    assert both.partner(two).status == 500


WSA = "http://www.w3.org/2005/08/addressing"
PING = b"<s:Body><o:Ping xmlns:o='urn:o'/></s:Body>"
ADDRESSED = (
    "<a:Action>urn:ping</a:Action><a:MessageID>urn:uuid:1</a:MessageID><a:To s:mustUnderstand='1'>https://b/droits</a:To>"
    f"<a:ReplyTo><a:Address>{WSA}/anonymous</a:Address></a:ReplyTo>"
)


def ping(blocks: str, version: str = "1.1") -> bytes:
    """A ping with blocks in its Header."""
    header = f"<s:Header xmlns:a='{WSA}' xmlns:w='{WSSE}'>{blocks}</s:Header>"
    return envelope(version, header.encode(), PING)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (ping(""), {"SOAPAction": '""'}),
        (ping(ADDRESSED), {"SOAPAction": '"urn:ping"'}),
        (ping("", "1.2"), {"Content_Type": 'application/soap+xml; action="urn:ping"'}),
    ],
)
def test_an_open_operation_as_toolkits_send_it(
    both: Organisations, message: bytes, fields: dict[str, str]
) -> None:
    """With SOAPAction, with an empty Header or that of WS-Addressing."""
    assert both.partner(message, **fields).status == 200
    assert both.backend.received[-1].body == message


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (ping(ADDRESSED.replace("urn:ping", "urn:delete")), {}),
        (ping(ADDRESSED.replace("b/droits", "b/other")), {}),
        (ping(ADDRESSED.replace(f"{WSA}/anonymous", "http://elsewhere.example/")), {}),
        (ping("<a:Action>urn:ping</a:Action><a:Action>urn:delete</a:Action>"), {}),
        (ping("<a:Action>urn:ping<a:Action>urn:delete</a:Action></a:Action>"), {}),
        (ping("<a:FaultTo><a:Address>http://elsewhere.example/</a:Address></a:FaultTo>"), {}),
        (ping("<Action xmlns='urn:wsa'>urn:ping</Action>"), {}),
        (ping("<w:Security/>"), {}),
        (ping(f"{ADDRESSED}<w:Security/>"), {}),
        (ping("", "1.2"), {"Content_Type": 'application/soap+xml; action="urn:delete"'}),
        (ping("", "1.2"), {"Content_Type": 'application/soap+xml; action="urn:ping;delete"'}),
    ],
)
def test_nothing_else_is_open(both: Organisations, message: bytes, fields: dict[str, str]) -> None:
    """What could be read as another operation, sends answers elsewhere or claims a vector is judged as every message is."""
    before = len(both.backend.received)
    answer = both.partner(message, **fields)
    assert answer.status in {400, 500}
    assert b"wsse:SecurityTokenUnavailable" in answer.body
    assert len(both.backend.received) == before


@pytest.mark.parametrize(
    ("stated", "action"),
    [
        ('action="urn:delete"', "urn:ping"),
        ('action="urn:ping"; action="urn:delete"', None),
        ("action*=utf-8''urn:delete", None),
    ],
)
def test_two_actions_are_none(both: Organisations, stated: str, action: str | None) -> None:
    """A partner that states two is told so, an open operation or not."""
    before = len(both.backend.received)
    fields = {"Content_Type": f"application/soap+xml; {stated}"}
    answer = both.partner(ping("", "1.2"), **fields, **({"SOAPAction": action} if action else {}))
    assert b"malformed-http" in answer.body
    assert len(both.backend.received) == before


def test_a_vector_beside_an_open_operation_is_judged(both: Organisations) -> None:
    """It is not taken for none because none was needed."""
    secured = both.secured(envelope(body=PING))
    altered = both.partner(secured.replace(b"agent-1<", b"agent-2<"), SOAPAction="urn:ping")
    assert b"wsse:FailedCheck" in altered.body
    assert both.partner(secured, SOAPAction="urn:ping").status == 200
    assert both.backend.received[-1].field("X-Interops-Subject") == "agent-1"


def test_an_application_behind_is_called_over_tls(both: Organisations) -> None:
    """Under the roots that the route names; the message and the identity reach it, and nothing is in clear."""
    answer = both.partner(both.secured(envelope()), "/encrypted", X_Request_Id="encrypted")
    assert (answer.status, answer.body) == (200, ANSWER)
    received = both.encrypted.received[-1]
    assert received.line == "POST /app/encrypted HTTP/1.1"
    assert received.field("X-Interops-Subject") == "agent-1"
    assert received.field("Host") == f"localhost:{both.encrypted.port}"
    assert set(both.encrypted.versions) == {"TLSv1.3"}
    assert eventually(both.provider.home, "answered", "encrypted").status == 200


def test_an_application_under_other_roots_is_sent_nothing(both: Organisations) -> None:
    """Its certificate must be under those of the route; the partner reads that, and the trace says so."""
    before = len(both.encrypted.received)
    answer = both.partner(both.secured(envelope()), "/stranger", X_Request_Id="stranger")
    assert answer.status == 500
    assert b"soap:Server" in answer.body
    assert b"partner-distrusted" in answer.body
    entry = eventually(both.provider.home, "answered", "stranger")
    assert entry.reason == "partner-distrusted"
    assert len(both.encrypted.received) == before


def test_nothing_is_in_clear_between_two_appliances(both: Organisations) -> None:
    """A capture of the connection shows TLS records and nothing of the message, its vector, its user or the answer."""
    with recording(both.wire, both.inbound) as wire:
        assert both.application.post(envelope(), "/wire").body == ANSWER
    assert both.backend.received[-1].field("X-Interops-Subject") == "agent-0042"
    wire.check_encrypted(b"agent-0042", b"Envelope", b"Assertion", b"POST ", b"as it came")
    hello = wire.streams[0][0]
    assert b"\x00\x09localhost" in hello, "SNI says the partner's name, not the endpoint's address"
    port = free_port()
    with recording(port, both.application.port) as clear:
        assert replace(both.application, port=port).post(envelope()).body == ANSWER
    with pytest.raises(AssertionError, match="POST"):
        clear.check_encrypted()


def test_a_query_that_the_route_lists_reaches_the_application(both: Organisations) -> None:
    """As it came; any other is refused before there is a message."""
    secured = both.secured(envelope())
    assert both.partner(secured, "/droits?service=Droits").status == 200
    assert both.backend.received[-1].line == "POST /app/droits?service=Droits HTTP/1.1"
    before = len(both.backend.received)
    for path in ("/droits?service=Autre", "/jws?service=Droits"):
        assert both.partner(secured, path).status == 405
    assert len(both.backend.received) == before


def test_the_application_that_fails_is_named_to_the_partner(
    both: Organisations, answering: Callable[[Answering], None]
) -> None:
    """Its own fault passes both appliances; its silence becomes ours, and both traces say so."""
    answering(lambda _: write_answer(b"<fault/>", 500))
    answer = both.application.post(envelope(), X_Request_Id="their-fault")
    assert (answer.status, answer.body) == (500, b"<fault/>")
    assert eventually(both.provider.home, "answered", "their-fault").status == 500
    assert eventually(both.client.home, "answered", "their-fault").status == 500
    answering(lambda _: None)
    answer = both.application.post(envelope(), X_Request_Id="silent")
    assert answer.status == 500
    assert b"partner-failed" in answer.body
    assert eventually(both.provider.home, "answered", "silent").reason == "partner-failed"
    assert eventually(both.client.home, "answered", "silent").status == 500


def test_a_stranger_gets_no_connection_and_a_colleague_no_message(
    both: Organisations, tmp_path: Path
) -> None:
    """Another PKI ends in the handshake; another name under the partner's PKI in a fault that is traced."""
    message = both.secured(envelope())
    stranger = Organisation(tmp_path / "c", "strangers").certify("client")
    with pytest.raises(OSError):  # noqa: PT011 - TLS alert, or the connection reset under it
        both.partner(message, identity=stranger)
    colleague = both.ours.certify("colleague")
    answer = both.partner(message, identity=colleague, X_Request_Id="colleague")
    assert answer.status == 500
    assert f"{WSSE_CODE}FailedCheck" in answer.body.decode()
    entry = eventually(both.provider.home, "received", "colleague")
    assert (entry.verdict, entry.reason, entry.rule) == ("refused", "tls-peer", "tls-peer")
    assert entry.tls_peer == hashlib.sha256(der(colleague[0])).hexdigest()
