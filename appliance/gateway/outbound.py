"""Outbound: a plain message of an application of ours becomes one with a vector at the partner.

Read `Outbound.handle` from top to bottom: route, message, person, vector, partner, answer. Promises that a message leaves only with a
vector whose trace is durable, that what is said of the person locally never leaves, and that every refusal reaches the application
as a fault.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from appliance.errors import (
    ApplianceError,
    MalformedRequest,
    Reason,
    ResourceUnknown,
    internal_error,
)
from appliance.gateway.bodies import Intake, is_gzip
from appliance.gateway.checks import read_operation
from appliance.gateway.connection import Fields
from appliance.gateway.description import (
    Described,
    describe,
    is_description,
    not_allowed,
    read_queries,
)
from appliance.gateway.exchange import InlineRequest, Reply
from appliance.gateway.fields import every, first, plain_name, request_fields, with_query
from appliance.gateway.forward import Outgoing, exchange
from appliance.gateway.head import check_head, read_action
from appliance.gateway.messages import InlineMessage, MessageLimits, read_message
from appliance.gateway.passage import Noting, count, is_message_refused, refuse
from appliance.gateway.pool import PartnerPool
from appliance.gateway.refusals import guess_version
from appliance.gateway.spool import MessageSpool, SpoolRoom
from appliance.gateway.tables import OutboundRouteTable
from appliance.native import SoapMessage
from appliance.operations.entries import VectorExchange
from appliance.operations.secure import UNASKED, Existing, SecuredSoap
from appliance.soap.fault import Version
from appliance.vectors.model import IssuedVector, RequestContext, VectorRequest

_SUCCESS: Final = range(200, 300)


class Securing(Protocol):
    """What is needed of `operations.secure`."""

    def signs_body(self, convention: str) -> bool:
        """Tell whether messages of a convention must be held whole."""

    async def secure(
        self,
        message: SoapMessage,
        request: VectorRequest,
        context: RequestContext,
        existing: Existing,
        announce: Callable[[IssuedVector], None],
    ) -> SecuredSoap:
        """Put a vector into a message, its trace durable; the vector is announced before the message takes it."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every route of a listener works with."""

    secure: Securing
    answered: Noting
    room: SpoolRoom
    pools: Mapping[str, PartnerPool]


class OutboundRoute:
    """One way out."""

    def __init__(self, table: OutboundRouteTable) -> None:
        self.table: Final = table
        self.operation: Final = table.operation and read_operation(table.operation)
        self.target: Final = (table.target or table.path).encode("ascii")
        self.queries: Final = read_queries(table.queries)
        self.label: Final = f"{table.path} {table.convention}"
        local = (table.subject_header if table.subject == "header" else None, table.roles_header)
        self.local_fields: Final = frozenset(
            plain_name(name.encode("ascii")) for name in local if name is not None
        )

    def __repr__(self) -> str:
        return f"OutboundRoute({self.label} → {self.table.partner})"

    def takes(self, action: str | None, operation: tuple[str, str] | None) -> bool:
        """Tell whether a message on its path is its."""
        wanted = self.table.soap_action
        return (wanted is None or wanted == action) and (
            self.operation is None or self.operation == operation
        )

    def read_request(self, fields: Fields, soap: SoapMessage) -> VectorRequest:
        """Say for whom the vector is, by what the route trusts.

        Raises:
            MalformedRequest: nobody is named where somebody should be.
        """
        table = self.table
        roles = table.roles
        if table.roles_header is not None:
            named = every(fields, table.roles_header.lower().encode("ascii"))
            roles = (*roles, *(_text(table.roles_header, each) for each in named))
        return VectorRequest(
            convention=table.convention,
            subject=self._read_subject(fields, soap),
            pagms=table.pagms,
            roles=tuple(dict.fromkeys(roles)),
        )

    def _read_subject(self, fields: Fields, soap: SoapMessage) -> str | None:
        table = self.table
        if table.subject == "header":
            values = [v for n, v in fields if n == table.subject_header.lower().encode("ascii")]
            if len(values) != 1:
                raise MalformedRequest(
                    Reason.USERNAME_MISSING,
                    f"the field {table.subject_header} must name the user, once",
                )
            return _text(table.subject_header, values[0])
        if table.subject == "username-token":
            if not soap.username:
                raise MalformedRequest(
                    Reason.USERNAME_MISSING, "the message has no wsse:UsernameToken with a Username"
                )
            return soap.username
        return None


class Outbound:
    """A listener's way out; immutable, replaced whole on reload."""

    def __init__(
        self, routes: Sequence[OutboundRoute], means: Means, limits: MessageLimits
    ) -> None:
        self._limits: Final = limits
        self._means: Final = means
        by_path: defaultdict[str, list[OutboundRoute]] = defaultdict(list)
        for route in routes:
            by_path[route.table.path].append(route)
        self._by_path: Final = dict(by_path)
        self._ours: Final = frozenset[bytes]().union(*(route.local_fields for route in routes))

    def __repr__(self) -> str:
        return f"Outbound({list(self._by_path.values())})"

    async def handle(self, request: InlineRequest, reply: Reply) -> None:
        """Answer one request, whatever comes."""
        ours = self._ours | _shown_key(request)
        passage = _Passage(request, reply, self._means, self._limits, ours)
        try:
            routes = self._find(request)
            if request.method == "GET":
                table, pool = routes[0].table, self._pool(routes[0])
                described = Described(table.path, routes[0].target, pool, ours)
                await describe(request, reply, described)
                return
            await passage.go(routes)
        except ApplianceError as error:
            await passage.refuse(error)
        except Exception as exc:  # noqa: BLE001 - where every failure becomes an answer
            await passage.refuse(internal_error(exc))

    def _find(self, request: InlineRequest) -> list[OutboundRoute]:
        """Return the routes of a path.

        Raises:
            ResourceUnknown: there is none, or not for this method.
        """
        routes = self._by_path.get(request.path)
        if routes is None:
            raise ResourceUnknown(Reason.NOT_FOUND, "no route has this path")
        if request.method == "GET" and is_description(request.query):
            return routes
        fitting = [route for route in routes if request.query in route.queries]
        if request.method != "POST" or not fitting:
            raise not_allowed()
        return fitting

    def _pool(self, route: OutboundRoute) -> PartnerPool:
        return self._means.pools[route.table.partner]


class _Passage:
    """One message on its way out, and how far it has come."""

    def __init__(
        self,
        request: InlineRequest,
        reply: Reply,
        means: Means,
        limits: MessageLimits,
        ours: frozenset[bytes],
    ) -> None:
        self._ours: Final = ours
        self._limits: Final = limits
        self._request: Final = request
        self._reply: Final = reply
        self._means: Final = means
        self._content_type: Final = first(request.fields, b"content-type") or b""
        self._version: Version = guess_version(self._content_type)
        self._route: OutboundRoute | None = None
        self._is_asked = False
        self._sent: VectorExchange | None = None

    async def go(self, routes: Sequence[OutboundRoute]) -> None:
        means = self._means
        with means.room.open(self._request.context.caller.name) as spool:
            route, outgoing = await self._secure(routes, spool)
            spool.let_go()
            status = await exchange(means.pools[route.table.partner], outgoing, self._reply)
        count("outbound", route.label, "answered")
        if status not in _SUCCESS and self._sent is not None:
            means.answered.note(self._sent, self._request.context, status)

    async def _secure(
        self, routes: Sequence[OutboundRoute], spool: MessageSpool
    ) -> tuple[OutboundRoute, Outgoing]:
        """Read a message, and give it its vector."""
        request, means = self._request, self._means
        check_head(request.fields, self._ours)
        coding = first(request.fields, b"content-encoding")
        intake = Intake(request.inflow, coding, self._limits.body)
        message = await read_message(intake, self._content_type, self._limits)
        self._version = "1.2" if message.version == "1.2" else "1.1"
        action = read_action(request.fields, message.version)
        route = self._route = self._choose(routes, message, action)
        if means.secure.signs_body(route.table.convention):
            message = await message.held(spool, self._limits)
        asked = route.read_request(request.fields, message.soap)
        self._is_asked = True
        secured = await means.secure.secure(
            message.soap,
            asked,
            request.context,
            route.table.existing,
            lambda issued: self._note(issued, route),
        )
        sent = message.sent(secured.message)
        return route, Outgoing(
            b"POST",
            with_query(route.target, request.query),
            request_fields(request.fields, self._ours, request.context.request_id),
            sent.first,
            sent.rest and sent.rest(),
            is_gzip=is_gzip(coding),
        )

    def _note(self, issued: IssuedVector, route: OutboundRoute) -> None:
        """From now on whatever becomes of the message is traced with its vector."""
        self._sent = _exchange_of(issued, route.table.partner)

    def _choose(
        self, routes: Sequence[OutboundRoute], message: InlineMessage, action: str | None
    ) -> OutboundRoute:
        fitting = [route for route in routes if route.takes(action, message.operation)]
        if not fitting:
            raise ResourceUnknown(
                Reason.NOT_FOUND, "no route of this path has this SOAPAction and operation"
            )
        return max(
            fitting,
            key=lambda route: (
                route.operation is not None,
                route.table.soap_action is not None,
            ),
        )

    async def refuse(self, error: ApplianceError) -> None:
        """Tell the application, log and trace; cut off an answer that has begun."""
        request, route, answered = self._request, self._route, self._means.answered
        if self._sent is not None:
            answered.note(self._sent, request.context, error.reason)
        elif is_message_refused(error, request) and not self._is_traced(error):
            path, convention = (route.table.path, route.table.convention) if route else ("", None)
            answered.note_refusal(request.context, error.reason, path, convention)
        await refuse(
            error,
            request,
            self._reply,
            version=self._version,
            direction="outbound",
            route=route.label if route else "",
        )

    def _is_traced(self, error: ApplianceError) -> bool:
        """Tell whether the refusal is that of a vector, which stands in the trace already."""
        return self._is_asked and error.reason not in UNASKED


def _exchange_of(issued: IssuedVector, partner: str) -> VectorExchange:
    unsigned = issued.vector.unsigned
    stated = unsigned.request
    return VectorExchange(stated.convention, stated.issuer, unsigned.assertion_id, partner)


def _shown_key(request: InlineRequest) -> frozenset[bytes]:
    """A key that was shown to us is no affair of the partner's."""
    return frozenset({b"authorization"}) if request.context.caller.kind == "key" else frozenset()


def _text(name: str, value: bytes) -> str:
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedRequest(
            Reason.MALFORMED_HTTP,
            f"the field {name} is not UTF-8; what is not ASCII may be percent-encoded",
        ) from exc
