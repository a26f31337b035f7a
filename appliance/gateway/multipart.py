"""MTOM and SwA: where in a multipart/related entity the SOAP message stands (RFC 2387, RFC 2046 5.1).

Finds the root part by the `start` parameter of Content-Type, else it is the first. Looks at nothing else: the other parts pass as
they are.
"""

from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from typing import Final

from appliance.errors import MalformedRequest, Reason

_LONGEST_BOUNDARY: Final = 70
_CODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Multipart:
    """What Content-Type says of the parts."""

    delimiter: bytes
    start: str | None


@dataclass(frozen=True, slots=True)
class RootPart:
    """Where the root part's document stands; `end` is None where it has not come."""

    start: int
    end: int | None


@lru_cache(maxsize=64)
def read_content_type(value: bytes) -> tuple[str, Multipart | None]:
    """Read the media type, lower case, and what it says of parts; applications repeat theirs, so the last ones are remembered.

    Raises:
        MalformedRequest: a multipart without a usable boundary.
    """
    message = Message()
    message["content-type"] = value.decode("latin-1")
    kind = message.get_content_type() if value else ""
    if not kind.startswith("multipart/"):
        return kind, None
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise _invalid("Content-Type has no boundary of 1 to 70 characters")
    start = message.get_param("start")
    try:
        delimiter = b"--" + boundary.encode("ascii")
    except UnicodeEncodeError as exc:
        raise _invalid("the boundary is not ASCII") from exc
    return kind, Multipart(delimiter, start if isinstance(start, str) else None)


def find_root(octets: bytes, multipart: Multipart, *, ended: bool) -> RootPart:
    """Find the root part in what has come of an entity.

    Raises:
        MalformedRequest: it is not there, or does not begin there.
    """
    delimiter = multipart.delimiter
    at = _next_delimiter(octets, delimiter, 0)
    while at is not None:
        line_end = octets.find(b"\r\n", at)
        head_end = octets.find(b"\r\n\r\n", line_end)
        if line_end < 0 or head_end < 0 or octets[at + len(delimiter) :].startswith(b"--"):
            break
        following = _next_delimiter(octets, delimiter, head_end + 2)
        head = _read_part_head(octets[line_end + 2 : head_end])
        if multipart.start is None or head.get("content-id", "").strip() == multipart.start:
            _check_coding(head)
            if following is None and ended:
                raise _invalid("the root part has no end")
            end = None if following is None else following - 2
            return RootPart(head_end + 4, end)
        at = following
    raise _invalid("the root part is not among the parts, or not in the first 1 MiB")


def _next_delimiter(octets: bytes, delimiter: bytes, start: int) -> int | None:
    """Where the next delimiter stands, at the start of a line."""
    if start == 0 and octets.startswith(delimiter):
        return 0
    found = octets.find(b"\r\n" + delimiter, start)
    return None if found < 0 else found + 2


def _read_part_head(octets: bytes) -> Message:
    message = Message()
    for line in octets.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        message[name.strip().lower()] = value.strip()
    return message


def _check_coding(head: Message) -> None:
    coding = head.get("content-transfer-encoding", "").strip().lower()
    if coding not in _CODINGS:
        raise _invalid(f"the root part is in {coding[:32]}; send it as 8bit or binary")


def _invalid(detail: str) -> MalformedRequest:
    return MalformedRequest(Reason.MULTIPART_INVALID, detail)
