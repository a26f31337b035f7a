"""The descriptions of a route: `?wsdl` and `?xsd` of the other end, with the addresses they state made ours.

Nothing else passes by GET. An address is made ours by its octets, wherever it stands; a description that compresses or encodes its
addresses otherwise passes as it is.
"""

from collections.abc import Sequence
from typing import Final

from appliance.errors import Reason, ResourceUnknown
from appliance.gateway.exchange import InlineRequest, Reply
from appliance.gateway.fields import REQUEST_ID, pass_fields
from appliance.gateway.forward import Outgoing, fetch
from appliance.gateway.pool import PartnerPool

_LONGEST: Final = 8 * 1024**2
_CODED: Final = frozenset({b"accept-encoding", b"authorization", b"cookie"})


def is_description(query: bytes) -> bool:
    """Tell whether a query asks for `wsdl`, `wsdl=NAME`, `xsd` or `xsd=NAME`, whatever the case."""
    return query.partition(b"=")[0].lower() in {b"wsdl", b"xsd"}


def read_queries(queries: Sequence[str]) -> frozenset[bytes]:
    """Return what may stand behind the path of a message: nothing, or a query that the route lists, octet for octet."""
    return frozenset({b"", *(query.encode("ascii") for query in queries)})


def not_allowed() -> ResourceUnknown:
    """Say what a path takes."""
    return ResourceUnknown(
        Reason.METHOD_NOT_ALLOWED,
        "a SOAP message is POSTed without query, or with one of the route's `queries`; GET takes ?wsdl and ?xsd",
    )


async def describe(
    request: InlineRequest, reply: Reply, path: str, target: bytes, pool: PartnerPool
) -> None:
    """Fetch a description and answer with it.

    Args:
        request: the GET.
        reply: the way back.
        path: the route's own.
        target: its path at the other end.
        pool: the other end.

    Raises:
        PartnerUnavailable: it cannot be had.
    """
    fields = pass_fields(request.fields, _CODED | {REQUEST_ID})
    fields.append((REQUEST_ID, request.context.request_id.encode("ascii")))
    outgoing = Outgoing(b"GET", b"%b?%b" % (target, request.query), fields, b"")
    head, body, endpoint = await fetch(pool, outgoing, _LONGEST)
    scheme = b"http" if endpoint.server_name is None else b"https"
    theirs = b"%b://%b%b%b" % (
        scheme,
        endpoint.authority.encode("ascii"),
        endpoint.path.encode("ascii"),
        target,
    )
    ours = request.origin + path.encode("ascii")
    await reply.whole(head.status, pass_fields(head.fields), body.replace(theirs, ours))
