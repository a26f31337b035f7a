"""A gateway's listener as a bare ASGI application: who calls, then the message as a stream, then the answer as it comes.

Knows HTTP; decides nothing about messages. Everything a caller is told is a SOAP fault; what the protocol refuses before there is a
request `front` says.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from ssl import SSLObject
from typing import Final, Protocol, cast
from weakref import WeakKeyDictionary

from cryptography import x509
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from appliance.clock import Clock
from appliance.errors import (
    ApplianceError,
    CallerGone,
    Pushback,
    Reason,
    UnknownCaller,
    VectorRefused,
    internal_error,
)
from appliance.gateway.exchange import InlineHandler, InlineRequest
from appliance.gateway.refusals import guess_version, write_refusal
from appliance.server.admission import Arrival
from appliance.server.callers import CallerDirectory, Peer
from appliance.server.refusals import note_refusals
from appliance.server.request_id import FIELD, choose_request_id
from appliance.trust.tls import TlsPeers
from appliance.vectors.model import Caller, RequestContext

_BEARER: Final = b"bearer "
_LOOK_AGAIN: Final = 1.0
_PEERS: Final = 1024


@dataclass(frozen=True, slots=True)
class Recognised:
    """Who calls, with which TLS certificate, and why nothing of them is taken, if that is so."""

    caller: Caller
    certificate: bytes | None = None
    distrust: VectorRefused | None = None


class Recognising(Protocol):
    """Who tells callers apart."""

    def recognise(self, peer: Peer, authorization: bytes | None) -> Recognised:
        """Say who calls."""


class LocalCallers:
    """Applications of ours: a key, a TLS certificate, a unix peer, or an address where the configuration names one.

    Certificates are held against CRLs where there are peers to check them.
    """

    def __init__(
        self,
        keys: CallerDirectory,
        by_address: Mapping[IPv4Network | IPv6Network, str],
        certified: "PartnerCallers | None" = None,
    ) -> None:
        self._certified: Final = certified
        self._keys: Final = keys
        find_name = partial(_find_name, dict(by_address))  # no method: one kept in us is a cycle
        self._name_of: Final = lru_cache(maxsize=_PEERS)(find_name)

    def recognise(self, peer: Peer, authorization: bytes | None) -> Recognised:
        """Say who calls; a Bearer key that is shown is judged, other schemes are the partner's affair.

        Raises:
            UnknownCaller: nothing here shows who it is, or its certificate counts no more.
        """
        certificate = None if peer.tls is None else peer.tls.getpeercert(binary_form=True)
        if certificate is not None and self._certified is not None:
            refusal = self._certified.recognise(peer, None).distrust
            if refusal is not None:
                raise UnknownCaller(
                    Reason.UNKNOWN_CALLER, f"the certificate is refused: {refusal.detail}"
                )
        if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
            return Recognised(self._keys.recognise(peer, authorization), certificate)
        if certificate is not None:
            return Recognised(Caller(_subject_of(certificate), "certificate"), certificate)
        if peer.uid is not None:
            return Recognised(Caller(peer.address, "unix"))
        name = self._name_of(peer.address)
        if name is not None:
            return Recognised(Caller(name, "address"))
        raise UnknownCaller(
            Reason.UNKNOWN_CALLER,
            "show a configured key as `Authorization: Bearer KEY`, a client certificate, or call over the unix socket",
        )


def _find_name(by_address: Mapping[IPv4Network | IPv6Network, str], peer: str) -> str | None:
    """Return what the configuration calls an address."""
    address = ip_address(peer)
    named = (name for network, name in by_address.items() if address in network)
    return next(named, None)


@lru_cache(maxsize=256)
def _subject_of(certificate: bytes) -> str:
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()


class PartnerCallers:
    """Partners, by what they show in TLS: the first whose trust, pins and names take the certificate.

    Asked for every request; a connection that was taken is looked at again after a second, so that a CRL published meanwhile counts.
    """

    def __init__(self, partners: Mapping[str, TlsPeers], clock: Clock) -> None:
        self._partners: Final = dict(partners)
        self._clock: Final = clock
        self._known: Final = WeakKeyDictionary[SSLObject, tuple[float, Recognised]]()

    def recognise(self, peer: Peer, _authorization: bytes | None) -> Recognised:
        """Say which partner calls, or why none does."""
        if peer.tls is None:
            raise UnknownCaller(Reason.UNKNOWN_CALLER, "partners come over TLS")
        known = self._known.get(peer.tls)
        now = self._clock.monotonic()
        if known is None or now - known[0] > _LOOK_AGAIN:
            known = self._known[peer.tls] = (now, self._look(peer.tls))
        return known[1]

    def _look(self, tls: SSLObject) -> Recognised:
        refusals: list[VectorRefused] = []
        for name, peers in self._partners.items():
            try:
                found = peers.check(tls, self._clock.now())
            except VectorRefused as refusal:
                refusals.append(refusal)
            else:
                return Recognised(Caller(name, "partner"), found.certificate)
        # What one partner's trust says of a certificate it knows is worth more than that another does not know it.
        worst = min(refusals, key=lambda each: each.reason is Reason.CERTIFICATE_NOT_TRUSTED)
        certificate = tls.getpeercert(binary_form=True)
        return Recognised(Caller("unknown", "partner"), certificate, worst)


class InlineApplication:
    """The ASGI application of one gateway listener.

    Attributes:
        handler: where messages go; a reload puts another one here.
        callers: who may call; likewise.
    """

    def __init__(self, handler: InlineHandler, callers: Recognising) -> None:
        self.handler = handler
        self.callers = callers

    def __repr__(self) -> str:
        return f"InlineApplication({self.handler!r})"

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request."""
        scope = cast("HTTPScope", scope)  # lifespan is off and upgrades are never taken
        arrival = cast("Arrival", scope["extensions"]["appliance"]["arrival"])
        request_id = choose_request_id(arrival.fields.get(FIELD))
        reply = _Reply(send, arrival, request_id)
        try:
            peer = arrival.peer
            known = self.callers.recognise(peer, arrival.fields.get(b"authorization"))
            context = RequestContext(request_id, known.caller, peer.address, known.certificate)
            host = arrival.fields[b"host"]
            request = InlineRequest(
                method=scope["method"],
                path=scope["raw_path"].decode("latin-1"),
                query=scope["query_string"],
                fields=list(scope["headers"]),
                context=context,
                inflow=_Inflow(receive),
                origin=b"%b://%b" % (b"http" if peer.tls is None else b"https", host),
                distrust=known.distrust,
            )
            await self.handler.handle(request, reply)
        except (ApplianceError, asyncio.CancelledError) as exc:
            await self._refuse(exc, arrival, reply, request_id)

    async def _refuse(
        self, exc: BaseException, arrival: Arrival, reply: "_Reply", request_id: str
    ) -> None:
        """Answer what was refused before it reached the gateway, or cut off by the end of the drain."""
        if isinstance(exc, asyncio.CancelledError):
            exc = Pushback(Reason.DRAINING, "this instance stopped before it had an answer")
        error = exc if isinstance(exc, ApplianceError) else internal_error(exc)
        note_refusals([error], request_id, arrival.peer.address)
        if reply.has_begun:
            reply.abort()
            return
        version = guess_version(arrival.fields.get(b"content-type", b""))
        status, fields, body = write_refusal(error, version, request_id)
        await reply.whole(status, fields, body)


class _Inflow:
    def __init__(self, receive: ASGIReceiveCallable) -> None:
        self._receive: Final = receive

    async def read(self) -> tuple[bytes, bool]:
        """Wait for the next piece.

        Raises:
            CallerGone: the peer hung up.
            ApplianceError: the protocol refuses the rest.
        """
        event = await self._receive()
        if event["type"] != "http.request":
            raise CallerGone(
                Reason.CALLER_GONE, "the caller hung up before its message was complete"
            )
        return event["body"], event["more_body"]


class _Reply:
    def __init__(self, send: ASGISendCallable, arrival: Arrival, request_id: str) -> None:
        self._send: Final = send
        self._arrival: Final = arrival
        self._request_id: Final = request_id.encode("ascii")
        self.has_begun = False

    @property
    def is_gone(self) -> bool:
        """Whether the caller has hung up."""
        return self._arrival.is_gone()

    async def whole(self, status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer at once."""
        await self._start(status, [*fields, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def begin(
        self, status: int, fields: Iterable[tuple[bytes, bytes]], length: int | None
    ) -> None:
        """Begin an answer."""
        stated = [] if length is None else [(b"content-length", b"%d" % length)]
        await self._start(status, [*fields, *stated])

    async def piece(self, octets: bytes) -> None:
        """Go on with it."""
        await self._send({"type": "http.response.body", "body": octets, "more_body": True})

    async def end(self) -> None:
        """End it."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        """Cut the connection."""
        self._arrival.abort()

    async def _start(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.has_begun = True
        others = [field for field in fields if field[0] != FIELD]
        headers = [*others, (FIELD, self._request_id)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
