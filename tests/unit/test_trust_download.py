"""One answer over HTTP, whatever way the server frames it, or a sentence that says why there is none."""

import asyncio

import pytest

from appliance.trust.download import DownloadFailed, Limits, download, read_http_address

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def ask(
    answer: bytes, limits: Limits, body: bytes | None, path: str = "/a/b"
) -> tuple[bytes, bytes]:
    """Ask a server on loopback that answers these octets and closes; return what was asked, and what came."""
    asked = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        asked.extend(await reader.readexactly(len(body or b"")))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await download(f"http://127.0.0.1:{port}{path}", limits, body, "text/x")
    return bytes(asked), found


def fetch(answer: bytes, most: int = 100, body: bytes | None = None) -> bytes:
    """What comes of an answer."""
    return asyncio.run(ask(answer, Limits(most, 20.0), body))[1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
    ],
    ids=["length", "to the end", "no header", "chunked", "more than stated"],
)
def test_ways_to_frame_an_answer(answer: bytes) -> None:
    """By length, by chunks, or by the end of the connection."""
    assert fetch(answer) == b"hello"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", "cut off"),
        (CHUNKED + b"6\r\nhello", "cut off"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello", "answered 404"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n", "answered 301"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, "more than 100 octets"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, "more than 100 octets"),
        (CHUNKED + b"1\r\nx\r\n" * 20_000, "more than 100 octets"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "more than 100 octets"),
        (b"220 mail.example ESMTP\r\n", "HTTP"),
    ],
    ids=range(12),
)
def test_answers_that_are_none(answer: bytes, why: str) -> None:
    """Cut off, too long in any part, another status, another protocol: a sentence says which."""
    with pytest.raises(DownloadFailed, match=why):
        fetch(answer)


def test_what_is_asked() -> None:
    """Without a body GET, with one POST; the server's name and port, the path and the query as the address has them."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    asked, _ = asyncio.run(ask(answer, Limits(10, 20.0), None))
    assert asked.startswith(b"GET /a/b HTTP/1.1\r\nHost: 127.0.0.1:")
    asked, _ = asyncio.run(ask(answer, Limits(10, 20.0), b"question"))
    assert asked.startswith(b"POST /a/b HTTP/1.1\r\n")
    assert b"Content-Type: text/x\r\nContent-Length: 8\r\n\r\nquestion" in asked
    for path, target in (
        ("/publicweb?cmd=crl&issuer=CN=AC,O=X", b"/publicweb?cmd=crl&issuer=CN=AC,O=X"),
        ("?ca=1", b"/?ca=1"),
        ("", b"/"),
    ):
        asked, _ = asyncio.run(ask(answer, Limits(10, 20.0), None, path))
        assert asked.startswith(b"GET " + target + b" HTTP/1.1\r\n")


def test_nobody_there() -> None:
    """A port that nobody listens at, and a name that nobody has."""
    for address in ("http://127.0.0.1:1/", "http://nobody.invalid/"):
        with pytest.raises(DownloadFailed):
            asyncio.run(download(address, Limits(10, 20.0)))


@pytest.mark.parametrize(
    "address",
    [
        "http://a",
        "http://a/",
        "http://a.b:8080/c/d.crl",
        "HTTP://[::1]:1/x",
        "http://1.2.3.4",
        "http://a?x=1&y",
    ],
)
def test_addresses(address: str) -> None:
    """What can be asked."""
    assert read_http_address(address).hostname
