"""SAML 1.1 vectors made without our extension: the text of DOMAIN 2.3, signed as `tests.messages` signs."""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from tests.messages import Statement

PASSWORD = "urn:oasis:names:tc:SAML:1.0:am:password"  # noqa: S105 - a level, not a password
SENDER_VOUCHES = "urn:oasis:names:tc:SAML:1.0:cm:sender-vouches"
HOLE = "<!--signature-->"


@dataclass(frozen=True)
class Saml11Statement(Statement):
    """What a SAML 1.1 vector states; `second_name_id` gives the attribute statement another subject."""

    version: str | None = "1.1"
    method: str = SENDER_VOUCHES
    level: str | None = PASSWORD
    second_name_id: str | None = None

    def body(self, *, hole_last: bool, indent: str) -> str:
        """Write the assertion; the Signature is the last child in either variant."""
        assert hole_last in {True, False}
        major, _, minor = (self.version or "").partition(".")
        start = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in (
                ("AssertionID", self.id),
                ("IssueInstant", self.issue_instant),
                ("Issuer", self.issuer),
                ("MajorVersion", major),
                ("MinorVersion", minor),
            )
            if value is not None
        )
        parts = [self._conditions(), self._authn(), self._attributes(), HOLE]
        inside = "".join(f"{indent}{part}" for part in parts)
        return (
            f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion"{start}>'
            f"{inside}{indent}</saml:Assertion>"
        )

    def _subject_of(self, name_id: str) -> str:
        return (
            f"<saml:Subject><saml:NameIdentifier>{escape(name_id)}</saml:NameIdentifier>"
            f"<saml:SubjectConfirmation><saml:ConfirmationMethod>{self.method}</saml:ConfirmationMethod>"
            "</saml:SubjectConfirmation></saml:Subject>"
        )

    def _conditions(self) -> str:
        audiences = "".join(f"<saml:Audience>{escape(a)}</saml:Audience>" for a in self.audiences)
        period = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in (
                ("NotBefore", self.not_before),
                ("NotOnOrAfter", self.not_on_or_after),
            )
            if value is not None
        )
        return (
            f"<saml:Conditions{period}><saml:AudienceRestrictionCondition>{audiences}"
            "</saml:AudienceRestrictionCondition></saml:Conditions>"
        )

    def _authn(self) -> str:
        level = "" if self.level is None else f" AuthenticationMethod={quoteattr(self.level)}"
        return (
            f'<saml:AuthenticationStatement AuthenticationInstant="2026-03-02T09:58:00.000Z"{level}>'
            f"{self._subject_of(self.name_id)}</saml:AuthenticationStatement>"
        )

    def _attributes(self) -> str:
        named = [("PAGM", "urn:iops:attributs:pagm", self.pagms)]
        if self.second_pagm_attribute is not None:
            named.append(("PAGM", "urn:iops:attributs:pagm", self.second_pagm_attribute))
        named += [(name, "urn:iops:attributs:optionnal", (v,)) for name, v in self.attributes]
        written = "".join(
            f"<saml:Attribute AttributeName={quoteattr(name)} AttributeNamespace={quoteattr(space)}>"
            + "".join(f"<saml:AttributeValue>{escape(v)}</saml:AttributeValue>" for v in values)
            + "</saml:Attribute>"
            for name, space, values in named
        )
        subject = self._subject_of(self.second_name_id or self.name_id)
        return f"<saml:AttributeStatement>{subject}{written}</saml:AttributeStatement>"
