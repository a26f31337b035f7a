"""What a request's head must be before anything is spent on it: small enough, unambiguous, and about a path of ours.

Each check raises the error that ends the connection; the parser has already refused what is not HTTP at all.
"""

from collections.abc import Sequence
from typing import Final

import httptools

from appliance.errors import MalformedRequest, Reason, RequestTooLarge, RequestTooSlow
from appliance.server.admission import Fields
from appliance.server.pace import Phase
from appliance.server.settings import ServerSettings

_FIELD_SYNTAX: Final = 4  # octets: colon, space, CR, LF
_VERSIONS: Final = frozenset({"1.1", "1.0"})


def check_head(
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    octets: int,
    settings: ServerSettings,
) -> None:
    """Check the head's sizes; `octets` are those of the fields' names and values.

    Raises:
        RequestTooLarge: names the limit that was passed.
    """
    if len(target) > settings.request_line_limit:
        raise RequestTooLarge(
            Reason.HEADERS_TOO_LARGE,
            f"the request target has more than {settings.request_line_limit} octets",
        )
    if len(headers) > settings.header_fields:
        raise RequestTooLarge(
            Reason.HEADERS_TOO_LARGE,
            f"the head has more than {settings.header_fields} fields; send fewer",
        )
    if len(target) + octets + _FIELD_SYNTAX * len(headers) > settings.header_limit:
        raise head_too_large(settings)


def check_framing(fields: Fields, version: str, settings: ServerSettings) -> None:
    """Check that nobody on the way can read another message out of the same octets (RFC 9112 6.3, 3.2), and its size.

    The parser has refused Content-Length beside Transfer-Encoding, several or odd Content-Length, and folded fields.

    Raises:
        MalformedRequest: no Host, a transfer coding other than chunked, or a version without them.
        RequestTooLarge: the announced body passes the limit; not one octet of it has been read.
    """
    if version not in _VERSIONS:
        raise MalformedRequest(Reason.MALFORMED_HTTP, f"HTTP/{version} is not spoken here; use 1.1")
    if b"host" not in fields:
        raise MalformedRequest(Reason.MALFORMED_HTTP, "the request has no Host field; add one")
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        raise MalformedRequest(
            Reason.MALFORMED_HTTP, "the only transfer coding taken is chunked, over HTTP/1.1"
        )
    length = fields.get(b"content-length")
    if length is not None and int(length) > settings.body_limit:
        raise body_too_large(settings)


def framing_of(fields: Fields) -> bytes:
    """Return the field that frames a body, as a line without its end; empty when there is no body."""
    if b"transfer-encoding" in fields:
        return b"transfer-encoding: chunked"
    length = int(fields.get(b"content-length", b"0"))
    return b"content-length: %d" % length if length else b""


def read_target(target: bytes) -> tuple[bytes, bytes | None, bytes]:
    """Split a request target into path, host (of the absolute form only, RFC 9112 3.2.2) and query.

    Raises:
        MalformedRequest: neither a path nor an absolute http URL.
    """
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, None, query
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as exc:
        raise _no_path() from exc
    if not url.schema or url.schema.lower() != b"http" or not url.host:
        raise _no_path()
    host = b"%b:%d" % (url.host, url.port) if url.port else url.host
    return url.path or b"/", host, url.query or b""


def _no_path() -> MalformedRequest:
    return MalformedRequest(
        Reason.MALFORMED_HTTP, "the request target must be a path such as /v1/vectors"
    )


def head_too_large(settings: ServerSettings) -> RequestTooLarge:
    """Name the limit of the head."""
    return RequestTooLarge(
        Reason.HEADERS_TOO_LARGE,
        f"request line and header fields have more than {settings.header_limit} octets together",
    )


def body_too_large(settings: ServerSettings) -> RequestTooLarge:
    """Name the limit of the body."""
    return RequestTooLarge(
        Reason.BODY_TOO_LARGE, f"the body has more than {settings.body_limit} octets"
    )


def too_slow(phase: Phase, settings: ServerSettings) -> RequestTooSlow:
    """Name the limit in time that a head or a body has passed."""
    if phase is Phase.HEAD:
        detail = f"the head was not complete within {settings.head_timeout:g} s"
    else:
        detail = f"the body came slower than {settings.body_rate} octets per second"
    return RequestTooSlow(Reason.REQUEST_TIMEOUT, detail)
