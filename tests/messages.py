"""Vectors made without our extension: text, canonicalised by libxml2, signed by `cryptography`; every field can be overridden.

Both shapes of DOMAIN 2.4: A (Signature after Issuer, `#ID`, exclusive c14n, `ds:` prefix, one line) and B (Signature last, empty URI,
enveloped only, default namespace, indented, base64 wrapped, as the production client's template writes it).
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import uuid4
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from tests.pki import HASHES, HashName, Holder

ISSUER = "urn:interops:73282932000074:idp:partner:1"
RECIPIENT = "urn:interops:sp:73282932000074:us"
AUDIENCE = "http://service.example/droits"
LEVEL = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"

DS = "http://www.w3.org/2000/09/xmldsig#"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SOAP = {
    "1.1": "http://schemas.xmlsoap.org/soap/envelope/",
    "1.2": "http://www.w3.org/2003/05/soap-envelope",
}
DIGESTS = {
    "sha1": f"{DS}sha1",
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": f"{MORE}sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}

HOLE = "<!--signature-->"
"""Where the Signature goes in an assertion that `sign_body` signs."""


@dataclass(frozen=True)
class Statement:
    """What a vector states; None leaves the part out. The default is valid at `tests.pki.NOW`."""

    id: str | None = None
    version: str | None = "2.0"
    issue_instant: str | None = "2026-03-02T09:59:00.000Z"
    issuer: str | None = ISSUER
    name_id: str = "agent-0042"
    method: str = BEARER
    confirmation_not_before: str | None = None
    confirmation_not_on_or_after: str | None = "2026-03-02T12:00:00.000Z"
    recipient: str | None = RECIPIENT
    not_before: str | None = "2026-03-02T08:00:00.000Z"
    not_on_or_after: str | None = "2026-03-02T12:00:00.000Z"
    audiences: tuple[str, ...] = (AUDIENCE,)
    level: str | None = LEVEL
    pagms: tuple[str, ...] = ("PAGM_CONSULTATION",)
    second_pagm_attribute: tuple[str, ...] | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    authn_in_comment: bool = False

    def body(self, *, hole_last: bool, indent: str) -> str:
        """Write the assertion with a hole where the Signature goes."""
        start = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in (
                ("ID", self.id),
                ("IssueInstant", self.issue_instant),
                ("Version", self.version),
            )
            if value is not None
        )
        issuer = (
            [] if self.issuer is None else [f"<saml2:Issuer>{escape(self.issuer)}</saml2:Issuer>"]
        )
        parts = [*issuer, self._subject(), self._conditions(), self._authn(), self._attributes()]
        parts.insert(len(parts) if hole_last else len(issuer), HOLE)
        inside = "".join(f"{indent}{part}" for part in parts)
        return (
            f'<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion"{start}>'
            f"{inside}{indent}</saml2:Assertion>"
        )

    def _subject(self) -> str:
        data = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in (
                ("NotBefore", self.confirmation_not_before),
                ("NotOnOrAfter", self.confirmation_not_on_or_after),
                ("Recipient", self.recipient),
            )
            if value is not None
        )
        return (
            f'<saml2:Subject><saml2:NameID Format="{UNSPECIFIED}">{escape(self.name_id)}</saml2:NameID>'
            f'<saml2:SubjectConfirmation Method="{self.method}"><saml2:SubjectConfirmationData{data}/>'
            "</saml2:SubjectConfirmation></saml2:Subject>"
        )

    def _conditions(self) -> str:
        period = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in (
                ("NotBefore", self.not_before),
                ("NotOnOrAfter", self.not_on_or_after),
            )
            if value is not None
        )
        audiences = "".join(
            f"<saml2:Audience>{escape(each)}</saml2:Audience>" for each in self.audiences
        )
        return (
            f"<saml2:Conditions{period}><saml2:AudienceRestriction>{audiences}"
            "</saml2:AudienceRestriction></saml2:Conditions>"
        )

    def _authn(self) -> str:
        if self.level is None:
            return ""
        written = (
            f'<saml2:AuthnStatement AuthnInstant="2026-03-02T09:58:00.000Z"><saml2:AuthnContext>'
            f"<saml2:AuthnContextClassRef>{self.level}</saml2:AuthnContextClassRef>"
            "</saml2:AuthnContext></saml2:AuthnStatement>"
        )
        return f"<!--{written}-->" if self.authn_in_comment else written

    def _attributes(self) -> str:
        named = [("PAGM", self.pagms)]
        if self.second_pagm_attribute is not None:
            named.append(("PAGM", self.second_pagm_attribute))
        named += [(name, (value,)) for name, value in self.attributes]
        written = "".join(
            f"<saml2:Attribute Name={quoteattr(name)}>"
            + "".join(
                f"<saml2:AttributeValue>{escape(value)}</saml2:AttributeValue>" for value in values
            )
            + "</saml2:Attribute>"
            for name, values in named
        )
        return f"<saml2:AttributeStatement>{written}</saml2:AttributeStatement>"


@dataclass(frozen=True)
class Signing:
    """How a statement is signed."""

    signer: Holder
    variant: Literal["A", "B"] = "A"
    hash_name: HashName = "sha256"
    certificates: Sequence[bytes] | None = None
    """DER, as they go into KeyInfo; None means the signer's whole chain, leaf first."""
    has_key_info: bool = True


def make_vector(signing: Signing, statement: Statement | None = None, **fields: object) -> bytes:
    """Make a signed assertion; `fields` override those of the statement."""
    statement = replace(statement or Statement(), **fields)  # type: ignore[arg-type]  # overrides of a builder
    if statement.id is None:
        statement = replace(statement, id=str(uuid4()))
    is_a = signing.variant == "A"
    body = statement.body(hole_last=not is_a, indent="" if is_a else "\n   ")
    return sign_body(signing, statement.id or "", body)


def sign_body(signing: Signing, assertion_id: str, body: str) -> bytes:
    """Sign an assertion written by hand, with `HOLE` where the Signature goes."""
    signature = _write_signature(signing, assertion_id, _digest(signing, body.replace(HOLE, "")))
    unsigned = body.replace(HOLE, signature.format(value="")).encode()
    value = _sign(signing, _canonical_signed_info(unsigned))
    return body.replace(HOLE, signature.format(value=_base64(value, signing))).encode()


def make_unsigned(statement: Statement | None = None, **fields: object) -> bytes:
    """Make an assertion without Signature."""
    statement = replace(statement or Statement(id=str(uuid4())), **fields)  # type: ignore[arg-type]  # overrides of a builder
    return statement.body(hole_last=False, indent="").replace(HOLE, "").encode()


def wrap(assertion: bytes, version: Literal["1.1", "1.2"] = "1.1") -> bytes:
    """Place an assertion in a SOAP message, with the SecurityTokenReference that production writes (DOMAIN 3)."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{SOAP[version]}" '
        'xmlns:urn="urn:example:service">\n <soapenv:Header>\n'
        f'  <wsse:Security xmlns:wsse="{WSSE}">{assertion.decode()}'
        "<wsse:SecurityTokenReference><wsse:KeyIdentifier> id </wsse:KeyIdentifier>"
        "</wsse:SecurityTokenReference></wsse:Security>\n </soapenv:Header>\n"
        " <soapenv:Body><urn:Ping/></soapenv:Body>\n</soapenv:Envelope>\n"
    ).encode()


def _digest(signing: Signing, body: str) -> str:
    canonical = etree.tostring(
        etree.fromstring(body.encode()),
        method="c14n",
        exclusive=signing.variant == "A",
        with_comments=False,
    )
    return base64.b64encode(hashlib.new(signing.hash_name, canonical).digest()).decode()


def _write_signature(signing: Signing, assertion_id: str, digest: str) -> str:
    is_a = signing.variant == "A"
    prefix, declared = ("ds:", "xmlns:ds") if is_a else ("", "xmlns")
    uri = f"#{assertion_id}" if is_a else ""
    family = "rsa" if isinstance(signing.signer.key, rsa.RSAPrivateKey) else "ecdsa"
    method = f"{DS if (family, signing.hash_name) == ('rsa', 'sha1') else MORE}{family}-{signing.hash_name}"
    transforms = f'<{prefix}Transform Algorithm="{DS}enveloped-signature"/>'
    if is_a:
        transforms += f'<{prefix}Transform Algorithm="{EXCLUSIVE}"/>'
    return (
        f'<{prefix}Signature {declared}="{DS}"><{prefix}SignedInfo>'
        f'<{prefix}CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
        f'<{prefix}SignatureMethod Algorithm="{method}"/>'
        f"<{prefix}Reference URI={quoteattr(uri)}><{prefix}Transforms>{transforms}</{prefix}Transforms>"
        f'<{prefix}DigestMethod Algorithm="{DIGESTS[signing.hash_name]}"/>'
        f"<{prefix}DigestValue>{digest}</{prefix}DigestValue></{prefix}Reference></{prefix}SignedInfo>"
        f"<{prefix}SignatureValue>{{value}}</{prefix}SignatureValue>"
        f"{_write_key_info(signing, prefix)}</{prefix}Signature>"
    )


def _write_key_info(signing: Signing, prefix: str) -> str:
    if not signing.has_key_info:
        return ""
    chain = signing.signer.chain if signing.certificates is None else signing.certificates
    certificates = "".join(
        f"<{prefix}X509Certificate>{_base64(each, signing)}</{prefix}X509Certificate>"
        for each in chain
    )
    return f"<{prefix}KeyInfo><{prefix}X509Data>{certificates}</{prefix}X509Data></{prefix}KeyInfo>"


def _canonical_signed_info(document: bytes) -> bytes:
    signed_info = etree.fromstring(document).find(f".//{{{DS}}}SignedInfo")
    return etree.tostring(signed_info, method="c14n", exclusive=True, with_comments=False)


def _sign(signing: Signing, signed_info: bytes) -> bytes:
    key, algorithm = signing.signer.key, HASHES[signing.hash_name]
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed_info, padding.PKCS1v15(), algorithm)
    r, s = decode_dss_signature(key.sign(signed_info, ec.ECDSA(algorithm)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _base64(octets: bytes, signing: Signing) -> str:
    text = base64.b64encode(octets).decode()
    if signing.variant == "A":
        return text
    return "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
