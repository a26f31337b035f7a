"""The body of a request that offers to upgrade (RFC 9110 7.8), which httptools leaves unread; Java's client makes such offers.

Promises that the offer is ignored as the RFC lets it be: the body arrives, however it is framed, and what follows it is the next request.
"""

from typing import Final, Protocol

import httptools


class Callbacks(Protocol):
    """What httptools calls."""

    def on_message_begin(self) -> None:
        """A message begins."""

    def on_url(self, url: bytes) -> None:
        """A part of the target."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field or a trailer."""

    def on_headers_complete(self) -> None:
        """The head is complete."""

    def on_body(self, body: bytes) -> None:
        """A part of the body."""

    def on_message_complete(self) -> None:
        """The message is complete."""


def read_on(callbacks: Callbacks, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser that stands behind the head of a request.

    Args:
        callbacks: told of the body and of every request behind it.
        framing: the field that frames the body, as a line without its end.
    """
    parser = httptools.HttpRequestParser(_Behind(callbacks))
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: -\r\n" + framing + b"\r\n\r\n")
    return parser


class _Behind:
    """Keeps the head to itself that the parser is given only to know the framing."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks: Final = callbacks
        self._is_behind = False
        self.on_body: Final = callbacks.on_body
        self.on_message_complete: Final = callbacks.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._callbacks.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._callbacks.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._callbacks.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._callbacks.on_headers_complete()
        self._is_behind = True
