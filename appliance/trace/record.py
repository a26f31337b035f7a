"""One traced event: the fields of DOMAIN 8.4, as one JSON object of at most 65,535 octets."""

from typing import Final, Literal

import msgspec

from appliance.errors import Reason, RequestTooLarge

MAX_ENTRY_OCTETS: Final = 65_535

Event = Literal["created", "reused", "request-refused", "received"]


class Receipt(msgspec.Struct, frozen=True):
    """Proof that an entry is durable: the log it stands in and its position there, from 0."""

    log: str
    index: int


class TraceEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="version", tag=1
):
    """What happened, to which vector, for whom. Absent facts are left out of the JSON; `version` never is.

    Attributes:
        event: `created` and `reused` (we issued), `request-refused` (we would not), `received` (with a verdict).
        time: xs:dateTime, UTC.
        subject: personal: the user as the caller named it, or NameID as received.
        assertion_sha256, certificate_sha256: lower-case hexadecimal; the signed assertion, the signer's DER certificate.
        verdict, fault, reason: of a `received` or refused event; `fault` is the QName of DOMAIN 7, `reason` ours.
        legacy_sha1: the signature or the chain relies on SHA-1.
        replayed: the vector came before.
        creation_log, creation_index: of a `reused` event: where the vector's creation stands, which says the rest.
    """

    event: Event
    time: str
    request_id: str
    caller: str
    peer: str
    convention: str | None = None
    assertion_id: str | None = None
    assertion_sha256: str | None = None
    issuer: str | None = None
    audience: str | None = None
    recipient: str | None = None
    subject: str | None = None
    name_id: str | None = None
    pagms: tuple[str, ...] = ()
    level: str | None = None
    issue_instant: str | None = None
    authn_instant: str | None = None
    not_before: str | None = None
    not_on_or_after: str | None = None
    key: str | None = None
    certificate_sha256: str | None = None
    algorithm: str | None = None
    verdict: Literal["accepted", "refused"] | None = None
    fault: str | None = None
    reason: str | None = None
    legacy_sha1: bool = False
    replayed: bool = False
    creation_log: str | None = None
    creation_index: int | None = None


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(TraceEntry)


def write_entry(entry: TraceEntry) -> bytes:
    """Write one entry as UTF-8 JSON without line breaks; issue calls it before it signs, to learn that the entry will fit.

    Raises:
        RequestTooLarge: the entry passes `MAX_ENTRY_OCTETS`.
    """
    octets = _ENCODER.encode(entry)
    if len(octets) > MAX_ENTRY_OCTETS:
        raise RequestTooLarge(
            Reason.ENTRY_TOO_LARGE,
            f"the trace of this vector would take {len(octets)} octets, at most {MAX_ENTRY_OCTETS} are kept: "
            "shorten the subject or ask for fewer PAGMs",
        )
    return octets


def read_entry(octets: bytes) -> TraceEntry:
    """Read one entry.

    Raises:
        msgspec.MsgspecError: the octets are not an entry.
    """
    return _DECODER.decode(octets)
