"""Assertion identifiers: how we write them, and which ones a convention accepts (DOMAIN 12, row 4)."""

import re
from typing import Final, Literal
from uuid import UUID

from appliance.randomness import random_pieces

WrittenStyle = Literal["uuid", "xs-id"]
AcceptedStyle = Literal["uuid", "xs-id", "any"]

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# Namespaces in XML 1.0, production 4 (NCName), from the ranges of XML 1.0, productions 4 and 4a, without the colon.
_NAME_START: Final = (
    r"A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u200C-\u200D"
    r"\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\U00010000-\U000EFFFF"
)
_NCNAME: Final = re.compile(
    rf"[{_NAME_START}][{_NAME_START}\-.0-9\u00B7\u0300-\u036F\u203F-\u2040]*"
)
_pieces: Final = random_pieces(16)


def new_uuid() -> UUID:
    """Make a random UUID (RFC 9562, version 4); for the event loop's thread alone, in a process that does not fork."""
    return UUID(bytes=next(_pieces), version=4)


def write_assertion_id(uuid: UUID, style: WrittenStyle) -> str:
    """Write a bare UUID, or one with the underscore that makes it a legal xs:ID."""
    return str(uuid) if style == "uuid" else f"_{uuid}"


def is_of_style(assertion_id: str, style: AcceptedStyle) -> bool:
    """Tell whether an identifier received is of the style a convention accepts."""
    if style == "uuid":
        return _UUID.fullmatch(assertion_id) is not None
    if style == "xs-id":
        return _NCNAME.fullmatch(assertion_id) is not None
    return True
