"""MTOM and SwA: where in a multipart/related entity the SOAP message stands (RFC 2387, RFC 2046 5.1).

Finds the root part by the `start` parameter of Content-Type, else it is the first. The other parts pass as they are, once it is
certain that everybody finds the same parts: what one parser takes for a delimiter and another does not is refused.
"""

import re
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from typing import Final

from appliance.errors import MalformedRequest, Reason
from appliance.gateway.head import check_charset, check_declared

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_NAMED: Final = re.compile(rb";\s*(boundary|start)\s*([*=])", re.IGNORECASE)
"""Wherever it stands, in quotes too: a second one may be the first that another parser sees."""
_REST_OF_LINE: Final = re.compile(rb"(--)?[ \t]*(\r\n|\Z)")
_LONGEST_HEAD: Final = 16 * 1024
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
    named = [(match[1].lower(), match[2]) for match in _NAMED.finditer(value)]
    if len(dict(named)) != len(named) or any(sign == b"*" for _, sign in named):
        raise _invalid("Content-Type states boundary and start once each, without continuation")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or _BOUNDARY.fullmatch(boundary) is None:
        raise _invalid("Content-Type has no boundary of 1 to 70 characters of RFC 2046")
    start = message.get_param("start")
    return kind, Multipart(
        b"--" + boundary.encode("ascii"), start if isinstance(start, str) else None
    )


class PartsCheck:
    """Checks piece by piece that an entity has the same parts for every reader, and one root at most."""

    def __init__(self, multipart: Multipart) -> None:
        self._delimiter: Final = multipart.delimiter
        self._start: Final = multipart.start
        self._held = b"\r\n"  # the first delimiter may stand at the very start
        self._roots = 0
        self._is_closed = False

    def feed(self, octets: bytes) -> None:
        """Check what came; what may be a delimiter or the head of a part waits for the next piece.

        Raises:
            MalformedRequest: a delimiter that is none for every reader, or a second root part.
        """
        octets = self._held + octets
        self._held = octets[self._check(octets, is_last=False) :]
        if len(self._held) > _LONGEST_HEAD:
            raise _invalid(f"the head of a part has more than {_LONGEST_HEAD} octets")

    def finish(self) -> None:
        """Check what waits.

        Raises:
            MalformedRequest: as `feed`, or the closing delimiter has not come.
        """
        self._check(self._held, is_last=True)
        if not self._is_closed:
            raise _invalid("the closing delimiter is missing")

    def _check(self, octets: bytes, *, is_last: bool) -> int:
        """Return where what must wait begins."""
        after = 0
        while (at := octets.find(self._delimiter, after)) >= 0:
            if octets[max(at - 1, 0) : at] not in {b"\r", b"\n"}:
                after = at + 1
                continue
            end = self._check_part(octets, at, is_last=is_last)
            if end is None:
                return at - 2
            after = end
        return max(after, len(octets) - len(self._delimiter) - 1, 0)

    def _check_part(self, octets: bytes, at: int, *, is_last: bool) -> int | None:
        """Check a delimiter and the head behind it; None where it has not all come."""
        behind = at + len(self._delimiter)
        line_end = octets.find(b"\r\n", behind)
        if line_end < 0 and not is_last:
            return None
        line = _REST_OF_LINE.match(octets, behind)
        if octets[max(at - 2, 0) : at] != b"\r\n" or line is None or self._is_closed:
            raise _invalid("a line begins like a delimiter and is none (RFC 2046 5.1.1)")
        if line[1]:
            self._is_closed = True
            return line.start(2)
        head_end = octets.find(b"\r\n\r\n", line_end)
        if line_end < 0 or head_end < 0:
            if is_last:
                raise _invalid("a part has no end of its head")
            return None
        self._check_head(octets[line_end + 2 : head_end])
        return head_end + 2

    def _check_head(self, octets: bytes) -> None:
        if octets.count(b"\n") != octets.count(b"\r\n") or octets.count(b"\r") != octets.count(
            b"\n"
        ):
            raise _invalid("a line in the head of a part does not end with CR LF")
        if b"\r\n" + self._delimiter in b"\r\n" + octets:
            raise _invalid("a delimiter stands in the head of a part")
        ids = _read_part_head(octets).get_all("content-id", [])
        if len(ids) > 1:
            raise _invalid("a part has several Content-ID")
        self._roots += self._start is not None and _plain_id(self._start) in map(_plain_id, ids)
        if self._roots > 1:
            raise _invalid("several parts have the Content-ID that `start` names")


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
            stated = head.get("content-type", "").encode("latin-1")
            check_charset(stated)
            check_declared(octets, stated, head_end + 4)
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


def _plain_id(text: str) -> str:
    """An id as lenient readers compare it."""
    return text.strip().strip("<>").strip().lower()


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
