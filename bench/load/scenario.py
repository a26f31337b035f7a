"""What is asked: complete HTTP requests, written once, and how a good answer is known."""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

import msgspec

from bench.documents import DOCUMENTS

_TIMEOUT: Final = 30.0
_OK: Final = 200
_JSON: Final = "application/json"
_XML: Final = "application/xml"
_SOAP: Final = "text/xml; charset=utf-8"
_MADE: Final = b'"assertion":'
"""In an answer, once for each vector."""

_MIX: Final = ("single",) * 6 + ("reuse",) * 2 + ("verify",) * 2
"""Of ten requests of the scenario `mixed`: six new vectors, two given out again, two verifications."""


class ScenarioUnusable(Exception):
    """The service refuses what the scenario needs before it can begin."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The files of a TLS connection (PEM): whom to trust, and who we are (mutual TLS)."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Build the context.

        Raises:
            OSError: a file cannot be read; ssl.SSLError, a kind of it, when it holds something else.
        """
        context = ssl.create_default_context(cafile=str(self.authority))
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """A running service.

    Attributes:
        headers: sent with each request, `Authorization` for one.
    """

    host: str
    port: int
    tls: ClientTls | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        vectors: how many a good answer holds, or verifies; 0 where it is about none.
        sign: octets that stand in the body of every good answer, once for each vector; an answer without them counts as an error.
    """

    octets: bytes
    vectors: int = 1
    sign: bytes = b""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What every connection asks, one after the other, again and again."""

    name: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the scenarios ask for: as which convention, for whom, with which profile, how many in a batch or in turn.

    Attributes:
        path: of the outbound route that the scenario `gateway` posts to.
        subject_header: in which an application tells that route for whom it calls.
        document: the SOAP message it posts, one of `DOCUMENTS`.
    """

    convention: str = "demo-client"
    provider: str = "demo-provider"
    subject: str = "agent-0042"
    pagm: str = "PAGM_CONSULTATION"
    batch: int = 64
    in_turn: int = 256
    path: str = "/droits"
    subject_header: str = "X-Subject"
    document: str = "soap-10k"

    def request(self, **more: bool) -> dict[str, object]:
        """Say what one vector shall state."""
        asked = {"convention": self.convention, "subject": self.subject, "pagms": [self.pagm]}
        return {**asked, **more}


def make_scenario(name: str, target: Target, wanted: Wanted) -> Scenario:
    """Write a scenario's requests; `verify` and `mixed` first have the service issue the vectors they present.

    Raises:
        KeyError: no scenario has that name.
        ScenarioUnusable: the service issues none.
        OSError: it cannot be reached.
    """
    return Scenario(name, _WRITERS[name](target, wanted))


def _single(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    body = json.dumps(wanted.request(reuse=False)).encode()
    return (Ask(_post(target, "/v1/vectors", _JSON, body), sign=_MADE),)


def _reuse(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    body = json.dumps(wanted.request(reuse=True)).encode()
    return (Ask(_post(target, "/v1/vectors", _JSON, body), sign=b'"reused":true'),)


def _verify(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    path = f"/v1/verifications?convention={wanted.provider}"
    return tuple(
        Ask(_post(target, path, _XML, vector), sign=b'"verdict":"accepted"')
        for vector in _issue(target, wanted)
    )


def _mix(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    makers = {"single": _single, "reuse": _reuse, "verify": _verify}
    asks = {kind: cycle(make(target, wanted)) for kind, make in makers.items()}
    turns = max(1, wanted.in_turn // _MIX.count("verify"))
    return tuple(next(asks[kind]) for _ in range(turns) for kind in _MIX)


def _batch(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    body = json.dumps({"requests": [wanted.request(reuse=False)] * wanted.batch}).encode()
    return (Ask(_post(target, "/v1/vectors/batch", _JSON, body), wanted.batch, _MADE),)


def _gateway(target: Target, wanted: Wanted) -> tuple[Ask, ...]:
    """A message through an outbound route; whatever the far end answers with 200 is good, a refusal of ours is a fault with its own status."""
    message = DOCUMENTS[wanted.document]()
    fields = {wanted.subject_header: wanted.subject}
    return (Ask(_post(target, wanted.path, _SOAP, message, fields)),)


def _health(target: Target, _wanted: Wanted) -> tuple[Ask, ...]:
    return (Ask(_head(target, "GET /healthz", {}), 0),)


_WRITERS: Final[Mapping[str, Callable[[Target, Wanted], tuple[Ask, ...]]]] = {
    "single": _single,
    "batch": _batch,
    "reuse": _reuse,
    "verify": _verify,
    "mixed": _mix,
    "gateway": _gateway,
    "health": _health,
}
SCENARIOS: Final = tuple(_WRITERS)


class _Vector(msgspec.Struct):
    assertion: str


class _Item(msgspec.Struct):
    vector: _Vector | None = None
    error: msgspec.Raw = msgspec.Raw()  # read by nobody here; of any shape


class _Batch(msgspec.Struct):
    results: list[_Item]


def _issue(target: Target, wanted: Wanted) -> list[bytes]:
    body = json.dumps({"requests": [wanted.request(reuse=False)] * wanted.in_turn}).encode()
    status, answer = _call(target, "/v1/vectors/batch", body)
    if status != _OK:
        raise ScenarioUnusable(f"no vectors to verify: {status} {answer[:400].decode()}")
    items = msgspec.json.decode(answer, type=_Batch).results
    vectors = [each.vector.assertion.encode() for each in items if each.vector is not None]
    if not vectors:
        raise ScenarioUnusable(f"no vectors to verify: {answer[:400].decode()}")
    return vectors


def _call(target: Target, path: str, body: bytes) -> tuple[int, bytes]:
    if target.tls is None:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=_TIMEOUT)
    else:
        context = target.tls.context()
        connection = http.client.HTTPSConnection(
            target.host, target.port, timeout=_TIMEOUT, context=context
        )
    try:
        connection.request("POST", path, body, {"Content-Type": _JSON, **target.headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _post(
    target: Target, path: str, kind: str, body: bytes, more: Mapping[str, str] | None = None
) -> bytes:
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
    return _head(target, f"POST {path}", fields) + body


def _head(target: Target, what: str, more: Mapping[str, str]) -> bytes:
    fields = {"Host": f"{target.host}:{target.port}", **more, **target.headers}
    lines = [f"{what} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
