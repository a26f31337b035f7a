"""A client made with zeep, which knows nothing of InterOPS, through two appliances: it reads the description and calls what it says."""

from collections.abc import Iterator
from html import escape

import pytest
import requests
import zeep
from lxml import etree
from zeep.transports import Transport
from zeep.wsa import WsAddressingPlugin

from tests.gateway_homes import events
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
        with pytest.raises(zeep.exceptions.Fault):
            client.service.Consulter(assure="x")
    received = described.backend.received[-1]
    assert received.field("SOAPAction") == '"urn:ping"'
    assert (b"MessageID" in received.body) == bool(plugins)
