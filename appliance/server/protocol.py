"""One connection: uvicorn's httptools protocol with the limits it leaves open (CONTRACT 4).

Promises that each passed limit, malformed head or ambiguous framing gets the contract's JSON error, or what a listener has in its place, in its turn behind earlier
pipelined answers, and ends the connection; that no peer holds a connection by sending or reading slowly; and that a request to
upgrade is answered as if it had not asked. What is refused is never read further.
"""

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Final, cast

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from appliance.errors import ApplianceError, MalformedRequest, Pushback, Reason, internal_error
from appliance.log import Log
from appliance.server.admission import Admission, Arrival
from appliance.server.answers import Answer, error_answer, write_head
from appliance.server.callers import NOBODY, read_peer
from appliance.server.exchange import Exchange, write_response
from appliance.server.head import (
    body_too_large,
    check_framing,
    check_head,
    framing_of,
    head_too_large,
    read_target,
    too_slow,
)
from appliance.server.offers import read_on
from appliance.server.pace import Pace, Phase
from appliance.server.refusals import note_refusals
from appliance.server.request_id import choose_request_id
from appliance.server.requests import PAGM_FIELD, SUBJECT_FIELD

_ONCE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"content-type",
        SUBJECT_FIELD,
    }
)
_KEPT: Final = _ONCE | {b"accept", b"expect", b"origin", b"x-request-id", PAGM_FIELD}
_FRAMING_ALLOWANCE: Final = 2
"""A chunked body may take this many times the body limit on the wire: chunk sizes, extensions and trailers are not free."""

_log: Final = Log("server")


class Standing(Enum):
    """How the door has counted a connection."""

    OUTSIDE = auto()
    ADMITTED = auto()
    REFUSED = auto()


class ApiProtocol(HttpToolsProtocol):
    """One connection. Requests are answered one after the other, in the order they came."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        admission: Admission,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Connection
        self._admission: Final = admission
        self._settings: Final = admission.settings
        self._pace: Final = Pace(admission.settings)
        self._peer = NOBODY
        self._standing = Standing.OUTSIDE
        self._is_half_closed = False
        # Exchanges: the one being answered, those behind it, the last one begun
        self._current: Exchange | None = None
        self._waiting: Final = deque[Exchange]()
        self._newest: Exchange | None = None
        self._last_words: ApplianceError | None = None
        # Request
        self._fields: dict[bytes, bytes] = {}
        self._head_octets = 0
        self._body_octets = 0
        self._wire_octets = 0
        self._unread = b""
        """How the body is framed that the parser leaves to us; empty when there is none."""

    def __repr__(self) -> str:
        return (
            f"ApiProtocol({self._peer.address}, {self._pace}, answering={self._current is not None}"
            f", waiting={len(self._waiting)})"
        )

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Admit the peer, or tell it why not."""
        super().connection_made(transport)
        try:
            self._peer = read_peer(transport)
        except OSError:  # gone before we looked
            transport.abort()
            return
        try:
            self._admission.enter(self._peer)
        except Pushback as refusal:
            if not self._admission.may_linger():
                transport.abort()
                return
            self._standing = Standing.REFUSED
            self._refuse(refusal)
        else:
            self._standing = Standing.ADMITTED

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever still works for the peer know that it is gone."""
        super().connection_lost(exc)
        self._waiting.clear()
        self._pace.enter(Phase.ENDED)
        if self._current is not None:
            self._current.disconnected = True
            self._current.message_event.set()
        if self._standing is Standing.ADMITTED:
            self._admission.leave(self._peer)
        elif self._standing is Standing.REFUSED:
            self._admission.lingered()

    def data_received(self, data: bytes) -> None:
        """Parse what came; discard it once the connection has been refused or ended."""
        phase = self._pace.phase
        if phase is Phase.ENDED or phase is Phase.CLOSING:
            return
        self._wire_octets += len(data)
        try:
            self._parse(data)
            self._check_wire()
        except ApplianceError as refusal:
            self._refuse(refusal)

    def eof_received(self) -> bool:  # type: ignore[override]  # the base class never keeps a half-closed connection
        """Finish answering a peer that has said all it will say; refuse a request that it left unfinished."""
        self._is_half_closed = True
        if self._pace.phase in {Phase.HEAD, Phase.BODY}:
            self._refuse(
                MalformedRequest(Reason.MALFORMED_HTTP, "the request ended before it was complete")
            )
        return self._current is not None

    def shutdown(self) -> None:
        """Drain: answer what is complete or under way, then close."""
        if self._current is not None and self._newest is not None:
            self._newest.keep_alive = False
        elif self._pace.phase is Phase.HEAD:
            self._refuse(Pushback(Reason.DRAINING, "this instance is stopping; send it again"))
        elif self._pace.phase is not Phase.CLOSING:
            self.transport.close()

    def check_pace(self, now: float) -> None:
        """Refuse or cut off a peer that takes too long; called at every tick of the worker."""
        pace = self._pace
        if pace.is_stalled(now, self.transport.get_write_buffer_size()):
            _log.info("peer-stalled", peer=self._peer.address)
            self.transport.abort()
            return
        is_answering = self._current is not None
        is_paused = is_answering if pace.phase is Phase.IDLE else self.flow.read_paused
        if not pace.is_overrun(now, is_paused=is_paused):
            return
        match pace.phase:
            case Phase.HEAD | Phase.BODY:
                self._refuse(too_slow(pace.phase, self._settings))
            case Phase.CLOSING:
                self.transport.abort()
            case _:
                self.transport.close()

    # Parsing: what httptools calls may raise an ApplianceError, which ends the connection

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # RFC 9110 7.8: Upgrade may be ignored; what follows is the body, then the next request.
                data = data[cast("int", upgrade.args[0]) :]
                if self._unread:
                    self.parser = read_on(self, self._unread)
                    self._unread = b""
            except httptools.HttpParserCallbackError as exc:
                cause = exc.__context__
                if isinstance(cause, ApplianceError):
                    raise cause from None
                raise internal_error(cause or exc) from exc
            except httptools.HttpParserError as exc:
                raise MalformedRequest(Reason.MALFORMED_HTTP, f"not valid HTTP/1.1: {exc}") from exc
            else:
                return

    def on_message_begin(self) -> None:
        """Start a head; the base class would build a scope that may never be needed."""
        self._pace.enter(Phase.HEAD)
        self.url = b""
        self.headers = []
        self._fields = {}
        self._head_octets = 0
        self._wire_octets = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field. What comes as a trailer goes to a list that nobody reads (RFC 9110 6.5.1 lets us drop it)."""
        name = name.lower()
        self._head_octets += len(name) + len(value)
        self.headers.append((name, value))
        if name in _KEPT:
            if name in self._fields:
                self._keep_again(name, value)
            else:
                self._fields[name] = value

    def _keep_again(self, name: bytes, value: bytes) -> None:
        if name in _ONCE:
            raise MalformedRequest(
                Reason.MALFORMED_HTTP, f"the field {name.decode('ascii')} stands twice; send one"
            )
        if name == b"accept":
            self._fields[name] += b"," + value
        elif name == PAGM_FIELD:
            self._fields[name] += b"\n" + value  # which no value can hold

    def on_headers_complete(self) -> None:
        """Check the head and begin its exchange, or queue it behind the one under way."""
        check_head(self.url, self.headers, self._head_octets, self._settings)
        version = self.parser.get_http_version()
        check_framing(self._fields, version, self._settings)
        if len(self._waiting) >= self._settings.pipeline:
            raise Pushback(
                Reason.CONNECTION_LIMIT,
                f"more than {self._settings.pipeline} requests wait on this connection; read the answers",
            )
        self._pace.enter(Phase.BODY)
        self._body_octets = 0
        self._wire_octets = 0
        if self.parser.should_upgrade():
            self._unread = framing_of(self._fields)
        exchange = self._exchange(version)
        self.cycle = self._newest = exchange
        self.headers, self._fields = [], {}
        if self._current is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.flow.pause_reading()

    def _exchange(self, version: str) -> Exchange:
        fields = self._fields
        return Exchange(
            scope=self._scope(version),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=fields.get(b"expect", b"").lower() == b"100-continue",
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def _scope(self, version: str) -> HTTPScope:
        path, host, query = read_target(self.url)
        if host is not None:
            self._fields[b"host"] = host
        transport = self.transport
        arrival = Arrival(self._peer, self._fields, transport.abort, transport.is_closing)
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme or "http",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "extensions": {"appliance": {"arrival": arrival}},
        }

    def on_body(self, body: bytes) -> None:
        """Hand body octets to the exchange, up to the limit."""
        self._body_octets += len(body)
        self._pace.body_octets += len(body)
        if self._body_octets > self._settings.body_limit:
            raise body_too_large(self._settings)
        cycle = self.cycle
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Let the exchange know that its request is whole, unless the parser has only lost interest in it."""
        if self._unread:
            return
        self._pace.enter(Phase.IDLE)
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _check_wire(self) -> None:
        """Bound what a field, an extension or a trailer that never ends can make the parser keep."""
        phase = self._pace.phase
        if phase is Phase.HEAD and self._wire_octets > self._settings.header_limit:
            raise head_too_large(self._settings)
        if self._wire_octets > _FRAMING_ALLOWANCE * self._settings.body_limit + HIGH_WATER_LIMIT:
            raise body_too_large(self._settings)

    # Answers

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self._start_asgi_task(exchange, self.app)

    def on_response_complete(self) -> None:
        """Go on with what waits behind the answer just written, or end the connection."""
        self.server_state.total_requests += 1
        done, self._current = self._current, None
        if done is None or self.transport.is_closing():
            return
        if done.more_body:
            self._end()
        elif not done.keep_alive:
            self.transport.close()
        elif self._waiting:
            self._start(self._waiting.popleft())
        elif self._last_words is not None:
            self._say(self._last_words)
        elif self._is_half_closed:
            self.transport.close()
        else:
            self.flow.resume_reading()

    def _refuse(self, error: ApplianceError) -> None:
        """Read no more; answer `error` when its turn comes."""
        self._pace.enter(Phase.ENDED)
        if self._current is None or self._newest is None:
            self._say(error)
        elif self._newest.more_body:
            self._newest.refuse(error)
        else:
            self._last_words = error

    def _say(self, error: ApplianceError) -> None:
        """Answer a request that never became an exchange."""
        request_id = choose_request_id(self._fields.get(b"x-request-id"))
        note_refusals([error], request_id, self._peer.address)
        answer = self.answer_refusal(error, request_id, self._fields.get(b"content-type", b""))
        headers = [*self.server_state.default_headers, *write_head(answer, request_id)]
        self.transport.write(write_response(answer.status, headers, answer.body, close=True))
        self._end()

    def answer_refusal(
        self, error: ApplianceError, request_id: str, _content_type: bytes
    ) -> Answer:
        """Write what is said to a request that never became an exchange; a listener with callers of another kind overrides it."""
        return error_answer(error, request_id)

    def _end(self) -> None:
        """Say that nothing follows, and discard what still comes: closing at once would reset the connection under the answer."""
        self._pace.enter(Phase.CLOSING)
        if self._is_half_closed or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
