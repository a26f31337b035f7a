"""`GET /openapi.json`: the API described for tools, its schemas drawn from the types that are really read and written."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import msgspec

from appliance.server.answers import ErrorAnswer
from appliance.server.representations import (
    BatchAnswer,
    ConventionList,
    LiveAnswer,
    ReadyAnswer,
    VectorFacts,
    VerdictAnswer,
)
from appliance.server.requests import ASSERTION_TYPE
from appliance.server.settings import ServerSettings
from appliance.vectors.model import VectorRequest

Json = Mapping[str, object]

_TYPES: Final = (
    VectorRequest,
    VectorFacts,
    BatchAnswer,
    VerdictAnswer,
    ConventionList,
    LiveAnswer,
    ReadyAnswer,
    ErrorAnswer,
)
_REFUSALS: Final = {
    "400": "malformed",
    "401": "unknown caller",
    "403": "foreign Host or Origin, or the convention forbids it",
    "408": "too slow",
    "413": "over a limit",
    "500": "our fault",
    "503": "full or unavailable; Retry-After says when to try again",
}


def describe_api(settings: ServerSettings) -> bytes:
    """Write the OpenAPI 3.1 document of the API, with the limits in force."""
    _, components = msgspec.json.schema_components(
        _TYPES, ref_template="#/components/schemas/{name}"
    )
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "InterOPS signing appliance",
            "version": version("interops-appliance"),
            "description": "Issues and verifies InterOPS identification vectors; each one is traced.",
        },
        "security": [{}, {"bearer": []}],
        "paths": _paths(settings),
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


def _paths(settings: ServerSettings) -> Json:
    vector = _json(VectorFacts) | {ASSERTION_TYPE: {"schema": {"type": "string"}}}
    message = {
        kind: {"schema": {"type": "string"}}
        for kind in (ASSERTION_TYPE, "text/xml", "application/soap+xml")
    }
    verify = _post("Verify a received vector", message, _json(VerdictAnswer))
    verify["parameters"] = [
        _parameter("convention", "the provider convention that it must satisfy"),
        _parameter("service", "the URI of the service that it must be meant for"),
    ]
    return {
        "/v1/vectors": {"post": _post("Issue one vector", _json(VectorRequest), vector)},
        "/v1/vectors/batch": {
            "post": _post("Issue many vectors", _batch(settings), _json(BatchAnswer))
        },
        "/v1/soap/secure": {"post": _secure()},
        "/v1/verifications": {"post": verify},
        "/v1/conventions": {"get": _get("List the conventions", _json(ConventionList))},
        "/v1/log/{log}/{resource}": {"get": _log_resource()},
        "/healthz": {"get": _get("Tell that the process lives", _json(LiveAnswer))},
        "/readyz": {"get": _get("Tell whether every part works (503: not)", _json(ReadyAnswer))},
        "/metrics": {"get": _get("Prometheus metrics", {"text/plain": {}})},
        "/openapi.json": {"get": _get("This document", {"application/json": {}})},
    }


def _secure() -> Json:
    message = {
        kind: {"schema": {"type": "string"}} for kind in ("text/xml", "application/soap+xml")
    }
    secure = _post("Put a vector into a SOAP message", message, message)
    secure["parameters"] = [
        _parameter("convention", "the client convention") | {"required": True},
        _field("Vector-Subject", "the user; without it the vector is for the application itself"),
        _field("Vector-Pagm", "a PAGM; may come several times"),
    ]
    return secure


def _field(name: str, description: str) -> dict[str, object]:
    return _parameter(name, f"{description}; percent-encoded where not ASCII") | {"in": "header"}


def _log_resource() -> Json:
    content = {"text/plain": {"schema": {"type": "string"}}, "application/octet-stream": {}}
    get = _get("Read a log: checkpoint, tile/…, tile/entries/…, proof/INDEX", content)
    described = {"log": "the log's name", "resource": "as C2SP tlog-tiles names it, or proof/INDEX"}
    get["parameters"] = [
        _parameter(name, text) | {"in": "path", "required": True}
        for name, text in described.items()
    ]
    return get


def _batch(settings: ServerSettings) -> Json:
    requests = {"type": "array", "items": _ref(VectorRequest), "maxItems": settings.batch_limit}
    schema = {
        "type": "object",
        "properties": {"requests": requests},
        "required": ["requests"],
        "additionalProperties": False,
    }
    return {"application/json": {"schema": schema}}


def _ref(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _json(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {"application/json": {"schema": _ref(kind)}}


def _get(summary: str, content: Json) -> dict[str, object]:
    refusals = {
        status: {"description": text, "content": _json(ErrorAnswer)}
        for status, text in _REFUSALS.items()
    }
    return {
        "summary": summary,
        "responses": {"200": {"description": "done", "content": content}, **refusals},
    }


def _post(summary: str, body: Json, content: Json) -> dict[str, object]:
    return _get(summary, content) | {"requestBody": {"required": True, "content": body}}


def _parameter(name: str, description: str) -> dict[str, object]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }
