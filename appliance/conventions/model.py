"""A convention: what two organisations agreed, as values (DOMAIN 9.4). Nothing here reads files or decides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NAME_ID_UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"


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
        key: KeyRef of the signing key.
        signature_algorithm: SignatureMethod URI.
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


@dataclass(frozen=True, slots=True)
class ProviderConvention:
    """We are the provider organisation: we verify the vectors the partner sends.

    Attributes:
        levels: accepted AuthnContextClassRef values.
        pagms: known PAGM codes; others in a vector are ignored as long as one is known (DOMAIN 12, row 15).
        id_style: `uuid` only, `xs-id` only, or `any`.
        skew: seconds of clock difference tolerated at both ends of the validity period.
        maximum_lifetime: longest NotOnOrAfter less NotBefore accepted, seconds; None where the convention sets no limit.
        roots: PEM files of trust anchors.
        crl_directory: PEM or DER CRLs, one for each CA of the path; a missing or stale one refuses.
        certificates: when not empty, PEM files of the only signers accepted.
        allow_sha1: legacy: RSA-SHA1, SHA-1 digests and SHA-1 certificates are accepted and flagged in the trace.
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


Convention = ClientConvention | ProviderConvention
