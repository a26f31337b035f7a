"""The stages a vector goes through, one type each (DESIGN section 3).

Issue: `VectorRequest → AuthorizedRequest → UnsignedVector → (native) PreparedSignature → SignedVector`.
Verify: `(native) ReceivedAssertion → SignatureClaim → VerifiedOctets → VerifiedVector → AcceptedVector`.

`AuthorizedRequest` and `AcceptedVector` are made only in `conventions/authorize.py`; `SignedVector` and `VerifiedVector` need
an object that only the extension can make. An architecture test holds both rules.

They are msgspec structs: making one costs a tenth of a microsecond, a frozen dataclass two tenths for each field.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from appliance.native import SignedAssertion, VerifiedOctets

CallerKind = Literal["loopback", "unix", "key", "cli", "certificate", "address", "partner"]


class Caller(msgspec.Struct, frozen=True):
    """The authenticated peer of our own socket.

    Attributes:
        name: what the trace calls it: the configured name of a bearer key, `uid:1000`, `loopback`, `cli`, the
            subject of a certificate, what the configuration calls an address, the name of a partner.
        kind: how it was recognised.
        conventions: the conventions it may use; None means all of them.
    """

    name: str
    kind: CallerKind
    conventions: frozenset[str] | None = None


class RequestContext(msgspec.Struct, frozen=True):
    """Who asks, from where, under which request id; travels beside the request and into the trace.

    Attributes:
        tls_certificate: DER, what the peer showed in a TLS handshake; None where there was none.
    """

    request_id: str
    caller: Caller
    peer: str
    tls_certificate: bytes | None = None


class VectorRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/vectors` as decoded (CONTRACT 3); without `subject` the vector is for the application itself."""

    convention: str
    subject: str | None = None
    pagms: tuple[str, ...] = ()
    authn_context: str | None = None
    authn_instant: str | None = None
    attributes: Mapping[str, tuple[str, ...]] = msgspec.field(
        default_factory=dict[str, tuple[str, ...]]
    )
    reuse: bool | None = None
    roles: tuple[str, ...] = ()


class AuthorizedRequest(msgspec.Struct, frozen=True):
    """What the convention lets this caller state; resolved facts, no longer the convention.

    Attributes:
        subject: the person as asked, None for the application itself.
        name_id: what NameID will hold (`subject`, or the convention's literal for no user).
        level: AuthnContextClassRef.
        authn_instant: when the user was authenticated; None means at issue.
        lifetime: seconds from issue to NotOnOrAfter.
        back_dating: seconds from NotBefore to issue.
        id_style: `uuid` (bare) or `xs-id` (`_` + UUID).
        key: the KeyRef that signs.
        signature_algorithm: SignatureMethod URI.
        confirmation: the method of SubjectConfirmation, by its last word.
        variant: `A` or `B` of DOMAIN 2.4.
        key_info: the signer's certificate alone, or its whole chain.
        reuse: whether a vector that states the same will do, `reuse_margin` seconds before its end at the latest.
        convention_sha256: of everything the convention says; another one, and no earlier vector will do.
    """

    convention: str
    issuer: str
    audience: str
    recipient: str
    subject: str | None
    name_id: str
    name_id_format: str
    pagms: tuple[str, ...]
    level: str
    authn_instant: datetime | None
    attributes: Mapping[str, tuple[str, ...]]
    lifetime: float
    back_dating: float
    id_style: Literal["uuid", "xs-id"]
    key: str
    signature_algorithm: str
    saml_version: Literal["1.1", "2.0"] = "2.0"
    confirmation: Literal["bearer", "sender-vouches"] = "bearer"
    variant: Literal["A", "B"] = "A"
    key_info: Literal["chain", "leaf"] = "chain"
    reuse: bool = False
    reuse_margin: float = 0.0
    convention_sha256: str = ""


class UnsignedVector(msgspec.Struct, frozen=True):
    """An authorised request with its identifier and instants (xs:dateTime, UTC, `Z`)."""

    request: AuthorizedRequest
    assertion_id: str
    issue_instant: str
    not_before: str
    not_on_or_after: str
    authn_instant: str


class SignedVector(msgspec.Struct, frozen=True):
    """A vector complete and checked, not yet traced."""

    unsigned: UnsignedVector
    assertion: SignedAssertion


class Receipt(Protocol):
    """Proof that a vector's trace is durable, as `trace.record` gives it: the name of the log and the position in it."""

    @property
    def log(self) -> str:
        """Name of the log."""

    @property
    def index(self) -> int:
        """Position in the log, from 0."""


class IssuedVector(msgspec.Struct, frozen=True):
    """A signed vector whose trace is durable: it may leave."""

    vector: SignedVector
    receipt: Receipt
    reused: bool = False


class VerifiedVector(msgspec.Struct, frozen=True):
    """What the verified octets state; instants are read and have a time zone.

    Attributes:
        octets: where every other field comes from.
        confirmation_methods: Method of every SubjectConfirmation, in document order.
        confirmation_not_before, confirmation_not_on_or_after: of SubjectConfirmationData, None where not stated.
        pagm_attributes: how many Attribute elements are named PAGM.
        certificates: DER, signer first, as the message brought them.
        variant: `A` or `B` of DOMAIN 2.4.
    """

    octets: VerifiedOctets
    assertion_id: str
    issue_instant: str
    issuer: str
    name_id: str | None
    name_id_format: str | None
    confirmation_methods: tuple[str, ...]
    confirmation_not_before: datetime | None
    confirmation_not_on_or_after: datetime | None
    recipient: str | None
    audiences: tuple[str, ...]
    not_before: datetime
    not_on_or_after: datetime
    authn_instant: str | None
    level: str | None
    pagm_attributes: int
    pagms: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    signature_algorithm: str
    digest_algorithm: str
    variant: str
    certificates: tuple[bytes, ...]
    saml_version: Literal["1.1", "2.0"] = "2.0"

    def __repr__(self) -> str:
        return f"VerifiedVector({self.assertion_id!r} of {self.issuer!r})"


class AcceptedVector(msgspec.Struct, frozen=True):
    """A verified vector that the convention accepts.

    Attributes:
        subject: NameID; None where it is the convention's literal for no user.
        pagms: those the convention knows.
        attributes: those the convention declares.
        replay: what the convention does about a vector that comes twice.
    """

    vector: VerifiedVector
    convention: str
    subject: str | None
    pagms: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    legacy_sha1: bool
    replay: Literal["off", "log", "refuse"]
