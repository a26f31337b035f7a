"""Small documents over HTTP: an OCSP answer, a CRL. One question, one answer, one deadline for the whole of it.

Promises that nothing is waited for past the deadline, however slowly a server answers (name, connection, every octet), that no more
octets are kept than the caller allows, and that nothing leads elsewhere: only the address given is asked, redirects are failures.
What arrives proves nothing: whoever asks checks the signature in it.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httptools

_HTTP: Final = 80
_OK: Final = 200
_CHUNK: Final = 64 * 1024
_HEAD_MOST: Final = 32 * 1024


class DownloadFailed(Exception):
    """There is no answer that could be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken, and within how many seconds all of it must have come."""

    octets: int
    seconds: float


@dataclass(slots=True)
class _Answer:
    """What the parser has seen of an answer; of httptools' kind of protocol."""

    most: int
    kept: bytearray = field(default_factory=bytearray)
    names: set[bytes] = field(default_factory=set[bytes])
    has_head: bool = False
    is_complete: bool = False
    is_too_large: bool = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        self.names.add(name.lower())

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, octets: bytes) -> None:
        self.is_too_large = self.is_too_large or len(self.kept) + len(octets) > self.most
        if not self.is_too_large:
            self.kept += octets

    def on_message_complete(self) -> None:
        self.is_complete = True

    def is_whole_at_end(self) -> bool:
        """Tell whether an answer that ended with the connection is whole: one that states its length is not (RFC 9112, 8)."""
        return self.names.isdisjoint({b"content-length", b"transfer-encoding"})


def read_http_address(text: str) -> SplitResult:
    """Read the address of a server that is asked: `http://HOST[:PORT][/PATH][?QUERY]` and nothing else.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and not any(c in text for c in ' "<>\\^`{|}')
    if parts.scheme != "http" or not parts.hostname or not is_plain:
        raise ValueError("not http://HOST/PATH")
    if "@" in parts.netloc or "#" in text:
        raise ValueError("no user and no fragment belongs in it")
    if parts.port == 0 or parts.netloc.endswith(":"):  # `port` itself refuses what is no number
        raise ValueError("not a port")
    return parts


async def download(
    address: str, limits: Limits, body: bytes | None = None, content_type: str = ""
) -> bytes:
    """GET an address, or POST a body to it; return what the server answers with 200.

    Raises:
        DownloadFailed: it does not, not in time, or with more than is taken.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            return await _ask(read_http_address(address), limits, body, content_type)
    except TimeoutError as exc:
        raise DownloadFailed(f"no whole answer within {limits.seconds:g} s") from exc
    except (OSError, EOFError, ValueError, httptools.HttpParserError) as exc:
        raise DownloadFailed(str(exc) or type(exc).__name__) from exc


async def _ask(parts: SplitResult, limits: Limits, body: bytes | None, content_type: str) -> bytes:
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or _HTTP)
    try:
        writer.write(_write_request(parts, body, content_type))
        await writer.drain()
        return await _read_answer(reader, limits)
    finally:
        writer.transport.abort()


def _write_request(parts: SplitResult, body: bytes | None, content_type: str) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{'GET' if body is None else 'POST'} {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: close",
        "Accept-Encoding: identity",
    ]
    if body is not None:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


async def _read_answer(reader: asyncio.StreamReader, limits: Limits) -> bytes:
    answer = _Answer(limits.octets)
    parser = httptools.HttpResponseParser(answer)
    await _parse(reader, parser, answer)
    status = parser.get_status_code() if answer.has_head else 0
    if status not in {0, _OK}:
        raise DownloadFailed(f"the server answered {status}")
    if answer.is_too_large:
        raise DownloadFailed(f"the answer has more than {limits.octets} octets")
    if not status:
        raise DownloadFailed("no answer")
    if not (answer.is_complete or answer.is_whole_at_end()):
        raise DownloadFailed("the answer was cut off")
    return bytes(answer.kept)


async def _parse(
    reader: asyncio.StreamReader, parser: httptools.HttpResponseParser, answer: _Answer
) -> None:
    """Read until the answer is complete, too large, or at its end."""
    taken = 0
    while not (answer.is_complete or answer.is_too_large):
        octets = await reader.read(_CHUNK)
        if not octets:
            return
        taken += len(octets)
        try:
            parser.feed_data(octets)
        except httptools.HttpParserError:
            if not answer.is_complete:  # what follows a whole answer is nobody's
                raise
        answer.is_too_large |= taken > 2 * answer.most + _HEAD_MOST
