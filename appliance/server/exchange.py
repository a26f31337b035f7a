"""One request and its answer on a connection: uvicorn's cycle, with refusals in mid-body and answers written whole.

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
        """Take the start of an answer, then its whole body, and write both at once.

        The connection closes after an answer that did not wait for the whole request.
        """
        if message["type"] == "http.response.start":
            self.response_started = True
            self.waiting_for_100_continue = False
            self.status = message["status"]
            self._answer_headers = message.get("headers", ())
            return
        if message["type"] != "http.response.body" or message.get("more_body", False):
            raise RuntimeError(f"an answer is written whole, got {message['type']}")
        if self.flow.write_paused and not self.disconnected:
            await (
                self.flow.drain()
            )  # ended by the peer's reading, or by the protocol's write_timeout
        if not self.disconnected:
            self._write(b"" if self.scope["method"] == "HEAD" else message.get("body", b""))

    def _write(self, body: bytes) -> None:
        if self.more_body:
            self.keep_alive = False
        headers = (*self.default_headers, *self._answer_headers)
        self.transport.write(write_response(self.status, headers, body, close=not self.keep_alive))
        self.response_complete = True
        self.message_event.set()
        self.on_response()


def write_response(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, close: bool
) -> bytes:
    """Write a response; header values come from this service and hold no line break."""
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    if close:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    return b"".join(parts)
