"""The descriptions of a route: `?wsdl` and `?xsd` of the other end, with the addresses they state made ours.

Nothing else passes by GET. An address is made ours by its octets, wherever it stands; a description that compresses or encodes its
addresses otherwise passes as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.errors import Reason, ResourceUnknown
from appliance.gateway.exchange import InlineRequest, Reply
from appliance.gateway.fields import pass_fields, request_fields
from appliance.gateway.forward import Outgoing, fetch
from appliance.gateway.pool import PartnerPool

_LONGEST: Final = 8 * 1024**2
_QUERY: Final = re.compile(rb"(?:wsdl|xsd)(?:=[^=&;?]*)?", re.IGNORECASE)
"""One parameter and nothing beside it, whichever of `&` and `;` the other end takes for a separator."""
_CODED: Final = frozenset({b"accept-encoding", b"authorization", b"cookie"})


def is_description(query: bytes) -> bool:
    """Tell whether a query asks for `wsdl`, `wsdl=NAME`, `xsd` or `xsd=NAME` and nothing else, whatever the case."""
    return _QUERY.fullmatch(query) is not None


def read_queries(queries: Sequence[str]) -> frozenset[bytes]:
    """Return what may stand behind the path of a message: nothing, or a query that the route lists, octet for octet."""
    return frozenset({b"", *(query.encode("ascii") for query in queries)})


def not_allowed() -> ResourceUnknown:
    """Say what a path takes."""
    return ResourceUnknown(
        Reason.METHOD_NOT_ALLOWED,
        "a SOAP message is POSTed without query, or with one of the route's `queries`; GET takes ?wsdl and ?xsd",
    )


@dataclass(frozen=True, slots=True)
class Described:
    """Whose description is asked for.

    Attributes:
        path: the route's own.
        target: its path at the other end.
        pool: the other end.
        ours: plain names of the fields that stay here.
    """

    path: str
    target: bytes
    pool: PartnerPool
    ours: frozenset[bytes]


async def describe(request: InlineRequest, reply: Reply, described: Described) -> None:
    """Fetch a description and answer with it.

    Raises:
        PartnerUnavailable: it cannot be had.
    """
    target = described.target
    fields = request_fields(request.fields, _CODED | described.ours, request.context.request_id)
    outgoing = Outgoing(b"GET", b"%b?%b" % (target, request.query), fields, b"")
    head, body, endpoint = await fetch(described.pool, outgoing, _LONGEST)
    scheme = b"http" if endpoint.server_name is None else b"https"
    theirs = b"%b://%b%b%b" % (
        scheme,
        endpoint.authority.encode("ascii"),
        endpoint.path.encode("ascii"),
        target,
    )
    ours = request.origin + described.path.encode("ascii")
    await reply.whole(head.status, pass_fields(head.fields), body.replace(theirs, ours))
