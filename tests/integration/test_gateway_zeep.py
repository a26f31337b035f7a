"""A client made with zeep, which knows nothing of InterOPS, through two appliances: it reads the description and calls what it says."""

from collections.abc import Iterator
from copy import deepcopy
from html import escape

import pytest
import requests
import zeep
from lxml import etree
from zeep.transports import Transport
from zeep.wsa import WsAddressingPlugin

from appliance.trace.record import TraceEntry
from tests.gateway_homes import events
from tests.messages import WSSE
from tests.service import RunningService, wait_until
from tests.tls_peers import Received, write_answer
from tests.two_organisations import Organisations

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

NAMESPACE = "urn:droits"
WSDL = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:droits" targetNamespace="urn:droits">
  <types><x:schema targetNamespace="urn:droits" elementFormDefault="qualified">
    <x:element name="Consulter"><x:complexType><x:sequence><x:element name="assure" type="x:string"/></x:sequence></x:complexType></x:element>
    <x:element name="Droits"><x:complexType><x:sequence><x:element name="etat" type="x:string"/></x:sequence></x:complexType></x:element>
  </x:schema><x:schema targetNamespace="urn:o"><x:element name="Ping"><x:complexType/></x:element></x:schema></types>
  <message name="In"><part name="body" element="t:Consulter"/></message>
  <message name="PingIn"><part name="body" xmlns:o="urn:o" element="o:Ping"/></message>
  <message name="Out"><part name="body" element="t:Droits"/></message>
  <portType name="Port"><operation name="Consulter"><input message="t:In"/><output message="t:Out"/></operation>
    <operation name="Ping"><input message="t:PingIn"/><output message="t:Out"/></operation></portType>
  <binding name="Binding" type="t:Port">
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Consulter"><soap:operation soapAction="urn:consulter"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
    <operation name="Ping"><soap:operation soapAction="urn:ping"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
  </binding>
  <service name="Service"><port name="Port" binding="t:Binding"><soap:address location="http://127.0.0.1:{port}/app/droits"/></port></service>
</definitions>"""


@pytest.fixture
def described(both: Organisations) -> Iterator[Organisations]:
    """The application behind describes itself, and answers what it was asked about."""
    before = both.backend.answer

    def answer(request: Received) -> bytes:
        if request.line.startswith("GET "):
            return write_answer(WSDL.format(port=both.backend.port).encode())
        asked = etree.fromstring(request.body).findtext(f".//{{{NAMESPACE}}}assure", "personne")
        return write_answer(
            f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><Droits xmlns="{NAMESPACE}">'
            f"<etat>{escape(asked)}: ouverts</etat></Droits></e:Body></e:Envelope>".encode()
        )

    both.backend.answer = answer
    yield both
    both.backend.answer = before


@pytest.fixture
def client(described: Organisations) -> Iterator[zeep.Client]:
    """A client of what the route describes, on behalf of an agent."""
    with requests.Session() as session:
        session.headers["X-Subject"] = "agent-zeep"
        wsdl = f"http://127.0.0.1:{described.application.port}/droits?wsdl"
        yield zeep.Client(wsdl, transport=Transport(session=session, timeout=20))


def test_a_foreign_client_calls_what_is_described(
    described: Organisations, client: zeep.Client
) -> None:
    """The address it reads is our own, the answer the application's, and the vector speaks for the agent."""
    location = client.service._binding_options["address"]
    assert location == f"http://127.0.0.1:{described.application.port}/droits"
    assert client.service.Consulter(assure="été & <fils>") == "été & <fils>: ouverts"
    received = described.backend.received[-1]
    assert received.field("X-Interops-Subject") == "agent-zeep"
    assert received.field("SOAPAction") == '"urn:consulter"'
    assert b"Assertion" not in received.body
    subjects = {entry.subject for entry in events(described.provider.home, "received")}
    assert "agent-zeep" in subjects


def test_a_foreign_client_reads_a_refusal_as_a_fault(client: zeep.Client) -> None:
    """What the appliance refuses reaches it as any fault would."""
    client.transport.session.headers.pop("X-Subject")
    with pytest.raises(zeep.exceptions.Fault) as raised:
        client.service.Consulter(assure="x")
    assert raised.value.code == "soap:Client"
    assert "X-Subject" in raised.value.message


EMPTY = etree.fromstring(f"<w:Security xmlns:w='{WSSE}'/>")
NO_VECTORS = [
    ([], "wsse:SecurityTokenUnavailable"),
    ([EMPTY], "wsse:SecurityTokenUnavailable"),
    ([EMPTY, deepcopy(EMPTY)], "wsse:InvalidSecurityToken"),
]
FAILING = [
    ("/absent", None, "partner-unreachable", None),
    ("/slow", b"", "partner-timeout", "partner-timeout"),
    ("/droits", None, "partner-failed", "partner-failed"),
]


@pytest.mark.parametrize(
    ("path", "answer", "reason", "there"), FAILING, ids=["down", "slow", "closes"]
)
def test_a_foreign_client_reads_what_fails_as_a_fault(
    described: Organisations,
    client: zeep.Client,
    path: str,
    answer: bytes | None,
    reason: str,
    there: str | None,
) -> None:
    """A partner that is down, an application behind it that is slow, or closes without an answer: whose turn it is, and both traces."""
    calls = at(client, described, path)
    described.backend.answer = lambda _: answer
    with pytest.raises(zeep.exceptions.Fault) as raised:
        calls.Consulter(assure="x")
    assert raised.value.code == "soap:Server"
    assert reason in etree.tostring(raised.value.detail).decode()
    created = events(described.client.home, "created")[-1]
    join = created.issuer, created.assertion_id
    assert outcome(described.client, join) == (reason if there is None else 500)
    assert there is None or outcome(described.provider, join) == there


def test_a_foreign_client_never_takes_half_an_answer(
    described: Organisations, client: zeep.Client
) -> None:
    """An answer that is cut off in its middle is an error of the connection, and both traces say that no whole one came."""
    answer = described.backend.answer
    described.backend.answer = lambda request: (answer(request) or b"")[:-20]
    described.backend.hangs_up = True
    try:
        with pytest.raises(requests.RequestException):
            client.service.Consulter(assure="x" * 500_000)
    finally:
        described.backend.hangs_up = False
    created = events(described.client.home, "created")[-1]
    for side in (described.client, described.provider):
        assert outcome(side, (created.issuer, created.assertion_id)) == "partner-failed"


def at(client: zeep.Client, described: Organisations, path: str) -> zeep.proxy.ServiceProxy:
    """The operations of a client, at another path of the client's appliance."""
    address = f"http://127.0.0.1:{described.application.port}{path}"
    return client.create_service(f"{{{NAMESPACE}}}Binding", address)


def outcome(side: RunningService, join: tuple[str | None, str | None]) -> int | str | None:
    """What the trace says was answered on a vector."""

    def answered() -> list[TraceEntry]:
        entries = events(side.home, "answered")
        return [entry for entry in entries if (entry.issuer, entry.assertion_id) == join]

    wait_until(lambda: bool(answered()), 10, "the answer's entry")
    [entry] = answered()
    return entry.reason or entry.status


@pytest.mark.parametrize("plugins", [(), (WsAddressingPlugin(),)], ids=["plain", "addressing"])
def test_a_foreign_partner_pings_without_a_vector(
    described: Organisations, plugins: tuple[WsAddressingPlugin, ...]
) -> None:
    """An open operation as the toolkit sends it, with SOAPAction, and with the headers of WS-Addressing."""
    with requests.Session() as session:
        session.cert = tuple(
            str(described.ours.directory / f"client.{kind}") for kind in ("pem", "key")
        )
        session.trust_env, session.verify = False, str(described.theirs.root)
        wsdl = f"https://localhost:{described.inbound}/droits?wsdl"
        client = zeep.Client(
            wsdl, transport=Transport(session=session, timeout=20), plugins=plugins
        )
        assert client.service.Ping() == "personne: ouverts"
        for blocks, code in NO_VECTORS:
            with pytest.raises(zeep.exceptions.Fault) as raised:
                client.service.Consulter(assure="x", _soapheaders=blocks)
            assert raised.value.code == code
    received = described.backend.received[-1]
    assert received.field("SOAPAction") == '"urn:ping"'
    assert (b"MessageID" in received.body) == bool(plugins)
