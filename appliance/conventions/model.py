"""A convention: what two organisations agreed, as values (DOMAIN 9.4). Nothing here reads files or decides.

Model A only; the models P, S and R will be further values of `model` in the file and classes of their own here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, Literal

from appliance.trust.names import NamePattern

NAME_ID_UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"

Environment = Literal["integration", "production"]
SamlVersion = Literal["1.1", "2.0"]
Confirmation = Literal["bearer", "sender-vouches"]
Variant = Literal["A", "B"]
KeyInfo = Literal["chain", "leaf"]
SoapReference = Literal["standard", "historical", "none"]
SoapPart = Literal["body", "timestamp", "assertion"]
ReplayPolicy = Literal["off", "log", "refuse"]
UnknownPagms = Literal["ignore", "refuse"]
TraceLevel = Literal["full", "pseudonymous", "minimal"]

_OF_TODAY: Final = frozenset({"A"})
_OF_OLD: Final = frozenset({"A", "B"})

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Period:
    """When a convention is in force: from `begins` (included) to `ends` (excluded); None leaves that side open."""

    begins: datetime | None = None
    ends: datetime | None = None

    def covers(self, at: datetime) -> bool:
        """Tell whether the convention is in force at an instant."""
        return (self.begins is None or self.begins <= at) and (self.ends is None or at < self.ends)

    def overlaps(self, other: "Period") -> bool:
        """Tell whether there is an instant at which both are in force."""
        return _precedes(self.begins, other.ends) and _precedes(other.begins, self.ends)


def _precedes(begin: datetime | None, end: datetime | None) -> bool:
    return begin is None or end is None or begin < end


@dataclass(frozen=True, slots=True)
class TracePolicy:
    """How much the trace says of the vectors of a convention, and for how many years it is kept."""

    level: TraceLevel = "full"
    retention: int = 6


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A step of the roll-over list: from `begins` on, `key` signs."""

    key: str
    begins: datetime


@dataclass(frozen=True, slots=True)
class CallerRule:
    """One way in: a caller that matches any of the three may have these PAGMs.

    Attributes:
        names: callers as the trace names them: of a `[[caller]]`, `uid:1000`, `loopback`, `cli`.
        networks: where the caller's address may lie.
        certificates: subjects of TLS client certificates.
        pagms: what it may ask for; None means the whole catalogue.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    certificates: tuple[NamePattern, ...] = ()
    pagms: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ClientConvention:
    """We are the client organisation: we issue vectors to the partner's service.

    Attributes:
        issuer, audience, recipient: opaque strings, written exactly.
        levels: AuthnContextClassRef values that may be stated; the first is the default.
        pagms: the catalogue; only these may be granted.
        attributes: names of further attributes that a request may carry.
        lifetime, back_dating: seconds.
        no_user: NameID of a vector without a user.
        key: KeyRef of the signing key; `rollover` names its successors, in the order of their instants.
        signature_algorithm: SignatureMethod URI; the vector's digest uses the same hash.
        soap_timestamp: seconds that the `wsu:Timestamp` of a message is valid for; None: a message gets none.
        soap_signed: parts of a message that one more signature covers.
        roles: local role → the PAGMs it stands for.
        callers: who may use the convention; empty: whoever `appliance.toml` lets.
        reuse: whether one vector may serve several calls, never in the last `reuse_margin` seconds of its life.
        replay: what the partner does about a vector that comes twice.
    """

    id: str
    issuer: str
    audience: str
    recipient: str
    levels: tuple[str, ...]
    pagms: frozenset[str]
    attributes: frozenset[str]
    id_style: Literal["uuid", "xs-id"]
    name_id_format: str
    no_user: str
    lifetime: float
    back_dating: float
    key: str
    signature_algorithm: str
    environment: Environment = "production"
    period: Period = Period()
    saml_version: SamlVersion = "2.0"
    confirmation: Confirmation = "bearer"
    variant: Variant = "A"
    key_info: KeyInfo = "chain"
    soap_reference: SoapReference = "standard"
    soap_timestamp: float | None = None
    soap_signed: tuple[SoapPart, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    rollover: tuple[KeyChange, ...] = ()
    callers: tuple[CallerRule, ...] = ()
    reuse: bool = False
    reuse_margin: float = 60.0
    replay: ReplayPolicy = "log"
    trace: TracePolicy = TracePolicy()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that signs under the convention, now or later."""
        return (self.key, *(change.key for change in self.rollover))

    def key_at(self, at: datetime) -> str:
        """Return the key that signs at an instant."""
        key = self.key
        for change in self.rollover:
            if at < change.begins:
                break
            key = change.key
        return key


@dataclass(frozen=True, slots=True)
class ProviderConvention:
    """We are the provider organisation: we verify the vectors the partner sends.

    Attributes:
        levels: accepted AuthnContextClassRef values.
        pagms: known PAGM codes.
        id_style: `uuid` only, `xs-id` only, or `any`.
        skew: seconds of clock difference tolerated at both ends of the validity period.
        maximum_lifetime: longest NotOnOrAfter less NotBefore accepted, seconds; None where the convention sets no limit.
        roots: PEM files of trust anchors.
        crl_directory: PEM or DER CRLs, one for each CA of the path; a missing or stale one refuses.
        certificates: when not empty, PEM files of the only signers accepted.
        allow_sha1: legacy: RSA-SHA1, SHA-1 digests and SHA-1 certificates are accepted and flagged in the trace.
        saml_versions, confirmations: accepted shapes.
        variants: accepted shapes of the signature; empty: A, and B too where SHA-1 is allowed.
        name_id_formats: accepted Formats of NameID; empty: any.
        no_user: a NameID of this text means that there is no user.
        attributes: names of the attributes that are passed on; others are ignored.
        signature_algorithms: accepted SignatureMethod URIs; empty: all that are sound.
        minimum_rsa_bits: of every key of the path; None: 2048, or 1024 where SHA-1 is allowed.
        unknown_pagms: `ignore` them as long as one is known (DOMAIN 12, row 15), or `refuse`.
        replay: what is done about a vector that comes twice.
        signer_names, anchor_names: subjects the signer and the trust anchor may have; empty: any.
        tls_peers: subjects the TLS peer may have, where it is known; empty: any.
        crl_grace: seconds for which a CRL still counts after its next update.
        ocsp: address of the OCSP responder that is asked about the signer too; None: CRLs alone.
        crl_addresses: where CRLs are fetched from into `crl_directory`; empty: somebody else puts them there.
        crl_refresh: seconds from one such fetch to the next.
        soap_signed: parts of a message that a signature by the vector's own signer must cover.
        crl_warning: seconds before the next update of a CRL at which the log and `doctor` begin to warn.
    """

    id: str
    issuer: str
    audience: str
    recipient: str
    levels: frozenset[str]
    pagms: frozenset[str]
    id_style: Literal["uuid", "xs-id", "any"]
    skew: float
    maximum_lifetime: float | None
    roots: tuple[Path, ...]
    crl_directory: Path
    certificates: tuple[Path, ...]
    allow_sha1: bool
    environment: Environment = "production"
    period: Period = Period()
    saml_versions: frozenset[str] = frozenset({"1.1", "2.0"})
    confirmations: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {
            "2.0": frozenset({"bearer"}),
            "1.1": frozenset({"bearer", "sender-vouches"}),
        }
    )
    variants: frozenset[str] = frozenset()
    name_id_formats: frozenset[str] = frozenset()
    no_user: str = "NON_RENSEIGNE"
    attributes: frozenset[str] = frozenset()
    signature_algorithms: frozenset[str] = frozenset()
    minimum_rsa_bits: int | None = None
    unknown_pagms: UnknownPagms = "ignore"
    replay: ReplayPolicy = "log"
    signer_names: tuple[NamePattern, ...] = ()
    anchor_names: tuple[NamePattern, ...] = ()
    tls_peers: tuple[NamePattern, ...] = ()
    crl_grace: float = 0.0
    crl_warning: float = 86400.0
    crl_addresses: tuple[str, ...] = ()
    crl_refresh: float = 3600.0
    ocsp: str | None = None
    trace: TracePolicy = TracePolicy()
    soap_signed: frozenset[str] = frozenset()

    @property
    def accepted_variants(self) -> frozenset[str]:
        """The shapes of the signature that are accepted; B is one of old (DOMAIN 2.4)."""
        return self.variants or (_OF_OLD if self.allow_sha1 else _OF_TODAY)


Convention = ClientConvention | ProviderConvention
