"""The gateway's listeners, from the configuration: sockets for the supervisor; servers, routes and pools for each worker.

Promises that a reload takes all routes, partners and certificates or none, and leaves alone what is under way. The listeners
themselves are those of the start.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from appliance.clock import Clock
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.gateway.checks import UNIX, read_address
from appliance.gateway.identity import identity_names
from appliance.gateway.inbound import Inbound, InboundMeans, InboundRoute
from appliance.gateway.messages import MessageLimits
from appliance.gateway.outbound import Means, Outbound, OutboundRoute
from appliance.gateway.pool import Endpoint, PartnerPool, PoolSettings
from appliance.gateway.spool import SpoolRoom
from appliance.gateway.tables import InboundRouteTable, InboundTable, OutboundTable, PartnerTable
from appliance.operations.answered import AnsweredOperation
from appliance.parts import Core, Ground, build_callers
from appliance.server.admission import Admission
from appliance.server.front import FrontServer
from appliance.server.inline import InlineApplication, LocalCallers, PartnerCallers
from appliance.server.listener import listen_tcp, listen_unix
from appliance.server.settings import ServerSettings
from appliance.trust.names import NamePattern
from appliance.trust.paths import PartnerTrust, TrustSettings, load_pins
from appliance.trust.revocation import CrlDirectories
from appliance.trust.tls import TlsIdentity, TlsPeers, client_context, server_context
from appliance.trust.watch import WatchedDirectory
from appliance.vectors.identifiers import new_uuid

_CRL_WARNING: Final = 86400.0
_SWEEP_EVERY: Final = 5.0
_HTTP: Final = 80
_HTTPS: Final = 443


def open_fronts(config: Config) -> list[socket.socket]:
    """Listen wherever the gateway does, in the order of the file.

    Raises:
        ConfigurationError: an address is taken.
    """
    sockets: list[socket.socket] = []
    for name, where in _listeners(config):
        try:
            sockets.append(_listen(config, where))
        except OSError as exc:
            raise ConfigurationError(
                str(config.home.config_file),
                f"{name}: listen",
                f"a free address, {where}: {exc.strerror or exc}",
            ) from exc
    return sockets


def _listeners(config: Config) -> list[tuple[str, str]]:
    """Name every listener with where it listens; outbound first, each in the order of the file."""
    gateway = config.gateway
    return [
        *((f"outbound `{table.name}`", table.listen) for table in gateway.outbound),
        *((f"inbound `{table.name}`", table.listen) for table in gateway.inbound),
    ]


def _listen(config: Config, where: str) -> socket.socket:
    if where.startswith(UNIX):
        return listen_unix(config.home.root / where.removeprefix(UNIX))
    address = read_address(where)
    if address is None:
        raise OSError(f"no address: {where}")
    return listen_tcp(*address)


@dataclass(frozen=True, slots=True)
class Front:
    """What one listener serves with."""

    application: InlineApplication
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything that a reload replaces."""

    fronts: tuple[Front, ...]
    pools: tuple[PartnerPool, ...]
    watched: tuple[WatchedDirectory, ...]


class Gateway:
    """The gateway of one worker.

    Attributes:
        servers: one a listener.
    """

    def __init__(self, ground: Ground, core: Core, sockets: Sequence[socket.socket]) -> None:
        """Make the servers.

        Raises:
            ConfigurationError: a file that a table names cannot be used.
        """
        self._ground: Final = ground
        self._core: Final = core
        self._directories: Final = CrlDirectories()
        self._room: Final = SpoolRoom(ground.config.home.messages)
        self._current = self.load(ground.config)
        tables: tuple[OutboundTable | InboundTable, ...] = (
            *ground.config.gateway.outbound,
            *ground.config.gateway.inbound,
        )
        self.servers: Final = [
            FrontServer(
                table.name,
                front.application,
                listener,
                Admission(_settings(ground.config, table)),
                front.tls,
            )
            for table, front, listener in zip(tables, self._current.fronts, sockets, strict=True)
        ]

    def __repr__(self) -> str:
        return f"Gateway({self.servers})"

    def load(self, config: Config) -> Generation:
        """Read all files that the tables name; may run in a thread, beside the messages in line.

        Raises:
            ConfigurationError: one cannot be used, or the listeners are others than at the start.
        """
        if _listeners(config) != _listeners(self._ground.config):
            raise ConfigurationError(
                str(config.home.config_file),
                "outbound, inbound",
                "the listeners of the start; others take a restart",
            )
        trusts = {partner.name: self._trust(partner) for partner in config.gateway.partners}
        peers = {
            partner.name: TlsPeers(
                trusts[partner.name], load_pins(partner.certificates), _names(partner)
            )
            for partner in config.gateway.partners
        }
        pools = {
            partner.name: _make_pool(partner, peers[partner.name], self._ground.clock)
            for partner in config.gateway.partners
            if partner.endpoints
        }
        outbound = [self._make_outbound(table, config, pools) for table in config.gateway.outbound]
        inbound = [self._make_inbound(table, config, peers) for table in config.gateway.inbound]
        local = [pool for _, own in inbound for pool in own]
        watched = [*trusts.values(), *(trust for _, trust in outbound if trust is not None)]
        return Generation(
            (*(front for front, _ in outbound), *(front for front, _ in inbound)),
            (*pools.values(), *local),
            tuple(WatchedDirectory(trust.crls, _CRL_WARNING) for trust in watched),
        )

    def _make_outbound(
        self, table: OutboundTable, config: Config, pools: Mapping[str, PartnerPool]
    ) -> tuple[Front, PartnerTrust | None]:
        ground = self._ground
        answered = AnsweredOperation(ground.trace, ground.clock)
        means = Means(self._core.secure, answered, self._room, pools)
        limits = MessageLimits(table.body_limit, table.signed_limit)
        handler = Outbound([OutboundRoute(route) for route in table.route], means, limits)
        networks = {ip_network(text): name for text, name in table.callers_by_address.items()}
        tls = None
        if table.certificates is not None and table.private_key is not None:
            identity = TlsIdentity(table.certificates, table.private_key)
            tls = server_context(identity, table.client_roots)
        trust, certified = self._client_trust(table), None
        if trust is not None:
            certified = PartnerCallers({table.name: TlsPeers(trust, frozenset(), ())}, ground.clock)
        callers = LocalCallers(build_callers(config), networks, certified)
        return Front(InlineApplication(handler, callers), tls), trust

    def _make_inbound(
        self, table: InboundTable, config: Config, peers: Mapping[str, TlsPeers]
    ) -> tuple[Front, list[PartnerPool]]:
        ground = self._ground
        # An application may be behind several listeners: none lets in what any other writes.
        names = identity_names(route for other in config.gateway.inbound for route in other.route)
        means = InboundMeans(
            verify=self._core.verify,
            answered=AnsweredOperation(ground.trace, ground.clock),
            room=self._room,
            limits=MessageLimits(table.body_limit, table.signed_limit),
            names=names,
            now=ground.clock.now,
            new_uuid=new_uuid,
        )
        pools = [_make_local_pool(route, ground.clock) for route in table.route]
        routes = [
            InboundRoute(route, pool, urlsplit(route.forward).path or "/", names)
            for route, pool in zip(table.route, pools, strict=True)
        ]
        partners = [each for each in config.gateway.partners if each.name in table.partners]
        roots = dict.fromkeys(root for partner in partners for root in partner.roots)
        tls = server_context(TlsIdentity(table.certificates, table.private_key), tuple(roots))
        callers = PartnerCallers({name: peers[name] for name in table.partners}, ground.clock)
        return Front(InlineApplication(Inbound(routes, means), callers), tls), pools

    def commit(self, generation: Generation) -> None:
        """Serve with another generation from now on."""
        before = self._current
        for server, front, old in zip(self.servers, generation.fronts, before.fronts, strict=True):
            server.tls = front.tls
            old.application.handler = front.application.handler
            old.application.callers = front.application.callers
        self._current = Generation(before.fronts, generation.pools, generation.watched)
        for pool in before.pools:
            pool.close()

    def watched(self) -> Iterator[WatchedDirectory]:
        """Return the CRL directories of partners and applications."""
        return iter(self._current.watched)

    async def sweep(self) -> None:
        """Close connections that nobody uses any more, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            for pool in self._current.pools:
                pool.close_idle(older_than=pool.settings.idle)

    def _trust(self, partner: PartnerTable) -> PartnerTrust:
        settings = TrustSettings(
            roots=partner.roots,
            crl_directory=partner.crl_directory,
            allow_sha1=False,
            crl_grace=partner.crl_grace,
        )
        return PartnerTrust(settings, self._directories)

    def _client_trust(self, table: OutboundTable) -> PartnerTrust | None:
        """Say by which CRLs certificates of applications count; None where the table names none."""
        if table.client_crl_directory is None:
            return None
        settings = TrustSettings(
            roots=table.client_roots, crl_directory=table.client_crl_directory, allow_sha1=False
        )
        return PartnerTrust(settings, self._directories)


def _make_pool(partner: PartnerTable, peers: TlsPeers, clock: Clock) -> PartnerPool:
    identity = None
    if partner.client_certificates is not None and partner.client_key is not None:
        identity = TlsIdentity(partner.client_certificates, partner.client_key)
    settings = PoolSettings(
        connections=partner.connections,
        waiting=partner.waiting,
        wait=partner.wait,
        connect=partner.connect,
        answer=partner.answer,
        idle=partner.idle,
        avoid=partner.avoid,
    )
    endpoints = [_read_endpoint(text, partner.server_name) for text in partner.endpoints]
    context = client_context(identity, partner.roots)
    return PartnerPool(partner.name, endpoints, settings, (context, peers), clock.now)


def _make_local_pool(route: InboundRouteTable, clock: Clock) -> PartnerPool:
    """Make the connections to an application of ours; over TLS its certificate must be for its host, under the route's roots."""
    url = urlsplit(route.forward)
    host, is_tls = url.hostname or "", url.scheme == "https"
    port = url.port or (_HTTPS if is_tls else _HTTP)
    settings = PoolSettings(
        connections=route.connections,
        waiting=route.waiting,
        wait=route.wait,
        connect=route.connect,
        answer=route.answer,
        idle=route.idle,
        avoid=0.0,
    )
    endpoint = Endpoint(host, port, url.netloc, server_name=host if is_tls else None)
    tls = (client_context(None, route.forward_roots), None) if is_tls else None
    return PartnerPool(f"application {route.path}", [endpoint], settings, tls, clock.now)


def _names(partner: PartnerTable) -> list[NamePattern]:
    return [NamePattern.read(text) for text in partner.names]


def _read_endpoint(text: str, server_name: str | None) -> Endpoint:
    """Read an address that the checks have taken."""
    url = urlsplit(text)
    host = url.hostname or ""
    return Endpoint(host, url.port or _HTTPS, url.netloc, url.path, server_name or host)


def _settings(config: Config, table: OutboundTable | InboundTable) -> ServerSettings:
    api = config.api
    return ServerSettings(
        body_limit=table.body_limit,
        header_limit=api.header_limit,
        header_fields=api.header_fields,
        head_timeout=api.head_timeout,
        keep_alive=api.keep_alive,
        connections=table.connections,
        connections_per_peer=table.connections_per_peer,
        drain_timeout=api.drain_timeout,
    )
