"""What both ways through do alike: count what becomes of a message, and tell its caller of a refusal."""

from functools import cache
from typing import Final, Literal, Protocol

from appliance.errors import ApplianceError, CallerGone, InternalError, Reason, RequestError
from appliance.gateway.exchange import InlineRequest, Reply
from appliance.gateway.refusals import write_refusal
from appliance.log import Log
from appliance.metrics import GATEWAY_MESSAGES
from appliance.operations.entries import VectorExchange
from appliance.soap.fault import Version
from appliance.vectors.model import RequestContext

Direction = Literal["inbound", "outbound"]

_LOG: Final = Log("gateway")
_labels: Final = cache(GATEWAY_MESSAGES.labels)  # by direction, route and outcome: closed lists all


class Noting(Protocol):
    """What is needed of `operations.answered`."""

    def note(
        self, exchange: VectorExchange, context: RequestContext, outcome: int | Reason
    ) -> None:
        """Trace what came back on a vector's message."""

    def note_refusal(
        self, context: RequestContext, reason: Reason, path: str, convention: str | None = None
    ) -> None:
        """Trace that a message is refused of which no vector was made or judged."""


def is_message_refused(error: ApplianceError, request: InlineRequest) -> bool:
    """Tell whether an error is the refusal of a message: the caller's fault, and the caller is there to read it."""
    is_callers = isinstance(error, RequestError) and not isinstance(error, CallerGone)
    return is_callers and request.method == "POST"


def count(direction: Direction, route: str, outcome: str) -> None:
    """Count one message; `route` is empty where none was found."""
    _labels(direction, route, outcome).inc()


async def refuse(
    error: ApplianceError,
    request: InlineRequest,
    reply: Reply,
    *,
    version: Version,
    direction: Direction,
    route: str,
) -> None:
    """Count, log and answer a refusal in the message's own version; an answer that has begun is cut off."""
    context = request.context
    count(direction, route, error.reason.value)
    _LOG.warning(
        "message-refused",
        exc=error.__cause__ if isinstance(error, InternalError) else None,
        direction=direction,
        request_id=context.request_id,
        peer=context.peer,
        caller=context.caller.name,
        reason=error.reason.value,
        detail=error.detail,
    )
    if reply.has_begun:
        reply.abort()
        return
    await reply.whole(*write_refusal(error, version, context.request_id))
