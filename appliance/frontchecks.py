"""What no table of the gateway shows alone: routes against the conventions they name, and files against what TLS needs of them.

The supervisor looks before it starts workers and before a reload, so that a mistake is said once, with file, key and what was expected,
and changes nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from appliance.config import Config
from appliance.conventions.model import ClientConvention, ProviderConvention
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.gateway.identity import IdentityWriter
from appliance.gateway.tables import InboundRouteTable, OutboundRouteTable
from appliance.trust.certificates import load_certificates
from appliance.trust.paths import load_pins
from appliance.trust.tls import TlsIdentity, client_context, server_context


def check_fronts(config: Config, registry: Registry) -> None:
    """Check everything the gateway's tables name.

    Raises:
        ConfigurationError: of the first that cannot be used.
    """
    file = str(config.home.config_file)
    for at, table in enumerate(config.gateway.outbound):
        for number, route in enumerate(table.route):
            _check_outbound(file, f"outbound[{at}].route[{number}]", route, registry)
        if table.certificates is not None and table.private_key is not None:
            identity = TlsIdentity(table.certificates, table.private_key)
            server_context(identity, table.client_roots)
    for at, inbound in enumerate(config.gateway.inbound):
        server_context(TlsIdentity(inbound.certificates, inbound.private_key), ())
        for number, way in enumerate(inbound.route):
            _check_inbound(file, f"inbound[{at}].route[{number}]", way, registry)
    for partner in config.gateway.partners:
        load_pins(partner.certificates)
        identity_of_partner = None
        if partner.client_certificates is not None and partner.client_key is not None:
            identity_of_partner = TlsIdentity(partner.client_certificates, partner.client_key)
        client_context(identity_of_partner, partner.roots)


def front_certificates(config: Config) -> Iterator[tuple[str, Path, datetime]]:
    """Yield each certificate that we show in TLS: whose it is, its file, and when it ends.

    Raises:
        ConfigurationError: a file cannot be read.
    """
    gateway = config.gateway
    files = [
        *((f"outbound {table.name}", table.certificates) for table in gateway.outbound),
        *((f"inbound {table.name}", table.certificates) for table in gateway.inbound),
        *((f"partner {partner.name}", partner.client_certificates) for partner in gateway.partners),
    ]
    for name, file in files:
        if file is not None:
            yield name, file, load_certificates(file)[0].not_valid_after_utc


def _check_outbound(file: str, key: str, route: OutboundRouteTable, registry: Registry) -> None:
    convention = registry.find(route.convention)
    if not isinstance(convention, ClientConvention):
        expected = f"the id of a client convention, got `{route.convention}`"
        raise ConfigurationError(file, f"{key}.convention", expected)
    for pagm in route.pagms:
        if pagm not in convention.pagms:
            expected = f"PAGM of `{convention.id}`, got `{pagm}`"
            raise ConfigurationError(file, f"{key}.pagms", expected)
    for role in route.roles:
        if role not in convention.roles:
            expected = f"roles of `{convention.id}`, got `{role}`"
            raise ConfigurationError(file, f"{key}.roles", expected)
    if route.roles_header is not None and not convention.roles:
        expected = f"a convention with `roles`; `{convention.id}` has none"
        raise ConfigurationError(file, f"{key}.roles_header", expected)


def _check_inbound(file: str, key: str, route: InboundRouteTable, registry: Registry) -> None:
    if route.convention is not None:
        convention = registry.find(route.convention)
        if not isinstance(convention, ProviderConvention):
            expected = f"the id of a provider convention, got `{route.convention}`"
            raise ConfigurationError(file, f"{key}.convention", expected)
        if route.service is not None and convention.audience != route.service:
            expected = f"the audience of `{convention.id}`, got `{route.service}`"
            raise ConfigurationError(file, f"{key}.service", expected)
    services = {each.audience for each in registry.providers().all}
    if route.service is not None and route.service not in services:
        expected = f"the audience of a provider convention, got `{route.service}`"
        raise ConfigurationError(file, f"{key}.service", expected)
    IdentityWriter(route)
