"""`POST /v1/soap/secure`: a message comes back with its vector, and as it was otherwise; parts of it signed where a convention asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.native import message_signature
from appliance.trace.record import TraceEntry
from tests.homes import CommandLine, copy_home
from tests.logs import entries_of_home
from tests.messages import SOAP, WSSE
from tests.service import Answer, RunningService, serve

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

PATH = "/v1/soap/secure?convention=demo-client"
PERSON = {"Vector-Subject": "agent-0042", "Vector-Pagm": "PAGM_CONSULTATION"}
BODY = b"<s:Body><o:droits xmlns:o='urn:o'>\r\n &#233;\xc3\xa9 </o:droits></s:Body>"


def envelope(version: str = "1.1", header: bytes = b"") -> bytes:
    """A message that is written as no serializer would."""
    return b"<?xml version='1.0'?>\n<s:Envelope  xmlns:s='%b'>%b%b</s:Envelope>\n<!-- end -->" % (
        SOAP[version].encode(),
        header,
        BODY,
    )


def events(home: Path, event: str) -> list[TraceEntry]:
    """The entries of one kind."""
    read = (stored.entry for stored in entries_of_home(home))
    return [entry for entry in read if entry.event == event]


def secure(service: RunningService, message: bytes, path: str = PATH, **headers: str) -> Answer:
    """Have one message secured; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kind = {"Content-Type": "text/xml; charset=utf-8"}
    return service.request("POST", path, message, kind | (named or PERSON))


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_message_comes_back_with_its_vector(service: RunningService, version: str) -> None:
    """The vector stands in a new Header, every other octet where it was, and the whole is accepted."""
    message = envelope(version)
    answer = secure(service, message)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert answer.headers["vector-reused"] == "false"
    start = answer.body.index(b"<s:Header>")
    end = answer.body.index(b"</s:Header>") + len(b"</s:Header>")
    assert answer.body[:start] + answer.body[end:] == message
    verdict = service.verify(answer.body).json
    assert verdict["verdict"] == "accepted"
    assert verdict["vector"]["subject"] == "agent-0042"
    assert verdict["vector"]["id"] == answer.headers["vector-id"]


def test_the_person_stands_in_header_fields(service: RunningService) -> None:
    """What is not ASCII is percent-encoded; without a subject the vector is for the application."""
    answer = secure(
        service, envelope(), Vector_Subject="%C3%A9l%C3%A8ve", Vector_Pagm="PAGM_GESTION"
    )
    assert service.verify(answer.body).json["vector"]["subject"] == "élève"
    alone = secure(service, envelope(), Vector_Pagm="PAGM_GESTION")
    assert b">NON_RENSEIGNE<" in alone.body
    assert (
        secure(service, envelope(), Vector_Subject="%FF").json["error"]["reason"]
        == "malformed-http"
    )


@pytest.mark.parametrize(
    ("message", "path", "status", "reason"),
    [
        (envelope(), "/v1/soap/secure", 400, "malformed-http"),
        (envelope(), "/v1/soap/secure?convention=none", 403, "convention-unknown"),
        (envelope(), "/v1/soap/secure?convention=demo-provider", 403, "convention-role"),
        (b"<a/>", PATH, 400, "not-soap"),
        (envelope()[:-40], PATH, 400, "malformed-xml"),
        (envelope().replace(b"\n<s", b"<!DOCTYPE a><s"), PATH, 400, "dtd-forbidden"),
        (
            envelope(header=f"<s:Header><w:Security xmlns:w='{WSSE}'/></s:Header>".encode()),
            PATH,
            400,
            "security-header-present",
        ),
        (envelope().replace(BODY, BODY + b"<s:Header/>"), PATH, 400, "envelope-invalid"),
        (envelope().decode().encode("utf-16"), PATH, 400, "encoding-unsupported"),
    ],
)
def test_a_message_that_takes_no_vector_is_refused_by_name(
    service: RunningService, message: bytes, path: str, status: int, reason: str
) -> None:
    """Nothing is issued for it: its identifier would stand in a trace."""
    created = len(events(service.home, "created"))
    answer = secure(service, message, path)
    assert (answer.status, answer.json["error"]["reason"]) == (status, reason)
    assert len(events(service.home, "created")) == created


@pytest.fixture(scope="module")
def signing(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose convention has Body, Timestamp and vector signed."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("signing"))
    with (home / "conventions" / "demo-client.toml").open("a") as file:
        file.write('\n[soap]\ntimestamp = "5m"\nsigned = ["body", "timestamp", "assertion"]\n')
    with serve(home) as running:
        yield running


def test_what_no_signature_would_cover_is_refused(signing: RunningService) -> None:
    """An xop:Include in a Body that is to be signed stands for octets elsewhere."""
    include = b"<x:Include xmlns:x='http://www.w3.org/2004/08/xop/include' href='cid:1'/>"
    message = envelope().replace(b"\r\n", include)
    assert secure(signing, message).json["error"]["reason"] == "include-in-signed-body"


def test_parts_are_signed_where_the_convention_asks(
    signing: RunningService, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The signature verifies with the certificate of the vector, covers what it says, and the trace accounts for it."""
    answer = secure(signing, envelope())
    assert answer.status == 200, answer.body
    claim = message_signature(answer.body)
    assert claim.parts == ["body", "timestamp", "assertion"]
    [certificate] = claim.certificates
    chain = x509.load_pem_x509_certificates((signing.home / "pki" / "demo-rsa.pem").read_bytes())
    assert certificate == chain[0].public_bytes(Encoding.DER)
    key = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    verified = claim.verify(lambda _: key)
    assert b">\n \xc3\xa9\xc3\xa9 </o:droits>" in verified.parts["body"]
    timestamp = verified.timestamp()
    assert timestamp is not None
    assert timestamp[1] is not None
    [entry] = events(signing.home, "message-signed")
    assert entry.assertion_id == answer.headers["vector-id"]
    assert (entry.key, entry.algorithm) == ("demo-rsa", claim.signature_algorithm)
    assert signing.verify(answer.body).json["verdict"] == "accepted"
    signing.stop()
    appliance = CommandLine(capfdbinary)
    verdict = appliance("trace", "verify", "--home", signing.home)
    assert verdict.code == 0, verdict.stdout
