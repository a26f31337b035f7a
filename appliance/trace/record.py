"""One traced event: the fields of DOMAIN 8.4, as one JSON object of at most 65,535 octets.

The schema is versioned, written out in `docs/trace-entry.schema.json`, and validated where entries are written and where a log is
verified. What tells of a person is marked `x-personal` there; the convention says how much of it is kept (`appliance.trace.privacy`).
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from appliance.errors import Reason, RequestTooLarge

MAX_ENTRY_OCTETS: Final = 65_535
SCHEMA_VERSION: Final = 1

Event = Literal[
    "created",
    "reused",
    "message-signed",
    "request-refused",
    "received",
    "answered",
    "refusals-summarised",
    "log-opened",
    "log-closed",
    "entries-purged",
    "log-present",
    "service-started",
    "service-stopped",
    "reloaded",
    "reload-refused",
    "key-in-service",
    "convention-in-force",
    "convention-withdrawn",
    "key-usage",
    "login-failed",
    "lane-ended",
    "worker-ended",
]
TraceLevel = Literal["full", "pseudonymous", "minimal"]

_Personal = Annotated[str, Meta(extra_json_schema={"x-personal": True})]
_Instant = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$",
        extra_json_schema={"format": "date-time"},
    ),
]
_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Receipt(msgspec.Struct, frozen=True):
    """Proof that an entry is durable: the log it stands in and its position there, from 0."""

    log: str
    index: int


class TraceEntry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="version",
    tag=SCHEMA_VERSION,
):
    """What happened, to which vector, for whom. Absent facts are left out of the JSON; `version` never is.

    Attributes:
        event: `created` and `reused` (we issued), `message-signed` (parts of a message beside the vector), `request-refused` (we would not), `received` (with a verdict),
            `answered` (what came back on a vector's message, or why nothing did),
            `refusals-summarised` (so many more refusals to one peer); of the log itself `log-opened`, `log-closed`,
            `entries-purged`; the others are the appliance's own.
        time: xs:dateTime, UTC.
        caller, peer, tls_peer: our API's authenticated caller, its address, and the fingerprint of its TLS certificate.
        subject, name_id: personal: the user as the caller named it, and NameID as written or received.
        personal: how the personal fields are kept where that is not `full`: `pseudonymous` (keyed hash) or `minimal` (left out).
        assertion_sha256, certificate_sha256, chain_sha256, key_sha256: lower-case hexadecimal; the signed assertion, the
            signer's DER certificate, the others that came with it, the signing key's SubjectPublicKeyInfo.
        issue_instant, authn_instant, not_before, not_on_or_after: as the vector states them, octet for octet.
        verdict, fault, rule, reason: of a `received` or refused event; `fault` is the QName of DOMAIN 7, `rule` the check that
            failed, `reason` ours.
        status: of `answered`: the HTTP status; absent where no answer came, and `reason` says why.
        legacy_sha1: the signature or the chain relies on SHA-1.
        crl_sha256, crl_in_grace, ocsp: of an accepted vector: the CRLs that vouched for its signer and the CAs above, lower-case
            hexadecimal, that of the signer's issuer first; whether one was past its next update; the OCSP responder that said good.
        replayed: the vector came before.
        creation_log, creation_index: of a `reused` event: where the vector's creation stands, which says the rest; `issuer` is repeated for the join with the partner's trace (an early entry may lack it).
        origin, audit_key, checkpoint: of `log-opened`: the log's origin line, the verifier key that signs every checkpoint that
            covers the entry until the next of its kind, and the checkpoint that stood when the log was opened, if one did.
        log, minimum_index: of `entries-purged`: entries below the index are no longer kept, `audit_key` is in force there; of `log-present`: which log is there.
        count, since: of `refusals-summarised`: how many refusals from then on stand in no entry of their own.
        signatures, proofs: of `key-usage`: how often `key` has signed in the token `component` since the home was made, by the lanes'
            own count, and how many of those only proved the key.
        component, sha256, detail: of the appliance's own events: what they are about, the digest of a file, a sentence.
    """

    event: Event
    time: _Instant
    request_id: str | None = None
    caller: str | None = None
    peer: str | None = None
    tls_peer: _Sha256 | None = None
    convention: str | None = None
    assertion_id: str | None = None
    assertion_sha256: _Sha256 | None = None
    issuer: str | None = None
    audience: str | None = None
    recipient: str | None = None
    service: str | None = None
    subject: _Personal | None = None
    name_id: _Personal | None = None
    personal: Literal["pseudonymous", "minimal"] | None = None
    pagms: tuple[str, ...] = ()
    level: str | None = None
    issue_instant: str | None = None
    authn_instant: str | None = None
    not_before: str | None = None
    not_on_or_after: str | None = None
    key: str | None = None
    key_sha256: _Sha256 | None = None
    certificate_sha256: _Sha256 | None = None
    chain_sha256: tuple[_Sha256, ...] = ()
    algorithm: str | None = None
    verdict: Literal["accepted", "refused"] | None = None
    fault: str | None = None
    rule: str | None = None
    reason: str | None = None
    status: Annotated[int, Meta(ge=100, le=999)] | None = None
    legacy_sha1: bool = False
    crl_sha256: tuple[_Sha256, ...] = ()
    crl_in_grace: bool = False
    ocsp: str | None = None
    origin: str | None = None
    audit_key: str | None = None
    checkpoint: str | None = None
    log: str | None = None
    minimum_index: Annotated[int, Meta(ge=0)] | None = None
    count: Annotated[int, Meta(ge=1)] | None = None
    since: _Instant | None = None
    component: str | None = None
    sha256: _Sha256 | None = None
    detail: str | None = None
    replayed: bool = False
    creation_log: str | None = None
    creation_index: Annotated[int, Meta(ge=0)] | None = None
    signatures: Annotated[int, Meta(ge=0)] | None = None
    proofs: Annotated[int, Meta(ge=0)] | None = None


REQUIRED: Final[Mapping[Event, tuple[str, ...]]] = {
    "created": (
        *("request_id", "caller", "peer", "convention", "assertion_id", "assertion_sha256"),
        *("issuer", "audience", "recipient", "pagms", "level", "issue_instant", "not_before"),
        *("not_on_or_after", "key", "certificate_sha256", "algorithm"),
    ),
    "reused": ("request_id", "caller", "peer", "convention", "assertion_id"),
    "message-signed": ("request_id", "caller", "peer", "convention", "assertion_id", "key"),
    "request-refused": ("request_id", "caller", "peer", "verdict", "reason"),
    "received": ("request_id", "caller", "peer", "verdict"),
    "answered": ("request_id", "caller", "peer", "convention", "issuer", "assertion_id"),
    "refusals-summarised": ("peer", "count", "since"),
    "log-opened": ("origin", "audit_key"),
    "log-closed": ("origin",),
    "entries-purged": ("log", "minimum_index", "audit_key"),
    "log-present": ("log",),
    "service-started": (),
    "service-stopped": (),
    "reloaded": (),
    "reload-refused": ("detail",),
    "key-in-service": ("key", "certificate_sha256"),
    "convention-in-force": ("convention", "sha256"),
    "convention-withdrawn": ("convention",),
    "key-usage": ("component", "key", "signatures", "proofs"),
    "login-failed": ("component", "reason"),
    "lane-ended": ("component",),
    "worker-ended": ("component",),
}
"""Fields that an event cannot be without, besides `version`, `event` and `time`."""

_STATED: Final[Mapping[Event, Callable[[TraceEntry], tuple[object, ...]]]] = {
    event: attrgetter("event", "time", *fields) for event, fields in REQUIRED.items()
}
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(TraceEntry)


class EntryInvalid(Exception):
    """Octets are no entry of a version we know; the text says what is wrong."""


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
        EntryInvalid: the octets are no entry, or lack what its event cannot be without.
    """
    try:
        entry = _DECODER.decode(octets)
        if (
            _ENCODER.encode(entry) != octets
        ):  # ours are; of another writer's, see what the decoder lets pass
            _check_form(octets)
        for instant in (entry.time, entry.since):
            if instant is not None:
                datetime.fromisoformat(instant)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise EntryInvalid(str(exc)) from exc
    if None in _STATED[entry.event](entry):
        absent = next(name for name in REQUIRED[entry.event] if getattr(entry, name) is None)
        raise EntryInvalid(f"an entry `{entry.event}` without `{absent}`")
    return entry


def _check_form(octets: bytes) -> None:
    """Refuse what JSON decoders pass over: octets around the object, line breaks, a repeated name; and an entry without a version.

    Raises:
        EntryInvalid: it is no single object in one line, of a stated version.
    """
    if octets[:1] != b"{" or octets[-1:] != b"}" or b"\n" in octets or b"\r" in octets:
        raise EntryInvalid("an entry is one JSON object in one line, and nothing around it")
    names = Counter(name for name, _ in json.loads(octets, object_pairs_hook=tuple))
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise EntryInvalid(f"an entry that says `{repeated[0]}` more than once")
    if "version" not in names:
        raise EntryInvalid("an entry without `version`")


def entry_schema() -> dict[str, object]:
    """Return the JSON Schema of an entry, with what each event requires."""
    _, components = msgspec.json.schema_components([TraceEntry])
    schema: dict[str, object] = dict(components["TraceEntry"])
    per_event = [
        {
            "if": {"properties": {"event": {"const": event}}},
            "then": {"required": [name for name in fields if name != "pagms"]},
        }
        for event, fields in REQUIRED.items()
        if fields
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "InterOPS appliance trace entry",
        **{name: value for name, value in schema.items() if name != "title"},
        "allOf": per_event,
    }
