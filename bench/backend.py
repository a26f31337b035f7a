"""The application behind a gateway, as cheap as Python makes it: any request is answered with the same SOAP message.

`python -m bench.backend PLAIN TLS CHAIN KEY ROOTS` listens on two ports of loopback, without and with mutual TLS, says `ready`, and ends with its input.
"""

import asyncio
import ssl
import sys
from typing import Final, cast

import httptools
import uvloop

_BODY: Final = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><droits xmlns="urn:demo">'
    + b"x" * 900
    + b"</droits></s:Body></s:Envelope>"
)
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_BODY), _BODY)
)


class _Application(asyncio.Protocol):
    def __init__(self) -> None:
        self._parser: Final = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._transport is not None:
            self._transport.write(_ANSWER)


async def _serve(plain: int, tls: int, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(_Application, "127.0.0.1", plain)
    await loop.create_server(_Application, "127.0.0.1", tls, ssl=context)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until the input ends."""
    plain, tls, chain, key, roots = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.load_verify_locations(roots)
    context.verify_mode = ssl.CERT_REQUIRED
    uvloop.run(_serve(int(plain), int(tls), context))


if __name__ == "__main__":
    main()
