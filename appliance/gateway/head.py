"""What the head of a message says of it, held to saying one thing: action, charset, coding, and what Connection lists.

Two statements that a back end could choose between are refused by name, before anything of the message is sent.
"""

import re
from typing import Final

from appliance.errors import MalformedRequest, Reason
from appliance.gateway.connection import Fields
from appliance.gateway.fields import every, plain_name

_ACTION: Final = re.compile(rb";\s*action\s*([*=])\s*(\"[^\"\\\\]*\"|[^\s;\"]*)", re.IGNORECASE)
_CHARSET: Final = re.compile(rb";\s*charset\s*([*=])\s*(\"[^\"\\\\]*\"|[^\s;\"]*)", re.IGNORECASE)
_DECLARED: Final = re.compile(
    rb"(?:\xEF\xBB\xBF)?<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([^\"'>]*)[\"']", re.DOTALL
)
_UTF_8: Final = frozenset({b"utf-8", b"utf8"})
_DECISIVE: Final = frozenset(
    {
        *(b"content-type", b"content-encoding", b"content-length", b"transfer-encoding"),
        *(b"soapaction", b"host", b"authorization"),
    }
)


def check_head(fields: Fields, ours: frozenset[bytes]) -> None:
    """Check what can be checked before the message is read.

    Args:
        fields: of the request.
        ours: plain names of the fields that a route decides by.

    Raises:
        MalformedRequest: a field or a parameter stands twice, or Connection lists one that we decide by.
    """
    names = [plain_name(name) for name, _ in fields]
    for name in (b"soapaction", b"content-type"):
        if names.count(name) > 1:
            raise _ambiguous(f"the field {name.decode()} stands twice; send one")
    if names.count(b"content-encoding") > 1:
        raise MalformedRequest(
            Reason.CONTENT_CODING, "the field content-encoding stands twice; send one"
        )
    decisive = (_DECISIVE | ours).intersection(map(plain_name, every(fields, b"connection")))
    if decisive:
        raise _ambiguous(
            f"Connection lists {min(decisive).decode()}, which is not of the connection"
        )
    content_type = _content_type(fields)
    if len(_stated_actions(content_type)) > 1:
        raise _ambiguous("Content-Type has several `action`; send one")
    check_charset(content_type)


def check_charset(content_type: bytes) -> None:
    """Check that a type does not state another charset than the one the message is read in.

    Raises:
        MalformedRequest: it does, or states several.
    """
    charsets = _CHARSET.findall(content_type)
    if any(sign == b"*" or value.strip(b'"').lower() not in _UTF_8 for sign, value in charsets):
        raise MalformedRequest(
            Reason.ENCODING_UNSUPPORTED,
            "the charset of Content-Type is utf-8 or absent: the message is read as UTF-8",
        )


def check_declared(octets: bytes, content_type: bytes, start: int = 0) -> None:
    """Check that a document does not declare another encoding than the charset of its type, which is UTF-8 where there is one.

    A declaration that the octets contradict, a byte order mark among them, is refused by the reader.

    Args:
        octets: that the document stands in.
        content_type: of the document.
        start: of the document.

    Raises:
        MalformedRequest: it does.
    """
    declared = _DECLARED.match(octets, start)
    if declared is None or declared[1].lower() in _UTF_8 or _CHARSET.search(content_type) is None:
        return
    raise MalformedRequest(
        Reason.ENCODING_UNSUPPORTED,
        "the XML declaration states another encoding than the charset of Content-Type; send UTF-8, and say so",
    )


def read_action(fields: Fields, version: str) -> str | None:
    """Return the action that a message states, without its quotes: in SOAPAction, of SOAP 1.2 in Content-Type.

    Raises:
        MalformedRequest: SOAPAction and the `action` of Content-Type say different things, or one stands where its version has none.
    """
    field = next((value for name, value in fields if plain_name(name) == b"soapaction"), None)
    told = None if field is None else field.strip().strip(b'"')
    for sign, value in _stated_actions(_content_type(fields)):
        if version == "1.1" or sign == b"*":
            raise _ambiguous("Content-Type has `action`; SOAP 1.1 states it in SOAPAction alone")
        if told not in {None, b"", value}:
            raise _ambiguous("SOAPAction is not the `action` of Content-Type")
        told = value
    return None if told is None else told.decode("latin-1")


def _stated_actions(content_type: bytes) -> list[tuple[bytes, bytes]]:
    """Every `action`, as sign and value; what `start-info` repeats of it in quotes is the same one."""
    stated = [
        (sign, value.strip(b'"'))
        for sign, value in _ACTION.findall(content_type.replace(b'\\"', b""))
    ]
    is_multipart = content_type.lower().startswith(b"multipart/")
    return list(dict.fromkeys(stated)) if is_multipart else stated


def _content_type(fields: Fields) -> bytes:
    return next((value for name, value in fields if name == b"content-type"), b"")


def _ambiguous(detail: str) -> MalformedRequest:
    return MalformedRequest(Reason.MALFORMED_HTTP, detail)
