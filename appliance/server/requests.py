"""Reads what a request carries: JSON bodies, media types, query parameters.

Refuses by naming the place and what was expected there. Nothing here guesses: an unknown JSON field or query parameter is a mistake of
the caller that it would rather hear of.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from appliance.errors import MalformedRequest, Reason, RequestTooLarge
from appliance.server.admission import Fields
from appliance.vectors.model import VectorRequest

ASSERTION_TYPE: Final = "application/samlassertion+xml"
SUBJECT_FIELD: Final = b"vector-subject"
PAGM_FIELD: Final = b"vector-pagm"
"""May come several times; the protocol puts a line feed between the values."""


class BatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/vectors/batch`; the items stay JSON so that each is read, and refused, on its own."""

    requests: list[msgspec.Raw]


_vector_decoder: Final = msgspec.json.Decoder(VectorRequest)
_batch_decoder: Final = msgspec.json.Decoder(BatchRequest)

Read = TypeVar("Read")


def read_vector_request(body: bytes | msgspec.Raw, place: str = "$") -> VectorRequest:
    """Read one request; `place` is where it stands in the body.

    Raises:
        MalformedRequest: names the field and what was expected.
    """
    return _read_json(_vector_decoder, body, place)


def read_batch(body: bytes, limit: int) -> list[VectorRequest | MalformedRequest]:
    """Read a batch; an item that cannot be read takes its own place in the list.

    Raises:
        MalformedRequest: the body is not a batch.
        RequestTooLarge: more than `limit` items.
    """
    items = _read_json(_batch_decoder, body, "$").requests
    if len(items) > limit:
        raise RequestTooLarge(
            Reason.BATCH_TOO_LARGE,
            f"a batch holds at most {limit} requests, got {len(items)}; split it",
        )
    return [_read_item(item, f"$.requests[{at}]") for at, item in enumerate(items)]


def _read_item(item: msgspec.Raw, place: str) -> VectorRequest | MalformedRequest:
    try:
        return read_vector_request(item, place)
    except MalformedRequest as refusal:
        return refusal.as_value()


def _read_json(decoder: msgspec.json.Decoder[Read], body: bytes | msgspec.Raw, place: str) -> Read:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        what, _, path = str(exc).partition(" - at `$")
        detail = f"at {place}{path.removesuffix('`')}: {what[:1].lower()}{what[1:]}"
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        is_xml = bytes(body)[:64].lstrip().startswith(b"<")
        detail = _XML_FOR_JSON if is_xml else f"the body is not JSON: {exc}"
    except RecursionError:
        detail = "the body is nested too deeply"
    raise MalformedRequest(Reason.MALFORMED_JSON, detail)


_XML_FOR_JSON: Final = "this endpoint takes JSON (application/json); send assertions and SOAP messages to /v1/verifications"


def check_json_type(fields: Fields) -> None:
    """Refuse a body that says it is XML or in another charset; one that says nothing may still be JSON.

    Raises:
        MalformedRequest: says what to send.
    """
    essence, charset = _read_media_type(fields.get(b"content-type", b""))
    if _is_xml(essence) or essence.startswith("multipart/"):
        raise MalformedRequest(Reason.MALFORMED_JSON, _XML_FOR_JSON)
    if charset not in {"", "utf-8", "utf8", "us-ascii"}:
        raise MalformedRequest(Reason.MALFORMED_JSON, "JSON is taken in UTF-8 only")


def read_secure_request(fields: Fields, query: Mapping[str, str]) -> VectorRequest:
    """Read what vector a message is to get: the convention from the query, the person from header fields, never from a URL.

    Raises:
        MalformedRequest: no convention, or a field that is not percent-encoded UTF-8.
    """
    if "convention" not in query:
        raise _query_refused("name the convention: /v1/soap/secure?convention=ID")
    subject = fields.get(SUBJECT_FIELD)
    pagms = fields.get(PAGM_FIELD)
    return VectorRequest(
        convention=query["convention"],
        subject=None if subject is None else _read_field(SUBJECT_FIELD, subject),
        pagms=()
        if pagms is None
        else tuple(_read_field(PAGM_FIELD, each) for each in pagms.split(b"\n")),
    )


def _read_field(name: bytes, value: bytes) -> str:
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedRequest(
            Reason.MALFORMED_HTTP,
            f"the field {name.decode('ascii')} is not UTF-8; what is not ASCII may be percent-encoded",
        ) from exc


def check_xml_type(fields: Fields) -> None:
    """Refuse a body that says it is JSON or multipart; one that says nothing may still be XML.

    Raises:
        MalformedRequest: says what to send.
    """
    essence, _ = _read_media_type(fields.get(b"content-type", b""))
    if essence.endswith(("/json", "+json")) or essence.startswith("multipart/"):
        raise MalformedRequest(
            Reason.MALFORMED_XML,
            f"this endpoint takes an assertion ({ASSERTION_TYPE}) or a SOAP message (text/xml), not {essence}",
        )


def _is_xml(essence: str) -> bool:
    return essence.endswith(("/xml", "+xml"))


@lru_cache(maxsize=32)
def _read_media_type(content_type: bytes) -> tuple[str, str]:
    """Split Content-Type into its essence and charset, both lower case, empty when absent."""
    essence, _, rest = content_type.decode("latin-1").lower().partition(";")
    for parameter in rest.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return essence.strip(), value.strip().strip('"')
    return essence.strip(), ""


def wants_assertion(accept: bytes | None) -> bool:
    """Tell whether the caller asks for the assertion alone, and asks for it no less than for JSON."""
    accepted = "" if accept is None else accept.decode("latin-1").lower()
    if ASSERTION_TYPE not in accepted:
        return False
    weights = dict(_read_range(part) for part in accepted.split(","))
    wanted = weights.get(ASSERTION_TYPE, 0.0)
    return wanted > 0 and wanted >= weights.get("application/json", 0.0)


def _read_range(media_range: str) -> tuple[str, float]:
    essence, *parameters = (part.strip() for part in media_range.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return essence, float(parameter[2:])
            except ValueError:
                return essence, 0.0
    return essence, 1.0


@lru_cache(maxsize=256)  # the same few again and again
def read_query(query: bytes, known: tuple[str, ...]) -> Mapping[str, str]:
    """Read the query parameters of an endpoint.

    Raises:
        MalformedRequest: one is unknown, stands twice, or is not UTF-8.
    """
    if not query:
        return {}
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError as exc:
        raise _query_refused("the query is not percent-encoded UTF-8") from exc
    for name, value in pairs:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise _query_refused(
                f"unknown query parameter `{name[:64]}`; this endpoint takes {takes}"
            )
        if name in found:
            raise _query_refused(f"the query parameter `{name}` stands twice; send one")
        found[name] = value
    return found


def _query_refused(detail: str) -> MalformedRequest:
    return MalformedRequest(Reason.MALFORMED_HTTP, detail)
