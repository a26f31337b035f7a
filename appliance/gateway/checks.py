"""What is checked of the gateway's tables beyond their types; paths are made absolute, nothing that they name is opened.

Every refusal is a `ConfigurationError` with file, key and what was expected.
"""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from appliance.errors import ConfigurationError
from appliance.gateway.tables import (
    GatewayTables,
    InboundRouteTable,
    InboundTable,
    OutboundRouteTable,
    OutboundTable,
    PartnerTable,
)
from appliance.trust.names import NamePattern

UNIX: Final = "unix:"

_LAST_PORT: Final = 65535
_LONGEST_JWT: Final = 60
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PATH: Final = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII)
_QUERY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]+", re.ASCII)
_FIELD: Final = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_OTHERS: Final = frozenset(
    {
        *("content-type", "content-encoding", "content-length", "transfer-encoding", "connection"),
        *("host", "expect", "te", "trailer", "upgrade", "soapaction", "x-request-id"),
    }
)
"""Fields that speak of the message or the connection: none can name a person."""
_OPERATION: Final = re.compile(r"(\{[^{}]*\})?[^{}:\s]+")


def read_operation(text: str) -> tuple[str, str]:
    """Split `{namespace}local`."""
    namespace, _, local = text.removeprefix("{").rpartition("}")
    return namespace, local


def read_address(text: str) -> tuple[str, int] | None:
    """Read `HOST:PORT` or `[HOST]:PORT`; None where it is neither."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
        return None
    return host, int(port)


class GatewayChecks:
    """The checks of one file."""

    def __init__(self, file: Path) -> None:
        self._file: Final = file
        self._home: Final = file.parent

    def check(
        self,
        partners: Sequence[PartnerTable],
        outbound: Sequence[OutboundTable],
        inbound: Sequence[InboundTable],
    ) -> GatewayTables:
        """Check all tables together.

        Raises:
            ConfigurationError: of the first key that cannot be used.
        """
        self._check_once("partner", "name", [partner.name for partner in partners])
        self._check_once("outbound", "name", [table.name for table in outbound])
        self._check_once("outbound", "listen", [table.listen for table in outbound])
        self._check_once("inbound", "name", [table.name for table in inbound])
        taken = [table.listen for table in outbound]
        for at, table in enumerate(inbound):
            if table.listen in taken:
                raise self._refuse(f"inbound[{at}].listen", "an address that no other listens on")
            taken.append(table.listen)
        checked = tuple(
            self._check_partner(f"partner[{at}]", partner) for at, partner in enumerate(partners)
        )
        known = {partner.name: partner for partner in checked}
        return GatewayTables(
            checked,
            tuple(
                self._check_outbound(f"outbound[{at}]", table, known)
                for at, table in enumerate(outbound)
            ),
            tuple(
                self._check_inbound(f"inbound[{at}]", table, known)
                for at, table in enumerate(inbound)
            ),
        )

    def _refuse(self, key: str, expected: str) -> ConfigurationError:
        return ConfigurationError(str(self._file), key, expected)

    def _check_once(self, table: str, key: str, values: Sequence[str]) -> None:
        for at, value in enumerate(values):
            if value in values[:at]:
                raise self._refuse(
                    f"{table}[{at}].{key}", f"a {key} used once, `{value}` stands twice"
                )

    def _check_partner(self, key: str, table: PartnerTable) -> PartnerTable:
        if not table.roots:
            raise self._refuse(f"{key}.roots", "at least one file of trust anchors")
        for at, text in enumerate(table.names):
            try:
                NamePattern.read(text)
            except ValueError as exc:
                expected = f"a whole name such as `CN=*,O=Organisme,C=FR` ({exc})"
                raise self._refuse(f"{key}.names[{at}]", expected) from exc
        for at, endpoint in enumerate(table.endpoints):
            self._check_endpoint(f"{key}.endpoints[{at}]", endpoint)
        self._check_pair(
            key, "client_certificates", table.client_certificates, "client_key", table.client_key
        )
        for name in ("wait", "connect", "answer", "idle"):
            if getattr(table, name) <= 0:
                raise self._refuse(f"{key}.{name}", "more than zero")
        return msgspec.structs.replace(
            table,
            roots=self._absolute(table.roots),
            crl_directory=self._home / table.crl_directory,
            certificates=self._absolute(table.certificates),
            client_certificates=table.client_certificates
            and self._home / table.client_certificates,
            client_key=table.client_key and self._home / table.client_key,
        )

    def _check_endpoint(self, key: str, endpoint: str) -> None:
        expected = f"https://HOST:PORT, or that and the start of a path; got `{endpoint}`"
        try:
            url = urlsplit(endpoint)
            port = url.port
        except ValueError as exc:
            raise self._refuse(key, expected) from exc
        path_fits = not url.path or (_PATH.fullmatch(url.path) and not url.path.endswith("/"))
        if url.scheme != "https" or not url.hostname or port == 0 or not path_fits:
            raise self._refuse(key, expected)
        if url.query or url.fragment or url.username is not None:
            raise self._refuse(key, expected)

    def _check_outbound(
        self, key: str, table: OutboundTable, partners: dict[str, PartnerTable]
    ) -> OutboundTable:
        self._check_pair(key, "certificates", table.certificates, "private_key", table.private_key)
        self._check_listen(f"{key}.listen", table)
        if table.client_roots and table.certificates is None:
            raise self._refuse(f"{key}.client_roots", "`certificates` too: only TLS shows any")
        if table.client_crl_directory is not None and not table.client_roots:
            raise self._refuse(
                f"{key}.client_crl_directory", "`client_roots` too: no other certificates are taken"
            )
        for network, name in table.callers_by_address.items():
            self._check_network(f"{key}.callers_by_address", network, name)
        if table.signed_limit > table.body_limit:
            raise self._refuse(f"{key}.signed_limit", "no more than `body_limit`")
        if not table.route:
            raise self._refuse(f"{key}.route", "at least one [[outbound.route]]")
        keys = [(route.path, route.soap_action, route.operation) for route in table.route]
        for at, route in enumerate(table.route):
            place = f"{key}.route[{at}]"
            if keys[at] in keys[:at]:
                raise self._refuse(place, "another path, soap_action or operation than before it")
            self._check_route(place, route, partners)
        return msgspec.structs.replace(
            table,
            certificates=table.certificates and self._home / table.certificates,
            private_key=table.private_key and self._home / table.private_key,
            client_roots=self._absolute(table.client_roots),
            client_crl_directory=table.client_crl_directory
            and self._home / table.client_crl_directory,
        )

    def _check_listen(self, key: str, table: OutboundTable) -> None:
        if table.listen.startswith(UNIX):
            if table.certificates is not None or table.callers_by_address:
                raise self._refuse(
                    key, "no `certificates` and no `callers_by_address` on a unix socket"
                )
            return
        address = read_address(table.listen)
        if address is None:
            raise self._refuse(key, f"HOST:PORT or unix:PATH, got `{table.listen}`")
        if address[0] not in _LOOPBACK and table.certificates is None:
            raise self._refuse(
                key, f"`certificates` for TLS, or a loopback address; got `{address[0]}`"
            )

    def _check_network(self, key: str, network: str, name: str) -> None:
        try:
            ip_network(network)
        except ValueError as exc:
            raise self._refuse(key, f"networks such as 10.1.0.0/16 ({exc})") from exc
        if not name:
            raise self._refuse(f'{key}."{network}"', "the name of a caller")

    def _check_route(
        self, key: str, route: OutboundRouteTable, partners: dict[str, PartnerTable]
    ) -> None:
        self._check_path(f"{key}.path", route.path)
        self._check_path(f"{key}.target", route.target)
        self._check_queries(key, route.queries)
        if route.operation is not None and _OPERATION.fullmatch(route.operation) is None:
            raise self._refuse(f"{key}.operation", f"{{namespace}}name, got `{route.operation}`")
        partner = partners.get(route.partner)
        if partner is None or not partner.endpoints:
            raise self._refuse(
                f"{key}.partner", f"the name of a [[partner]] with endpoints, got `{route.partner}`"
            )
        names = ("subject_header", "roles_header")
        self._check_fields(key, {name: getattr(route, name) for name in names})
        if route.subject == "username-token" and route.existing != "replace":
            raise self._refuse(
                f"{key}.existing", '"replace": the UsernameToken is ours and must not leave'
            )
        if route.pagms and (route.roles or route.roles_header):
            raise self._refuse(f"{key}.pagms", "either `pagms`, or roles that stand for some")

    def _check_path(self, key: str, path: str | None) -> None:
        if path is not None and _PATH.fullmatch(path) is None:
            raise self._refuse(key, f"a path such as /services/x, got `{path}`")

    def _check_queries(self, key: str, queries: Sequence[str]) -> None:
        for at, query in enumerate(queries):
            if _QUERY.fullmatch(query) is None:
                expected = f"what stands behind `?`, such as service=Droits, got `{query}`"
                raise self._refuse(f"{key}.queries[{at}]", expected)

    def _check_inbound(
        self, key: str, table: InboundTable, partners: Mapping[str, PartnerTable]
    ) -> InboundTable:
        if read_address(table.listen) is None:
            raise self._refuse(f"{key}.listen", f"HOST:PORT, got `{table.listen}`")
        unknown = [name for name in table.partners if name not in partners]
        if unknown or not table.partners:
            got = ", ".join(unknown) or "none"
            raise self._refuse(f"{key}.partners", f"names of [[partner]] tables, got `{got}`")
        if table.signed_limit > table.body_limit:
            raise self._refuse(f"{key}.signed_limit", "no more than `body_limit`")
        if not table.route:
            raise self._refuse(f"{key}.route", "at least one [[inbound.route]]")
        self._check_once(f"{key}.route", "path", [route.path for route in table.route])
        return msgspec.structs.replace(
            table,
            certificates=self._home / table.certificates,
            private_key=self._home / table.private_key,
            route=tuple(
                self._check_inbound_route(f"{key}.route[{at}]", route)
                for at, route in enumerate(table.route)
            ),
        )

    def _check_inbound_route(self, key: str, route: InboundRouteTable) -> InboundRouteTable:
        self._check_path(f"{key}.path", route.path)
        self._check_queries(key, route.queries)
        self._check_forward(key, route)
        names = ("subject_header", "pagm_header", "issuer_header", "assertion_header", "jwt_header")
        self._check_fields(key, {name: getattr(route, name) for name in names})
        if route.identity == "jwt" and (route.jwt_key is None or not route.jwt_audience):
            raise self._refuse(f"{key}.identity", "`jwt_key` and `jwt_audience` beside `jwt`")
        if not 0 < route.jwt_lifetime <= _LONGEST_JWT:
            raise self._refuse(f"{key}.jwt_lifetime", f"{_LONGEST_JWT}s at most, more than zero")
        for operation in route.open_operations:
            if _OPERATION.fullmatch(operation) is None:
                raise self._refuse(
                    f"{key}.open_operations", f"{{namespace}}name, got `{operation}`"
                )
        for name in ("wait", "connect", "answer", "idle"):
            if getattr(route, name) <= 0:
                raise self._refuse(f"{key}.{name}", "more than zero")
        return msgspec.structs.replace(
            route,
            jwt_key=route.jwt_key and self._home / route.jwt_key,
            forward_roots=self._absolute(route.forward_roots),
        )

    def _check_forward(self, key: str, route: InboundRouteTable) -> None:
        """An application of ours: over TLS, or in clear on this machine, or where the file says so by name."""
        expected = f"http://HOST:PORT/PATH or https://…, got `{route.forward}`"
        try:
            url = urlsplit(route.forward)
            port = url.port
        except ValueError as exc:
            raise self._refuse(f"{key}.forward", expected) from exc
        fits = url.scheme in {"http", "https"} and url.hostname and port != 0
        if not fits or not _PATH.fullmatch(url.path or "/") or url.query or url.fragment:
            raise self._refuse(f"{key}.forward", expected)
        if url.scheme == "https" and not route.forward_roots:
            raise self._refuse(f"{key}.forward_roots", "the trust anchors of the application")
        if url.scheme == "http" and url.hostname not in _LOOPBACK and not route.forward_in_clear:
            raise self._refuse(
                f"{key}.forward",
                "https, a loopback address, or `forward_in_clear = true`: what is forwarded names persons",
            )

    def _check_fields(self, key: str, fields: Mapping[str, str | None]) -> None:
        """Header fields, by the keys that name them: each of its own, and free for it."""
        taken: dict[str, str] = {}
        for name, field in fields.items():
            if field is None:
                continue
            if _FIELD.fullmatch(field) is None or field.lower() in _OTHERS:
                raise self._refuse(
                    f"{key}.{name}", f"the name of a header field of its own, got `{field}`"
                )
            other = taken.setdefault(field.lower(), name)
            if other != name:
                raise self._refuse(f"{key}.{name}", f"another field than `{other}`")

    def _check_pair(
        self, key: str, first: str, one: Path | None, second: str, other: Path | None
    ) -> None:
        if (one is None) != (other is None):
            missing = first if one is None else second
            raise self._refuse(f"{key}.{missing}", f"both `{first}` and `{second}`, or neither")

    def _absolute(self, files: Sequence[Path]) -> tuple[Path, ...]:
        return tuple(self._home / file for file in files)
