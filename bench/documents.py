"""The documents that are measured: an assertion, and SOAP messages of any size, the same on every machine.

The messages are what a partner's stack writes: an XML declaration, namespaces bound at the top and again further down, indented elements,
attributes not in canonical order, empty elements, accents and a reference here and there.
"""

from collections.abc import Callable, Mapping
from typing import Final

ASSERTION_ID: Final = "_6f9619ff-8b86-d011-b42d-00cf4fc964ff"

_ASSERTION: Final = """\
<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ID="_6f9619ff-8b86-d011-b42d-00cf4fc964ff" \
IssueInstant="2026-03-01T12:00:00.000Z" Version="2.0"><saml2:Issuer>urn:interops:73282932000074:idp:demo:1</saml2:Issuer>\
<saml2:Subject><saml2:NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified">agent-0042</saml2:NameID>\
<saml2:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml2:SubjectConfirmationData \
NotOnOrAfter="2026-03-01T13:00:00.000Z" Recipient="urn:interops:sp:73282932000074:demo"></saml2:SubjectConfirmationData>\
</saml2:SubjectConfirmation></saml2:Subject><saml2:Conditions NotBefore="2026-03-01T11:59:50.000Z" \
NotOnOrAfter="2026-03-01T13:00:00.000Z"><saml2:AudienceRestriction><saml2:Audience>http://service.demo.example/droits\
</saml2:Audience></saml2:AudienceRestriction></saml2:Conditions><saml2:AuthnStatement AuthnInstant="2026-03-01T12:00:00.000Z" \
SessionIndex="_6f9619ff-8b86-d011-b42d-00cf4fc964ff"><saml2:AuthnContext><saml2:AuthnContextClassRef>\
urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml2:AuthnContextClassRef></saml2:AuthnContext></saml2:AuthnStatement>\
<saml2:AttributeStatement><saml2:Attribute Name="PAGM"><saml2:AttributeValue>PAGM_CONSULTATION</saml2:AttributeValue>\
<saml2:AttributeValue>PAGM_GESTION</saml2:AttributeValue></saml2:Attribute></saml2:AttributeStatement></saml2:Assertion>"""

_HEAD: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <soapenv:Header>
    <wsa:Action xmlns:wsa="http://www.w3.org/2005/08/addressing">http://service.demo.example/droits/consulter</wsa:Action>
  </soapenv:Header>
  <soapenv:Body>
    <drt:ConsulterDroitsReponse xmlns:drt="http://service.demo.example/droits/v2" xmlns:com="http://demo.example/commun/v1">
"""
_RECORD: Final = """\
      <drt:Assure rang="{rank}" id="A{number:07d}" xsi:type="drt:AssureOuvrant">
        <com:Identite>
          <com:Nir cle="{key:02d}">1{number:012d}</com:Nir>
          <com:Nom>LEFÈVRE-{number}</com:Nom>
          <com:Prenom>Zoé</com:Prenom>
          <com:NaissanceDate>19{year:02d}-03-01</com:NaissanceDate>
        </com:Identite>
        <adr:Adresse xmlns:adr="http://demo.example/adresse/v3">
          <adr:Voie>{number} rue de la Paix &amp; de l'Égalité</adr:Voie>
          <adr:Complement xsi:nil="true"/>
          <adr:Commune code="75{rank:03d}">PARIS</adr:Commune>
        </adr:Adresse>
        <drt:Droit code="AMO" debut="2026-01-01" fin="2026-12-31"><drt:Taux>{key}.50</drt:Taux></drt:Droit>
        <drt:Droit code="CSS" debut="2026-01-01" fin="2026-12-31"><drt:Taux>100.00</drt:Taux></drt:Droit>
      </drt:Assure>
"""
_TAIL: Final = """\
    </drt:ConsulterDroitsReponse>
  </soapenv:Body>
</soapenv:Envelope>
"""


def write_assertion() -> bytes:
    """An unsigned assertion as we write it, 1.4 KB, in canonical form."""
    return _ASSERTION.encode()


def write_message(size: int) -> bytes:
    """A SOAP message of at most `size` octets, and at least one record less than that."""
    octets = bytearray(_HEAD.encode())
    tail = _TAIL.encode()
    number = 0
    while True:
        record = _RECORD.format(
            number=number, rank=number % 1000, key=number % 97, year=number % 100
        ).encode()
        if len(octets) + len(record) + len(tail) > size:
            return bytes(octets + tail)
        octets += record
        number += 1


DOCUMENTS: Final[Mapping[str, Callable[[], bytes]]] = {
    "assertion": write_assertion,
    "soap-10k": lambda: write_message(10_000),
    "soap-100k": lambda: write_message(100_000),
    "soap-1m": lambda: write_message(1_000_000),
    "soap-10m": lambda: write_message(10_000_000),
}
