"""Distinguished names, matched whole: every attribute, in order, from the first octet to the last.

A pattern is written like the name itself (RFC 4514: `CN=front-*,OU=0002 180035024,O=Organisme,C=FR`); `*` stands for any run of
characters inside one attribute's value and never reaches into the next. So `CN=PNR` accepts neither `CN=PNR_Evil` nor a `CN=PNR`
that somebody put into another attribute, which unanchored regular expressions do (DOMAIN 7).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_OF_RFC_4514: Final = {
    "CN": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
}
_OF_OPENSSL: Final = {
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "businessCategory": NameOID.BUSINESS_CATEGORY,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "initials": NameOID.INITIALS,
    "title": NameOID.TITLE,
    "pseudonym": NameOID.PSEUDONYM,
    "dnQualifier": NameOID.DN_QUALIFIER,
    "generationQualifier": NameOID.GENERATION_QUALIFIER,
    "postalCode": NameOID.POSTAL_CODE,
    "unstructuredName": NameOID.UNSTRUCTURED_NAME,
    "jurisdictionC": NameOID.JURISDICTION_COUNTRY_NAME,
    "jurisdictionL": NameOID.JURISDICTION_LOCALITY_NAME,
    "jurisdictionST": NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME,
}
"""What `openssl x509 -nameopt RFC2253` prints for attributes that RFC 4514 has no name for; certificates of seals have some of them."""

_SPELLED: Final = {
    spelling: oid
    for name, oid in (_OF_RFC_4514 | _OF_OPENSSL).items()
    for spelling in (name, name.lower())
}

_Value = tuple[str, ...]  # what stands between the stars
_Rdn = tuple[tuple[str, _Value], ...]


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern for one distinguished name; equal texts make equal patterns."""

    text: str
    rdns: tuple[_Rdn, ...]

    @classmethod
    def read(cls, text: str) -> "NamePattern":
        """Read a pattern.

        Raises:
            ValueError: the text is not a distinguished name, or an empty one.
        """
        try:
            name = x509.Name.from_rfc4514_string(text, _SPELLED)
        except ValueError as exc:
            raise ValueError("not a name as RFC 4514 writes it") from exc
        if not name.rdns:
            raise ValueError("a name has at least one attribute")
        return cls(text, tuple(_read_rdn(rdn) for rdn in name.rdns))

    def __str__(self) -> str:
        return self.text

    def matches(self, name: x509.Name) -> bool:
        """Tell whether the whole name fits."""
        rdns = name.rdns
        return len(rdns) == len(self.rdns) and all(map(_rdn_fits, self.rdns, rdns))


def any_matches(patterns: Iterable[NamePattern], name: x509.Name) -> bool:
    """Tell whether one of the patterns fits; without any, none does."""
    return any(pattern.matches(name) for pattern in patterns)


def _sorted(rdn: x509.RelativeDistinguishedName) -> list[tuple[str, str]]:
    return sorted((attribute.oid.dotted_string, str(attribute.value)) for attribute in rdn)


def _read_rdn(rdn: x509.RelativeDistinguishedName) -> _Rdn:
    return tuple((oid, tuple(value.split("*"))) for oid, value in _sorted(rdn))


def _rdn_fits(pattern: _Rdn, rdn: x509.RelativeDistinguishedName) -> bool:
    attributes = _sorted(rdn)
    return len(pattern) == len(attributes) and all(
        wanted == oid and _value_fits(parts, value)
        for (wanted, parts), (oid, value) in zip(pattern, attributes, strict=True)
    )


def _value_fits(parts: Sequence[str], value: str) -> bool:
    """Match from left to right, each part at its first place: linear, whatever the stars."""
    if len(parts) == 1:
        return value == parts[0]
    first, *middle, last = parts
    if len(value) < len(first) + len(last) or not value.startswith(first):
        return False
    if not value.endswith(last):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        at = value.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
