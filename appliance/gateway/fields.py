"""Header fields on their way through: what belongs to one connection stays there, what is ours is taken out."""

from collections.abc import Iterable
from typing import Final

from appliance.gateway.connection import Fields

REQUEST_ID: Final = b"x-request-id"

_OF_CONNECTION: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate"),
        *(b"proxy-authorization", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"content-length", b"host", b"expect"),
    }
)
"""Of one connection (RFC 9110 7.6.1), or written anew for the next one."""


def plain_name(name: bytes) -> bytes:
    """Return a field's name as back ends compare it, which often take `_` for `-`."""
    return name.lower().replace(b"_", b"-")


def pass_fields(
    fields: Fields, without: frozenset[bytes] = frozenset()
) -> list[tuple[bytes, bytes]]:
    """Return the fields that go on; `without` lists plain names."""
    left = _OF_CONNECTION | _listed(fields) | without
    return [(name, value) for name, value in fields if plain_name(name) not in left]


def request_fields(
    fields: Fields, ours: frozenset[bytes], request_id: str
) -> list[tuple[bytes, bytes]]:
    """Return what goes on of a request's fields, whatever its method, under our request id.

    Args:
        fields: as they came.
        ours: plain names of those that speak for somebody, here or at the other end; none of them passes.
        request_id: replaces theirs.
    """
    passed = pass_fields(fields, ours | {REQUEST_ID})
    return [*passed, (REQUEST_ID, request_id.encode("ascii"))]


def first(fields: Fields, name: bytes) -> bytes | None:
    """Return the first field of a name."""
    return next((value for each, value in fields if each == name), None)


def every(fields: Fields, name: bytes) -> list[bytes]:
    """Return the members of a field that is a list, in order."""
    return [
        member.strip()
        for each, value in fields
        if each == name
        for member in value.split(b",")
        if member.strip()
    ]


def with_query(target: bytes, query: bytes) -> bytes:
    """Return a target with the query that came, as it came."""
    return b"%b?%b" % (target, query) if query else target


def write_head(first_line: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write the head of a message; no value holds a line break, because the parser lets none in."""
    parts = [first_line, b"\r\n"]
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def _listed(fields: Fields) -> frozenset[bytes]:
    """What Connection names besides."""
    return frozenset(plain_name(member) for member in every(fields, b"connection"))
