"""The tables of a convention file, as TOML gives them: names, types and defaults, nothing else.

`docs/conventions.md` describes every key of these tables, and a test holds the two together.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from appliance.conventions.model import NAME_ID_UNSPECIFIED
from appliance.toml import Duration

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class TraceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trace]`."""

    level: str = "full"
    retention: str = "6y"


class ConventionTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What both roles have."""

    issuer: str
    audience: str
    recipient: str
    levels: tuple[str, ...]
    pagms: tuple[str, ...]
    model: str = "A"
    environment: str = "production"
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    attributes: tuple[str, ...] = ()
    no_user: str = "NON_RENSEIGNE"
    replay: str = "log"
    trace: TraceTable = TraceTable()


class RolloverTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[rollover]]` of a client convention."""

    key: str
    valid_from: Instant


class CallerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[caller]]` of a client convention."""

    names: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    pagms: tuple[str, ...] | None = None


class ReuseTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[reuse]` of a client convention."""

    allowed: bool = False
    margin: Duration = Duration(60)


class SoapTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[soap]` of a client convention."""

    reference: str = "standard"
    timestamp: Duration | None = None
    signed: tuple[str, ...] = ()


class ClientSignatureTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[signature]` of a client convention."""

    algorithm: str = "rsa-sha256"
    variant: str = "A"
    key_info: str = "chain"


class ClientTable(ConventionTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client convention."""

    role: str
    key: str
    rollover: tuple[RolloverTable, ...] = ()
    saml_version: str = "2.0"
    name_id_format: str = NAME_ID_UNSPECIFIED
    confirmation: str | None = None
    id_style: str = "xs-id"
    lifetime: Duration = Duration(3600)
    back_dating: Duration = Duration(10)
    roles: dict[str, tuple[str, ...]] = {}
    caller: tuple[CallerTable, ...] = ()
    reuse: ReuseTable = ReuseTable()
    soap: SoapTable = SoapTable()
    signature: ClientSignatureTable = ClientSignatureTable()


class ProviderSignatureTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[signature]` of a provider convention."""

    sha1: str = "refuse"
    algorithms: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    minimum_rsa_bits: int | None = None


class ProviderSoapTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[soap]` of a provider convention."""

    signed: tuple[str, ...] = ()


class TrustTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trust]` of a provider convention."""

    roots: tuple[Path, ...]
    crl_directory: Path
    certificates: tuple[Path, ...] = ()
    signer_names: tuple[str, ...] = ()
    anchor_names: tuple[str, ...] = ()
    tls_peers: tuple[str, ...] = ()
    crl_grace: Duration = Duration(0)
    crl_warning: Duration = Duration(86400)
    crl_addresses: tuple[str, ...] = ()
    crl_refresh: Duration = Duration(3600)
    ocsp: str | None = None


class ProviderTable(ConventionTable, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider convention."""

    trust: TrustTable
    role: str = "provider"
    saml_versions: tuple[str, ...] = ("1.1", "2.0")
    name_id_formats: tuple[str, ...] = ()
    confirmations: tuple[str, ...] = ()
    id_style: str = "any"
    skew: Duration = Duration(60)
    maximum_lifetime: Duration | None = None
    unknown_pagms: str = "ignore"
    signature: ProviderSignatureTable = ProviderSignatureTable()
    soap: ProviderSoapTable = ProviderSoapTable()


class _AnyTable(msgspec.Struct, frozen=True):
    """A table whose keys are looked at later."""


class EitherTable(msgspec.Struct, frozen=True):
    """Just enough of a file to tell which of the two it is."""

    role: str | None = None
    trust: _AnyTable | None = None
