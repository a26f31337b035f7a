"""One request and its answer on a connection: uvicorn's cycle, with refusals in mid-body, and answers written whole or as they come.

Promises that what the protocol refuses while a body arrives surfaces where the application waits for it, so that refusals of every
kind take one way out and never overtake the answer to an earlier request.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from appliance.errors import ApplianceError

HeaderList = Sequence[tuple[bytes, bytes]]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}


class Exchange(RequestResponseCycle):
    """The ASGI side of one request.

    Attributes:
        refusal: set by the protocol when the rest of the body will not be taken; `receive` raises it.
        status: of the answer, once started.
    """

    refusal: ApplianceError | None = None
    status: int = 0
    _answer_headers: Iterable[tuple[bytes, bytes]] = ()
    _is_streaming: bool = False
    _is_chunked: bool = False

    def refuse(self, error: ApplianceError) -> None:
        """Let the application meet `error` when it next asks for the body, and close after its answer."""
        self.refusal = error
        self.keep_alive = False
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """Take what has come of the body, waiting for some of it when there is none yet.

        Raises:
            ApplianceError: the protocol refuses the rest.
        """
        while self.more_body and not (self.body or self.refusal or self.disconnected):
            await self._wait_for_body()
        if self.refusal is not None:
            raise self.refusal
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body = bytes(self.body)
        self.body.clear()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def _wait_for_body(self) -> None:
        """Wait for the event that body, end, refusal and loss of the connection set; a slow body is the protocol's to refuse."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        self.flow.resume_reading()
        await self.message_event.wait()
        self.message_event.clear()

    async def send(self, message: ASGISendEvent) -> None:
        """Take the start of an answer, then its body: what comes whole is written together with the head.

        The connection closes after an answer that did not wait for the whole request.
        """
        if message["type"] == "http.response.start":
            self.response_started = True
            self.waiting_for_100_continue = False
            self.status = message["status"]
            self._answer_headers = message.get("headers", ())
            return
        if message["type"] != "http.response.body":
            raise RuntimeError(f"an answer is a start and bodies, got {message['type']}")
        if self.flow.write_paused and not self.disconnected:
            await (
                self.flow.drain()
            )  # ended by the peer's reading, or by the protocol's write_timeout
        if self.disconnected:
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._is_streaming:
            self._write_piece(body, more=more)
        elif more:
            self._begin_stream(body)
        else:
            self._write(b"" if self.scope["method"] == "HEAD" else body)

    def _begin_stream(self, body: bytes) -> None:
        """Begin an answer that comes in pieces: in chunks where its length is not stated, up to the connection's end over HTTP/1.0."""
        headers = [*self.default_headers, *self._answer_headers]
        if not any(name == b"content-length" for name, _ in headers):
            self._is_chunked = self.scope["http_version"] != "1.0"
            self.keep_alive = self.keep_alive and self._is_chunked
            headers += [(b"transfer-encoding", b"chunked")] if self._is_chunked else []
        self.keep_alive = self.keep_alive and not self.more_body
        self._is_streaming = True
        head = write_response(self.status, headers, b"", close=not self.keep_alive)
        self.transport.write(head)
        self._write_piece(body, more=True)

    def _write_piece(self, body: bytes, *, more: bool) -> None:
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        if body:
            self.transport.write(body)
        if not more:
            self._finish()

    def _write(self, body: bytes) -> None:
        if self.more_body:
            self.keep_alive = False
        headers = (*self.default_headers, *self._answer_headers)
        self.transport.write(write_response(self.status, headers, body, close=not self.keep_alive))
        self._finish()

    def _finish(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.on_response()


def write_response(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool
) -> bytes:
    """Write a response; header values come from this service and hold no line break."""
    parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    if close:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    return b"".join(parts)
