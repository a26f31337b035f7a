"""The gateway's tables of `appliance.toml`, as TOML gives them: names, types and defaults.

`docs/gateway.md` describes every key of these tables, and a test holds the two together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.toml import Duration, Size

Count = Annotated[int, msgspec.Meta(ge=1)]


class PartnerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[partner]]`: the other organisation's front end, as a TLS peer in both directions."""

    name: str
    roots: tuple[Path, ...]
    crl_directory: Path
    crl_grace: Duration = Duration(0)
    certificates: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    server_name: str | None = None
    client_certificates: Path | None = None
    client_key: Path | None = None
    connections: Count = 64
    waiting: Count = 256
    wait: Duration = Duration(2)
    connect: Duration = Duration(5)
    answer: Duration = Duration(60)
    idle: Duration = Duration(15)
    avoid: Duration = Duration(10)


class OutboundRouteTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[outbound.route]]`: which messages get a vector of which convention, and where they go."""

    path: str
    convention: str
    partner: str
    soap_action: str | None = None
    operation: str | None = None
    target: str | None = None
    queries: tuple[str, ...] = ()
    subject: Literal["none", "header", "username-token"] = "none"
    subject_header: str = "X-Subject"
    roles_header: str | None = None
    roles: tuple[str, ...] = ()
    pagms: tuple[str, ...] = ()
    existing: Literal["refuse", "keep", "replace"] = "refuse"


class OutboundTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[outbound]]`: a listener for our applications."""

    name: str
    listen: str
    certificates: Path | None = None
    private_key: Path | None = None
    client_roots: tuple[Path, ...] = ()
    client_crl_directory: Path | None = None
    callers_by_address: Mapping[str, str] = {}
    body_limit: Size = Size(1024**3)
    signed_limit: Size = Size(256 * 1024**2)
    connections: Count = 1000
    connections_per_peer: Count = 100
    route: tuple[OutboundRouteTable, ...] = ()


class InboundRouteTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[inbound.route]]`: what partners may call, by which conventions, and where accepted messages go."""

    path: str
    queries: tuple[str, ...] = ()
    forward: str
    service: str | None = None
    convention: str | None = None
    vector: Literal["strip", "keep"] = "strip"
    identity: Literal["headers", "jwt", "none"] = "headers"
    subject_header: str = "X-Interops-Subject"
    pagm_header: str = "X-Interops-Pagm"
    issuer_header: str = "X-Interops-Issuer"
    assertion_header: str = "X-Interops-Assertion"
    jwt_header: str = "X-Interops-Identity"
    jwt_audience: str | None = None
    jwt_lifetime: Duration = Duration(60)
    jwt_key: Path | None = None
    open_operations: Mapping[str, str] = {}
    forward_roots: tuple[Path, ...] = ()
    forward_in_clear: bool = False
    connections: Count = 64
    waiting: Count = 256
    wait: Duration = Duration(2)
    connect: Duration = Duration(5)
    answer: Duration = Duration(60)
    idle: Duration = Duration(15)


class InboundTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[[inbound]]`: a listener for partners, over mutual TLS."""

    name: str
    listen: str
    certificates: Path
    private_key: Path
    partners: tuple[str, ...]
    body_limit: Size = Size(1024**3)
    signed_limit: Size = Size(256 * 1024**2)
    connections: Count = 1000
    connections_per_peer: Count = 100
    route: tuple[InboundRouteTable, ...] = ()


class GatewayTables(msgspec.Struct, frozen=True):
    """All of them; every path absolute, every name known."""

    partners: tuple[PartnerTable, ...] = ()
    outbound: tuple[OutboundTable, ...] = ()
    inbound: tuple[InboundTable, ...] = ()
