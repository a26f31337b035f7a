"""The API of CONTRACT 3 over real sockets: routes, callers, request ids, media types, errors."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from appliance.errors import (
    ConventionViolation,
    HsmUnavailable,
    InternalError,
    MalformedRequest,
    QueueFull,
    Reason,
    SpoolFull,
    SpoolUnavailable,
    VectorRefused,
)
from appliance.native import locate
from appliance.operations.checks import checks_of
from appliance.operations.faults import fault_of
from appliance.operations.verify import Verdict
from appliance.server.callers import BearerKey
from appliance.server.settings import ServerSettings
from appliance.trace.record import Receipt
from appliance.vectors.model import AcceptedVector, VerifiedVector
from tests.api_server import RunningApi, running_api, write_request
from tests.software_operations import (
    CONVENTION,
    ScriptedHealth,
    ScriptedVerifier,
    SoftwareIssuer,
    make_operations,
)

KEY = "correct horse battery staple"
KEYS = (
    BearerKey("portal", hashlib.sha256(KEY.encode()).digest(), frozenset({"elsewhere"})),
    BearerKey("other", hashlib.sha256(b"other").digest()),
)
VECTOR = {"convention": "demo-client", "subject": "agent-0042", "pagms": ["PAGM_CONSULTATION"]}
FAILURES = {
    "queue-full": QueueFull(Reason.QUEUE_FULL, "4096 jobs wait", retry_after=3),
    "spool-full": SpoolFull(Reason.SPOOL_FULL, "the spool is full"),
    "hsm": HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane signs", retry_after=7),
    "spool": SpoolUnavailable(Reason.SPOOL_UNAVAILABLE, "the disk is full"),
    "pagm": ConventionViolation(Reason.PAGM_NOT_GRANTED, "ask for PAGM_CONSULTATION"),
    "ours": InternalError(Reason.INTERNAL, "the secret detail"),
    "bug": KeyError("the secret detail"),
}


@pytest.fixture(scope="module")
def issuer() -> SoftwareIssuer:
    """An issuer that fails for certain subjects."""
    return SoftwareIssuer(failures=FAILURES)


@pytest.fixture(scope="module")
def api(issuer: SoftwareIssuer) -> Iterator[RunningApi]:
    """A server whose operations work."""
    settings = ServerSettings(batch_limit=50)
    with running_api(make_operations(issuer), settings, KEYS, os.getuid()) as running:
        yield running


def test_a_vector_is_issued(api: RunningApi):
    """The answer holds every fact of the contract and the assertion as it was signed."""
    answer = api.request("POST", "/v1/vectors", VECTOR, content_type="application/json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    facts = answer.json
    assert list(facts) == [
        *("id", "convention", "issuer", "audience", "recipient", "subject", "pagms"),
        *("not_before", "not_on_or_after", "reused", "assertion", "trace"),
    ]
    assert (facts["subject"], facts["pagms"], facts["reused"]) == (
        *("agent-0042", ["PAGM_CONSULTATION"]),
        False,
    )
    assert locate(facts["assertion"].encode()).kind == "assertion"
    assert set(facts["trace"]) == {"log", "index"}


def test_a_vector_for_the_application_has_no_subject(api: RunningApi):
    """Without a subject the answer says null."""
    answer = api.request("POST", "/v1/vectors", {"convention": "demo-client"})
    assert answer.json["subject"] is None


@pytest.mark.parametrize(
    "accept",
    [
        "application/samlassertion+xml",
        "Application/SAMLAssertion+XML; q=0.9, application/json; q=0.5",
        "application/samlassertion+xml, application/json",
    ],
)
def test_the_assertion_alone_is_answered_on_request(api: RunningApi, accept: str):
    """The body is the assertion's octets; the rest stands in header fields."""
    body = VECTOR | {"subject": "Zoë 100%\n", "pagms": ["PAGM_CONSULTATION", "PAGM_GESTION"]}
    answer = api.request("POST", "/v1/vectors", body, accept=accept)
    assert answer.headers["content-type"] == "application/samlassertion+xml"
    assert locate(answer.body).kind == "assertion"
    assert answer.headers["vector-subject"] == "Zo%C3%AB 100%25%0A"
    assert [value for name, value in answer.pairs if name == "vector-pagm"] == body["pagms"]
    assert answer.headers["vector-convention"] == "demo-client"
    assert answer.headers["vector-reused"] == "false"
    assert int(answer.headers["trace-index"]) > 0


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/samlassertion+xml;q=0",
        "application/samlassertion+xml;q=x",
        "text/html",
        "application/json, application/samlassertion+xml;q=0.1",
    ],
)
def test_json_is_answered_otherwise(api: RunningApi, accept: str):
    """Any other Accept gets JSON."""
    answer = api.request("POST", "/v1/vectors", VECTOR, accept=accept)
    assert answer.headers["content-type"] == "application/json"


def test_two_accept_fields_are_one_list(api: RunningApi):
    """RFC 9110 5.3: fields of one name are joined."""
    octets = write_request("POST", "/v1/vectors", VECTOR, accept="application/json;q=0.1")
    both = octets.replace(b"\r\n\r\n", b"\r\nAccept: application/samlassertion+xml\r\n\r\n", 1)
    assert api.ask(both).headers["content-type"] == "application/samlassertion+xml"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"[]", "at $: expected `object`, got `array`"),
        (b"<a/>", "/v1/verifications"),
        (b'{"convention": "\xff"}', "the body is not JSON"),
        (b'{"convention": "\\ud800"}', "the body is not JSON"),
        (b'{"convention": 7}', "at $.convention: expected `str`, got `int`"),
        (b'{"pagms": []}', "at $: object missing required field `convention`"),
        (b'{"convention": "c", "pagm": []}', "at $: object contains unknown field `pagm`"),
        (b'{"convention": "c", "pagms": ["a", 1]}', "at $.pagms[1]: expected `str`, got `int`"),
        (
            b'{"convention": "c", "attributes": {"a": "b"}}',
            "at $.attributes[...]: expected `array`",
        ),
        (b'{"convention": "c", "x": ' + b"[" * 100_000, "at $: object contains unknown field `x`"),
        (b"[" * 100_000 + b"]" * 100_000, "at $: expected `object`, got `array`"),
    ],
)
def test_malformed_json_is_refused_by_place(api: RunningApi, body: bytes, said: str):
    """A body that is not the request is a 400 that says where and what was expected; the connection goes on."""
    with api.connect() as connection:
        answer = connection.ask(write_request("POST", "/v1/vectors", body))
        assert (answer.status, answer.reason) == (400, "malformed-json")
        assert said in answer.json["error"]["detail"]
        assert connection.ask(write_request("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/xml", "text/xml; charset=utf-8", "application/soap+xml", "multipart/related"],
)
def test_xml_is_refused_where_json_is_taken(api: RunningApi, content_type: str):
    """The sentence says where XML goes."""
    answer = api.request("POST", "/v1/vectors", VECTOR, content_type=content_type)
    assert (answer.status, answer.reason) == (400, "malformed-json")
    assert "/v1/verifications" in answer.json["error"]["detail"]


def test_json_in_another_charset_is_refused(api: RunningApi):
    """JSON is UTF-8."""
    answer = api.request(
        "POST", "/v1/vectors", VECTOR, content_type='application/json; charset="latin-1"'
    )
    assert (answer.status, answer.reason) == (400, "malformed-json")


def test_a_batch_keeps_order_and_harms_nobody(api: RunningApi):
    """Each result stands where its request stood; what is wrong with one is said there and nowhere else."""
    requests = [
        VECTOR,
        {"convention": 7},
        VECTOR | {"subject": "pagm"},
        VECTOR | {"subject": "second"},
        "nonsense",
        VECTOR | {"subject": "ours"},
        VECTOR | {"subject": "hsm"},
    ]
    answer = api.request(
        "POST", "/v1/vectors/batch", {"requests": requests}, x_request_id="batch-1"
    )
    results = answer.json["results"]
    assert answer.status == 200
    assert [next(iter(result)) for result in results] == [
        *("vector", "error", "error", "vector", "error", "error", "error")
    ]
    assert results[3]["vector"]["subject"] == "second"
    errors = [result["error"] for result in results if "error" in result]
    assert [error["reason"] for error in errors] == [
        *("malformed-json", "pagm-not-granted", "malformed-json", "internal", "hsm-unavailable")
    ]
    assert errors[0]["detail"].startswith("at $.requests[1].convention:")
    assert "secret" not in errors[3]["detail"]
    assert {error["request_id"] for error in errors} == {"batch-1"}


def test_an_empty_batch_has_no_results(api: RunningApi):
    """Nothing asked, nothing answered."""
    assert api.request("POST", "/v1/vectors/batch", {"requests": []}).json == {"results": []}


def test_a_batch_over_its_limit_is_refused_whole(api: RunningApi):
    """The refusal names the limit."""
    answer = api.request("POST", "/v1/vectors/batch", {"requests": [VECTOR] * 51})
    assert (answer.status, answer.reason) == (413, "batch-too-large")
    assert "50" in answer.json["error"]["detail"]


@pytest.mark.parametrize("body", [{"requests": {}}, {"requests": [], "more": 1}, {}, []])
def test_what_is_no_batch_is_refused(api: RunningApi, body: object):
    """The envelope of a batch is checked like any body."""
    answer = api.request("POST", "/v1/vectors/batch", json.dumps(body).encode())
    assert (answer.status, answer.reason) == (400, "malformed-json")


@pytest.mark.parametrize(
    ("subject", "status", "reason", "retry_after"),
    [
        ("queue-full", 503, "queue-full", "3"),
        ("spool-full", 503, "spool-full", "1"),
        ("hsm", 503, "hsm-unavailable", "7"),
        ("spool", 503, "spool-unavailable", "1"),
        ("pagm", 403, "pagm-not-granted", None),
        ("ours", 500, "internal", None),
        ("bug", 500, "internal", None),
    ],
)
def test_every_error_has_its_status(
    api: RunningApi, subject: str, status: int, reason: str, retry_after: str | None
):
    """The class of the error decides; push-back says when to come back; our own faults say nothing but their id."""
    answer = api.request(
        "POST", "/v1/vectors", VECTOR | {"subject": subject}, x_request_id="failing"
    )
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers["x-request-id"] == answer.json["error"]["request_id"] == "failing"
    assert "secret" not in answer.json["error"]["detail"]


def test_an_accepted_vector_is_stated():
    """The verdict holds the convention, the vector as its signature covers it, the checks and the trace."""
    octets = locate(b"<a/>")
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    vector = VerifiedVector(
        octets=octets,
        assertion_id="_1",
        issue_instant="2026-03-01T12:00:00Z",
        issuer="urn:issuer",
        name_id="agent-0042",
        name_id_format=None,
        confirmation_methods=(),
        confirmation_not_before=None,
        confirmation_not_on_or_after=None,
        recipient="urn:recipient",
        audiences=("http://service",),
        not_before=noon,
        not_on_or_after=noon.replace(hour=13),
        authn_instant=None,
        level="urn:level",
        pagm_attributes=1,
        pagms=("A", "B"),
        attributes={"mail": ("a@b",)},
        signature_algorithm="rsa",
        digest_algorithm="sha",
        variant="A",
        certificates=(),
    )
    accepted = AcceptedVector(
        vector,
        "demo-provider",
        "agent-0042",
        ("A",),
        {"mail": ("a@b",)},
        legacy_sha1=False,
        replay="log",
    )
    verdict = Verdict(accepted, None, checks_of(None), Receipt("w0", 41))
    verifier = ScriptedVerifier(verdict)
    with running_api(make_operations(verifier=verifier)) as api:
        path = "/v1/verifications?convention=demo-provider&service=http%3A%2F%2Fservice"
        answer = api.request("POST", path, b"<a/>", content_type="application/samlassertion+xml")
    assert verifier.asked == [(b"<a/>", "demo-provider", "http://service")]
    assert (answer.status, answer.json["verdict"]) == (200, "accepted")
    assert answer.json["convention"] == "demo-provider"
    assert answer.json["trace"] == {"log": "w0", "index": 41}
    assert {check["outcome"] for check in answer.json["checks"]} == {"passed"}
    assert answer.json["vector"] == {
        "id": "_1",
        "issuer": "urn:issuer",
        "audience": "http://service",
        "recipient": "urn:recipient",
        "subject": "agent-0042",
        "name_id_format": None,
        "pagms": ["A"],
        "attributes": {"mail": ["a@b"]},
        "authn_context": "urn:level",
        "authn_instant": None,
        "issue_instant": "2026-03-01T12:00:00Z",
        "not_before": "2026-03-01T12:00:00.000Z",
        "not_on_or_after": "2026-03-01T13:00:00.000Z",
        "signature_algorithm": "rsa",
        "legacy_sha1": False,
    }


def test_a_refused_vector_is_stated_with_its_fault():
    """The fault has code, namespace, reason and string; a check after the failed one was not run."""
    refusal = VectorRefused(Reason.AUDIENCE_MISMATCH, "another service")
    verdict = Verdict(None, fault_of(refusal), checks_of(refusal), Receipt("w0", 42))
    with running_api(make_operations(verifier=ScriptedVerifier(verdict))) as api:
        answer = api.request("POST", "/v1/verifications", b"<a/>")
    assert answer.status == 200
    assert list(answer.json) == ["verdict", "fault", "checks", "trace"]
    assert answer.json["fault"] | {"string": ""} == {
        "code": "vi:InvalidService",
        "namespace": "urn:iops:vi:faultcodes",
        "reason": "audience-mismatch",
        "string": "",
    }
    outcomes = [check["outcome"] for check in answer.json["checks"]]
    assert {"passed", "failed", "not-run"} == set(outcomes)


def test_unreadable_xml_is_a_400():
    """What the reader refuses is malformed, not a verdict."""
    refusal = MalformedRequest(Reason.DTD_FORBIDDEN, "remove the DOCTYPE")
    with running_api(make_operations(verifier=ScriptedVerifier(refusal))) as api:
        answer = api.request("POST", "/v1/verifications", b"<!DOCTYPE a><a/>")
    assert (answer.status, answer.reason) == (400, "dtd-forbidden")


def test_json_is_refused_where_xml_is_taken(api: RunningApi):
    """The sentence says what to send."""
    answer = api.request("POST", "/v1/verifications", b"{}", content_type="application/json")
    assert (answer.status, answer.reason) == (400, "malformed-xml")
    assert "samlassertion" in answer.json["error"]["detail"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/verifications?convention=a&convention=b", "`convention` stands twice"),
        ("/v1/verifications?at=now", "unknown query parameter `at`"),
        ("/v1/verifications?service=%FF", "percent-encoded UTF-8"),
        ("/v1/vectors?subject=agent-0042", "unknown query parameter `subject`"),
        ("/v1/vectors/batch?x", "unknown query parameter `x`"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(api: RunningApi, path: str, said: str):
    """A parameter is never ignored: it may have been meant to decide something."""
    answer = api.request("POST", path, VECTOR if "vectors" in path else b"<a/>")
    assert (answer.status, answer.reason) == (400, "malformed-http")
    assert said in answer.json["error"]["detail"]


def test_an_unknown_path_is_a_404(api: RunningApi):
    """Paths are exact."""
    for path in ("/", "/v1/vectors/", "/v1/vector", "/%68ealthz", "/healthz%00", "//healthz"):
        answer = api.request("GET", path)
        assert (answer.status, answer.reason) == (404, "not-found"), path


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/vectors", "POST"),
        ("DELETE", "/v1/vectors/batch", "POST"),
        ("OPTIONS", "/v1/verifications", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PUT", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405(api: RunningApi, method: str, path: str, allow: str):
    """Allow says which would be right."""
    answer = api.request(method, path)
    assert (answer.status, answer.reason) == (405, "method-not-allowed")
    assert answer.headers["allow"] == allow


def test_head_answers_without_a_body(api: RunningApi):
    """HEAD has the fields of GET, and leaves the connection in step."""
    with api.connect() as connection:
        connection.send(write_request("HEAD", "/healthz"))
        head = connection.sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 13" in head
        assert head.endswith(b"\r\n\r\n")
        assert connection.ask(write_request("GET", "/healthz")).json == {"live": True}


def test_a_request_id_is_taken_when_it_is_safe(api: RunningApi, issuer: SoftwareIssuer):
    """It comes back and reaches the operation."""
    answer = api.request("POST", "/v1/vectors", VECTOR, x_request_id="a-Z.9_:~+/=")
    assert answer.headers["x-request-id"] == "a-Z.9_:~+/="
    assert issuer.contexts[-1].request_id == "a-Z.9_:~+/="


@pytest.mark.parametrize("shown", [None, "", "a" * 129, "a b", "a<b", 'a"b', "é"])
def test_a_request_id_is_made_otherwise(api: RunningApi, shown: str | None):
    """An id that could disturb a log is replaced, not refused."""
    fields = {} if shown is None else {"x_request_id": shown}
    made = {api.request("GET", "/healthz", **fields).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert all(len(each) == 24 and each.isalnum() for each in made)


def test_a_loopback_peer_is_a_caller(api: RunningApi, issuer: SoftwareIssuer):
    """Over TCP on this machine nothing more is needed; the trace will say loopback."""
    api.request("POST", "/v1/vectors", VECTOR)
    context = issuer.contexts[-1]
    assert (context.caller.kind, context.caller.name, context.peer) == (
        *("loopback", "loopback"),
        "127.0.0.1",
    )


def test_a_unix_peer_of_our_own_user_is_a_caller(api: RunningApi, issuer: SoftwareIssuer):
    """The kernel says who connects."""
    with api.connect_unix() as connection:
        octets = write_request("POST", "/v1/vectors", VECTOR, host="appliance")
        assert connection.ask(octets).status == 200
    caller = issuer.contexts[-1].caller
    assert (caller.kind, caller.name) == ("unix", f"uid:{os.getuid()}")


def test_a_bearer_key_names_its_caller(api: RunningApi, issuer: SoftwareIssuer):
    """The scheme is case-insensitive, the caller is the configured one with its conventions."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        api.request("POST", "/v1/vectors", VECTOR, authorization=f"{scheme} {KEY}")
        caller = issuer.contexts[-1].caller
        assert (caller.name, caller.kind, caller.conventions) == (
            *("portal", "key"),
            frozenset({"elsewhere"}),
        )


@pytest.mark.parametrize(
    "authorization",
    ["Bearer wrong", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Basic {KEY}", KEY, ""],
)
def test_a_wrong_credential_is_a_401_even_on_loopback(api: RunningApi, authorization: str):
    """Who shows a credential wants it judged."""
    answer = api.request("POST", "/v1/vectors", VECTOR, authorization=authorization)
    assert (answer.status, answer.reason) == (401, "unknown-caller")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorization_fields_are_refused(api: RunningApi):
    """Nobody may choose which of two credentials counts."""
    octets = write_request("GET", "/healthz", authorization=f"Bearer {KEY}")
    twice = octets.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer wrong\r\n\r\n")
    assert api.ask(twice).reason == "malformed-http"


def test_an_unknown_caller_is_answered_before_its_body_is_read(api: RunningApi):
    """A 401 does not wait for ten megabytes."""
    with api.connect() as connection:
        octets = write_request("POST", "/v1/vectors", authorization="Bearer wrong")
        answer = connection.ask(octets.replace(b"content-length: 0", b"content-length: 9999999"))
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert connection.is_closed()


def test_a_unix_peer_of_another_user_needs_a_key():
    """The socket's permissions are not the only door."""
    with running_api(keys=KEYS, own_uid=os.getuid() + 1) as api:
        api.unix_path.parent.chmod(0o711)
        api.unix_path.chmod(0o666)
        with not_root():
            connection = api.connect_unix()
        with connection:
            asked = write_request("GET", "/healthz", host="localhost")
            assert connection.ask(asked).status == 401


@contextmanager
def not_root() -> Iterator[None]:
    """Be a user whom the kernel does not call root, whoever runs the tests: the peer of a socket is who connected it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", "localhost.", "appliance", "", "a b"],
)
def test_a_foreign_host_is_a_403(api: RunningApi, host: str):
    """DNS rebinding brings a browser here under another name."""
    answer = api.request("GET", "/healthz", host=host)
    assert (answer.status, answer.reason) == (403, "foreign-host")


def test_our_own_names_are_taken(api: RunningApi):
    """The address and the names of loopback, with the port or without."""
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for host in (name, f"{name}:{api.port}"):
            assert api.request("GET", "/healthz", host=host).status == 200, host


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8440", "null", ""])
def test_any_origin_is_a_403(api: RunningApi, origin: str):
    """Only browsers send it, and none has business here."""
    answer = api.request("POST", "/v1/vectors", VECTOR, origin=origin)
    assert (answer.status, answer.reason) == (403, "foreign-origin")


def test_readiness_names_what_is_missing():
    """200 when all works, else 503 with the reasons."""
    health = ScriptedHealth()
    with running_api(make_operations(health=health)) as api:
        answer = api.request("GET", "/readyz")
        assert (answer.status, answer.json) == (200, {"ready": True, "reasons": []})
        health.reasons.append("key demo-rsa: no lane signs")
        answer = api.request("GET", "/readyz")
        assert answer.status == 503
        assert answer.json == {"ready": False, "reasons": ["key demo-rsa: no lane signs"]}


def test_conventions_are_listed_for_who_may_use_them(api: RunningApi):
    """A caller sees its own conventions only."""
    (listed,) = api.request("GET", "/v1/conventions").json["conventions"]
    assert (listed["id"], listed["role"], listed["issuer"]) == (
        *(CONVENTION.id, "client"),
        CONVENTION.issuer,
    )
    assert listed["pagms"] == ["PAGM_CONSULTATION", "PAGM_GESTION"]
    restricted = api.request("GET", "/v1/conventions", authorization=f"Bearer {KEY}")
    assert restricted.json == {"conventions": []}


def test_metrics_count_what_happened(api: RunningApi):
    """Answers by route and status, refusals by reason."""
    api.request("POST", "/v1/vectors", VECTOR)
    api.request("GET", "/nowhere")
    answer = api.request("GET", "/metrics?name[]=up")
    lines = answer.body.decode().splitlines()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for begin in (
        'appliance_requests_total{route="/v1/vectors",status="200"} ',
        'appliance_requests_total{route="none",status="404"} ',
        'appliance_errors_total{reason="not-found"} ',
        'appliance_request_seconds_count{route="/v1/vectors"} ',
        f'appliance_connections{{listener="127.0.0.1:{api.port}"}} ',
    ):
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(begin)]
        assert values, begin
        assert values[0] >= 1, begin


def test_the_description_lists_exactly_the_routes(api: RunningApi):
    """Every described path answers, every answered path is described, with its method and resolvable schemas."""
    described = api.request("GET", "/openapi.json").json
    paths = {(path, method.upper()) for path, item in described["paths"].items() for method in item}
    served = {(route.path, route.method) for route in api.application.routes}
    assert paths == served
    references = set(find_references(described))
    schemas = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references <= schemas
    batch = described["paths"]["/v1/vectors/batch"]["post"]["requestBody"]["content"]
    assert batch["application/json"]["schema"]["properties"]["requests"]["maxItems"] == 50


def find_references(value: object) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref":
                yield item
            else:
                yield from find_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from find_references(item)
