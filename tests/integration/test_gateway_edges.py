"""What a hostile partner tries on the provider's appliance: its certificate, its TLS, fields of other routes, two encodings, references."""

import contextlib
import hashlib
import select
import socket
import ssl
import warnings
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.gateway_homes import HEAD, MIB, TAIL, envelope, events, eventually
from tests.service import wait_until
from tests.two_organisations import ANSWER, Organisations

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

PING = envelope(body=b"<s:Body><o:Ping xmlns:o='urn:o'/></s:Body>")
INCLUDE = b"<x:Include xmlns:x='http://www.w3.org/2004/08/xop/include' href='cid:1'/>"


def test_an_expired_certificate_gets_no_connection(both: Organisations) -> None:
    """The handshake ends it, before there is a message."""
    before = len(both.backend.received)
    expired = both.ours.certify("client", "expired", ends=-timedelta(minutes=1))
    with pytest.raises(OSError):  # noqa: PT011 - an alert, or the connection reset under it
        both.partner(both.secured(envelope()), identity=expired)
    assert len(both.backend.received) == before


def test_a_pinned_certificate_that_changes_is_refused(both: Organisations) -> None:
    """Another one for the same name and the same key, by the same authority, is not the one that was agreed; the trace names it."""
    there = replace(both, inbound=both.pinned)
    assert there.partner(both.secured(envelope())).status == 200
    assert both.backend.received[-1].field("X-Remote-User") == "agent-1"
    before = len(both.backend.received)
    reissued = both.ours.certify("client", "reissued")
    answer = there.partner(both.secured(envelope()), identity=reissued, X_Request_Id="reissued")
    assert b"wsse:FailedCheck" in answer.body
    entry = eventually(both.provider.home, "received", "reissued")
    assert (entry.verdict, entry.reason) == ("refused", "tls-peer")
    shown = ssl.PEM_cert_to_DER_cert(reissued[0].read_text())
    assert entry.tls_peer == hashlib.sha256(shown).hexdigest()
    assert len(both.backend.received) == before


@pytest.mark.parametrize(
    ("most", "suites", "is_taken"),
    [
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA", False),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
    ],
    ids=["1.3", "1.2", "1.2 in blocks", "1.1"],
)
def test_old_tls_gets_no_connection(
    both: Organisations, most: ssl.TLSVersion, suites: str, *, is_taken: bool
) -> None:
    """1.2 with forward secrecy and authenticated encryption, and 1.3; nothing else."""
    context = ssl.create_default_context(cafile=str(both.theirs.root))
    context.load_cert_chain(both.ours.directory / "client.pem", both.ours.directory / "client.key")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is what the test is about
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, most
    context.set_ciphers(suites)
    with socket.create_connection(("127.0.0.1", both.inbound), 20) as plain:
        if is_taken:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                assert connection.version() == most.name.replace("_", ".")
        else:
            with pytest.raises(OSError):  # noqa: PT011 - an alert, or the connection reset under it
                context.wrap_socket(plain, server_hostname="localhost")


def test_one_address_has_only_so_many_handshakes(both: Organisations) -> None:
    """Connections that say nothing are closed from the seventeenth on; when they are gone, partners get through."""
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", both.inbound), 20))
            for _ in range(20)
        ]
        wait_until(lambda: len(select.select(silent, [], [], 0)[0]) >= 4, 10, "four to be closed")
        assert {each.recv(1) for each in select.select(silent, [], [], 0)[0]} == {b""}
        assert 'appliance_handshakes_refused_total{listener="partners"}' in _metrics(both)

    def passes() -> bool:
        with contextlib.suppress(OSError):
            return both.partner(PING, SOAPAction="urn:ping").status == 200
        return False

    wait_until(passes, 10, "a partner to get through")


def test_certificates_that_end_are_announced(both: Organisations) -> None:
    """Those that we show, on either side, by metric and log; CRLs of partners too."""
    for side, shown in ((both.client, "partner fournisseur"), (both.provider, "inbound partners")):
        metrics, log = side.request("GET", "/metrics").body.decode(), side.errors.read_text()
        assert f'appliance_certificate_expiry_time_seconds{{key="{shown}"}}' in metrics
        assert "appliance_crl_seconds_left" in metrics
        lines = [line for line in log.splitlines() if '"certificate-expires"' in line]
        assert any(f'"{shown}"' in line for line in lines)
        assert '"crl-runs-out"' in log


def _metrics(both: Organisations) -> str:
    return both.provider.request("GET", "/metrics").body.decode()


@pytest.mark.parametrize("path", ["/droits", "/kept", "/jws", "/droits?wsdl", "ping"])
def test_the_identity_fields_of_every_route_stay_outside_of_each(
    both: Organisations, path: str
) -> None:
    """Those that another route, on another listener too, writes under names of its own; however they are written, whatever is asked."""
    forged = {
        "X-Remote_User": "forged",
        "x_remote-USER": "forged",
        "X_Jeton": "forged",
        "x-interops-IDENTITY": "forged",
        "X_Interops_Assertion": "forged",
    }
    if path.endswith("?wsdl"):
        answer = both.partner(b"", path, None, "GET", **forged)
    elif path == "ping":
        answer = both.partner(PING, **forged, SOAPAction="urn:ping")
    else:
        answer = both.partner(both.secured(envelope()), path, **forged)
    assert answer.status == 200
    fields = both.backend.received[-1].fields
    assert "forged" not in {value for _, value in fields}
    assert len([name for name, _ in fields if name.lower() == "x-interops-identity"]) == (
        path == "/jws"
    )


DECLARED = b"<?xml version='1.0' encoding='%b'?>" + envelope().partition(b"\n")[2].replace(
    b"\xc3\xa9", b""
)
UTF_16 = DECLARED.replace(b"%b", b"UTF-16").decode()
TWO_ENCODINGS = [
    (DECLARED % b"ISO-8859-1", "text/xml; charset=utf-8", "encoding-unsupported"),
    (DECLARED % b"us-ascii", 'text/xml; charset="UTF-8"', "encoding-unsupported"),
    (UTF_16.encode("utf-16"), "text/xml; charset=utf-8", "encoding-unsupported"),
    (UTF_16.encode("utf-16"), "text/xml", "encoding-unsupported"),
    (DECLARED % b"UTF-16", "text/xml", "malformed-xml"),
    (b"\xef\xbb\xbf" + DECLARED % b"ISO-8859-1", "text/xml", "malformed-xml"),
    (DECLARED % b"windows-1252", "text/xml", "malformed-xml"),
]


@pytest.mark.parametrize(("message", "content_type", "reason"), TWO_ENCODINGS)
def test_two_encodings_are_refused(
    both: Organisations, message: bytes, content_type: str, reason: str
) -> None:
    """Type, declaration, byte order mark and octets say the same, or the message is refused by name, long or short."""
    before = len(both.backend.received)
    for octets in (message, message.replace(b"</o:droits>", b" " * (MIB + 1) + b"</o:droits>")):
        answer = both.application.post(octets, Content_Type=content_type)
        assert reason.encode() in answer.body, answer.body
    part = b"--b\r\nContent-Type: %b\r\n\r\n%b\r\n--b--\r\n" % (content_type.encode(), message)
    answer = both.application.post(part, Content_Type="multipart/related; boundary=b")
    assert reason.encode() in answer.body, answer.body
    assert len(both.backend.received) == before


@pytest.mark.parametrize(
    ("message", "content_type"),
    [
        (b"\xef\xbb\xbf" + DECLARED % b"utf-8", "text/xml; charset=utf-8"),
        (DECLARED % b"ISO-8859-1", "text/xml"),
    ],
)
def test_one_encoding_passes(both: Organisations, message: bytes, content_type: str) -> None:
    """A mark, a declaration and a charset that agree; another declaration where the octets are in both and nothing speaks against it."""
    assert both.application.post(message, Content_Type=content_type).body == ANSWER
    assert both.backend.received[-1].body.replace(b"<s:Header></s:Header>", b"") == message


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"{}", "application/json", "not-soap"),
        (envelope(), "application/json", "not-soap"),
        (b'{"s:Envelope": {}}', "text/xml", "malformed-xml"),
        (b"<a/>", "text/xml", "not-soap"),
        (envelope(), "text/plain", "not-soap"),
        (envelope(), "text/xml; charset=utf-16", "encoding-unsupported"),
        (envelope()[:-30], "text/xml", "malformed-xml"),
        (envelope().replace(b"\n<s", b"<!DOCTYPE a><s"), "text/xml", "dtd-forbidden"),
        (envelope().replace(b"</s:Body>", b"</s:Body><s:Header/>"), "text/xml", "envelope-invalid"),
    ],
)
def test_a_partner_s_message_that_is_none_is_refused_by_name_and_traced(
    both: Organisations, body: bytes, content_type: str, reason: str
) -> None:
    """With who sent it and to which route; a vector was not looked at."""
    before = len(both.backend.received)
    request_id = f"none-{hashlib.sha256(body + content_type.encode()).hexdigest()[:12]}"
    answer = both.partner(body, X_Request_Id=request_id, **{"Content-Type": content_type})
    assert (answer.status, b"soap:Client" in answer.body) == (500, True)
    assert reason.encode() in answer.body
    entry = eventually(both.provider.home, "request-refused", request_id)
    assert (entry.caller, entry.component, entry.verdict) == ("client", "/droits", "refused")
    assert entry.reason == reason
    assert entry.tls_peer is not None
    assert len(both.backend.received) == before


def test_a_message_to_no_route_is_traced_and_a_look_at_one_counted(both: Organisations) -> None:
    """What is POSTed is a message that was refused; what is asked by GET is none."""
    assert both.partner(envelope(), "/nowhere", X_Request_Id="no-route").status == 404
    assert both.partner(b"", "/nowhere", None, "GET", X_Request_Id="no-look").status == 404
    entry = eventually(both.provider.home, "request-refused", "no-route")
    assert (entry.reason, entry.component) == ("not-found", None)
    refused = events(both.provider.home, "request-refused")
    assert "no-look" not in {each.request_id for each in refused}


@pytest.mark.parametrize("place", [b"<ds:SignatureValue>", b"<ds:DigestValue>", b"<saml2:NameID"])
def test_a_reference_inside_a_vector_is_not_followed(both: Organisations, place: bytes) -> None:
    """An xop:Include in place of what is signed, or of what signs, makes no vector, whatever the part beside holds."""
    secured = both.secured(envelope())
    start = secured.index(b">", secured.index(place)) + 1
    end = secured.index(b"</", start)
    value, including = secured[start:end], secured[:start] + INCLUDE + secured[end:]
    entity = b"--b\r\n\r\n%b\r\n--b\r\nContent-ID: <1>\r\n\r\n%b\r\n--b--\r\n" % (including, value)
    kind = {"Content-Type": "multipart/related; type=text/xml; boundary=b"}
    before = len(both.backend.received)
    for message, fields in ((including, {}), (entity, kind)):
        answer = both.partner(message, **fields)
        assert b"wsse:" in answer.body
        assert answer.status == 500
    assert len(both.backend.received) == before


def test_a_reference_in_a_body_that_is_not_signed_passes(both: Organisations) -> None:
    """It is the application's: MTOM is that, in a message of its own too, and inside an attachment it is nothing."""
    message = HEAD + INCLUDE + TAIL
    assert both.partner(both.secured(message)).status == 200
    assert INCLUDE in both.backend.received[-1].body
