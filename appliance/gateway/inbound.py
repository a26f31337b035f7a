"""Inbound: a partner's message is judged, and goes on to an application of ours with the verified identity.

Read `_Passage.go` from top to bottom: route, message, vector, application, answer. Promises that nothing reaches the application whose
vector was not accepted and traced, but for operations that the file declares open; that no field which speaks for an identity comes
from outside; and that a refusal is a fault in the message's own version with the code and the sentence of DOMAIN 7.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from appliance.errors import (
    ApplianceError,
    InternalError,
    MalformedRequest,
    Reason,
    ResourceUnknown,
    VectorRefused,
    internal_error,
)
from appliance.gateway.bodies import Intake, is_gzip
from appliance.gateway.description import (
    Described,
    describe,
    is_description,
    not_allowed,
    read_queries,
)
from appliance.gateway.exchange import InlineRequest, Reply
from appliance.gateway.fields import first, request_fields, with_query
from appliance.gateway.forward import Outgoing, exchange
from appliance.gateway.head import check_head, read_action
from appliance.gateway.identity import HeaderFields, IdentityWriter
from appliance.gateway.messages import InlineMessage, MessageLimits, Sent, read_message
from appliance.gateway.openness import OpenOperations
from appliance.gateway.passage import Noting, count, is_message_refused, refuse
from appliance.gateway.pool import PartnerPool
from appliance.gateway.refusals import guess_version
from appliance.gateway.spool import MessageSpool, SpoolRoom
from appliance.gateway.tables import InboundRouteTable
from appliance.native import Limits, SoapMessage, XmlRefused
from appliance.operations.entries import VectorExchange
from appliance.operations.judge import Question
from appliance.operations.secure import malformed
from appliance.operations.verify import Verdict
from appliance.soap.fault import Version
from appliance.vectors.model import AcceptedVector, RequestContext


class Verifying(Protocol):
    """What is needed of `operations.verify`."""

    async def decide(self, question: Question, context: RequestContext) -> Verdict:
        """Decide on a received vector, its trace durable."""

    async def refuse(
        self, refusal: VectorRefused, context: RequestContext, service: str | None
    ) -> Verdict:
        """Record the refusal of a peer whose message is not looked at."""

    def needs_whole(self, convention: str | None, service: str | None) -> bool:
        """Tell whether a message may fall under a convention that has its Body signed."""


@dataclass(frozen=True, slots=True)
class InboundMeans:
    """What every route of a listener works with.

    Attributes:
        names: plain names of the fields that speak for an identity, on whichever route: none comes from outside.
    """

    verify: Verifying
    answered: Noting
    room: SpoolRoom
    limits: MessageLimits
    names: frozenset[bytes]
    now: Callable[[], datetime]
    new_uuid: Callable[[], UUID]


class InboundRoute:
    """One way in.

    Attributes:
        pool: the connections to the application.
        target: the application's path.
        queries: that a message may come with; none is one of them.
        identity: writes who asks.
        open: what needs no vector.
        described: what GET asks for.
    """

    def __init__(
        self, table: InboundRouteTable, pool: PartnerPool, target: str, names: frozenset[bytes]
    ) -> None:
        """Take the route's table; `names` are those of `InboundMeans`.

        Raises:
            ConfigurationError: the key of its JWS cannot be used.
        """
        self.table: Final = table
        self.pool: Final = pool
        self.target: Final = target.encode("ascii")
        self.queries: Final = read_queries(table.queries)
        self.identity: Final = IdentityWriter(table)
        self.open: Final = OpenOperations(table)
        self.described: Final = Described(table.path, self.target, pool, names)

    def __repr__(self) -> str:
        return f"InboundRoute({self.table.path} → {self.table.forward})"


class Inbound:
    """A listener's way in; immutable, replaced whole on reload."""

    def __init__(self, routes: Sequence[InboundRoute], means: InboundMeans) -> None:
        self._routes: Final = {route.table.path: route for route in routes}
        self._means: Final = means

    def __repr__(self) -> str:
        return f"Inbound({list(self._routes.values())})"

    async def handle(self, request: InlineRequest, reply: Reply) -> None:
        """Answer one request, whatever comes."""
        passage = _Passage(request, reply, self._means)
        try:
            route = self._find(request)
            if request.distrust is not None:
                await self._means.verify.refuse(
                    request.distrust, request.context, route.table.service
                )
                raise request.distrust  # noqa: TRY301 - answered as every refusal is
            if request.method == "GET":
                await describe(request, reply, route.described)
                return
            await passage.go(route)
        except ApplianceError as error:
            await passage.refuse(error)
        except Exception as exc:  # noqa: BLE001 - where every failure becomes an answer
            await passage.refuse(internal_error(exc))

    def _find(self, request: InlineRequest) -> InboundRoute:
        route = self._routes.get(request.path)
        if route is None:
            raise ResourceUnknown(Reason.NOT_FOUND, "no route has this path")
        is_message = request.method == "POST" and request.query in route.queries
        if is_message or (request.method == "GET" and is_description(request.query)):
            return route
        raise not_allowed()


class _Passage:
    """One message on its way in, and how far it has come."""

    def __init__(self, request: InlineRequest, reply: Reply, means: InboundMeans) -> None:
        self._request: Final = request
        self._reply: Final = reply
        self._means: Final = means
        self._content_type: Final = first(request.fields, b"content-type") or b""
        self._version: Version = guess_version(self._content_type)
        self._label = ""
        self._exchange: VectorExchange | None = None

    async def go(self, route: InboundRoute) -> None:
        self._label = route.table.path
        with self._means.room.open(self._request.context.caller.name) as spool:
            sent, accepted = await self._judge(route, spool)
            spool.let_go()
            await self._forward(route, sent, accepted, spool)

    async def _judge(
        self, route: InboundRoute, spool: MessageSpool
    ) -> tuple[Sent, AcceptedVector | None]:
        """Read a message, and have its vector judged where it needs one."""
        request, means, table = self._request, self._means, route.table
        check_head(request.fields, means.names)
        coding = first(request.fields, b"content-encoding")
        intake = Intake(request.inflow, coding, means.limits.body)
        message = await read_message(intake, self._content_type, means.limits)
        self._version = "1.2" if message.version == "1.2" else "1.1"
        action = read_action(request.fields, message.version)
        if route.open.take(message, action):
            return message.sent(), None
        if means.verify.needs_whole(table.convention, table.service):
            message = await message.held(spool, means.limits)
            check_includes(message.soap)
        accepted = await self._verify(route, message)
        edited = message.soap.without_vector() if table.vector == "strip" else None
        self._exchange = _exchange_of(accepted, table)
        return message.sent(edited), accepted

    async def _forward(
        self, route: InboundRoute, sent: Sent, accepted: AcceptedVector | None, spool: MessageSpool
    ) -> None:
        request, means = self._request, self._means
        identity: HeaderFields = []
        if accepted is not None:
            digest = b""
            if route.identity.states_digest:
                sent, digest = await sent.digested(spool, means.limits.signed)
            identity = route.identity.write(accepted, digest, now=means.now(), jti=means.new_uuid())
        fields = request_fields(request.fields, means.names, request.context.request_id)
        outgoing = Outgoing(
            b"POST",
            with_query(route.target, request.query),
            [*fields, *identity],
            sent.first,
            sent.rest and sent.rest(),
            is_gzip=is_gzip(first(request.fields, b"content-encoding")),
        )
        status = await exchange(route.pool, outgoing, self._reply)
        count("inbound", self._label, "answered")
        if self._exchange is not None:
            means.answered.note(self._exchange, request.context, status)

    async def _verify(self, route: InboundRoute, message: InlineMessage) -> AcceptedVector:
        """Have the vector judged, bound to the TLS peer.

        Raises:
            VectorRefused: it is not accepted; the decision is traced.
            MalformedRequest: the assertion cannot be read.
        """
        table, context = route.table, self._request.context
        try:
            received = message.soap.received()
        except XmlRefused as exc:
            raise malformed(exc) from exc
        question = Question(
            message.document,
            table.convention,
            table.service,
            context.tls_certificate,
            by_partner=True,
            received=received,
            limits=Limits(octets=self._means.limits.signed),
        )
        verdict = await self._means.verify.decide(question, context)
        if verdict.accepted is None:
            raise verdict.refusal or InternalError(Reason.INTERNAL, "a verdict without a reason")
        return verdict.accepted

    async def refuse(self, error: ApplianceError) -> None:
        """Tell the partner, log and trace; cut off an answer that has begun."""
        request, answered = self._request, self._means.answered
        if self._exchange is not None:
            answered.note(self._exchange, request.context, error.reason)
        elif is_message_refused(error, request):
            answered.note_refusal(request.context, error.reason, self._label)
        await refuse(
            error,
            request,
            self._reply,
            version=self._version,
            direction="inbound",
            route=self._label,
        )


def check_includes(soap: SoapMessage) -> None:
    """Refuse octets that stand elsewhere in a Body that is to be signed.

    Raises:
        MalformedRequest: there are some.
    """
    if soap.includes:
        raise MalformedRequest(
            Reason.INCLUDE_IN_SIGNED_BODY,
            "the Body is to be signed, and an xop:Include in it stands for octets that no signature covers",
        )


def _exchange_of(accepted: AcceptedVector, table: InboundRouteTable) -> VectorExchange:
    vector = accepted.vector
    return VectorExchange(accepted.convention, vector.issuer, vector.assertion_id, table.path)
