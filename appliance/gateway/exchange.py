"""What a listener hands to the gateway, and how it is answered: narrow protocols, so that the gateway knows no server."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from appliance.errors import VectorRefused
from appliance.gateway.bodies import Inflow
from appliance.gateway.connection import Fields
from appliance.vectors.model import RequestContext


@dataclass(frozen=True, slots=True)
class InlineRequest:
    """One request whose head has been read and whose peer is known.

    Attributes:
        path: of the target, percent-encoded as it came.
        fields: names in lower case, in their order.
        inflow: its body.
        origin: how the caller addresses us: `http://host:port`.
        distrust: why nothing of the peer is taken, its message included.
    """

    method: str
    path: str
    query: bytes
    fields: Fields = field(repr=False)
    context: RequestContext
    inflow: Inflow = field(repr=False)
    origin: bytes
    distrust: VectorRefused | None = None


class Reply(Protocol):
    """The way back; one of `whole`, or `begin`, any number of `piece`, and `end`."""

    async def whole(self, status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer at once."""

    async def begin(
        self, status: int, fields: Iterable[tuple[bytes, bytes]], length: int | None
    ) -> None:
        """Begin an answer of stated length, or of one that is not known."""

    async def piece(self, octets: bytes) -> None:
        """Go on with it; waits while the caller does not read."""

    async def end(self) -> None:
        """End it."""

    def abort(self) -> None:
        """Cut the connection: what was begun must not look complete."""

    @property
    def has_begun(self) -> bool:
        """Whether the caller has seen something of an answer."""

    @property
    def is_gone(self) -> bool:
        """Whether the caller has hung up."""


class InlineHandler(Protocol):
    """One side of the gateway."""

    async def handle(self, request: InlineRequest, reply: Reply) -> None:
        """Answer one request, whatever comes."""
