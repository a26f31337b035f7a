"""The load tool against a server whose manners the test decides, and against the real service."""

import asyncio
import base64
import json
import os
import platform
import shlex
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from statistics import mean

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hdrh.histogram import HdrHistogram

from bench.load import driver, run_phases
from bench.load.command import TargetUnusable, find_route
from bench.load.phases import Arrivals, Phase, ramp
from bench.load.scenario import Ask, ClientTls, Scenario, Target, Wanted
from bench.machine import Circumstances
from bench.service import serve_home
from tests.pki import ec_key
from tests.service import RunningService
from tests.tools import Bench, run_bench
from tests.two_organisations import Organisations

GOOD = (200, b'{"assertion":""}')


@dataclass
class Scripted:
    """A loopback server that answers as told.

    Attributes:
        answer: status and body of the next answer; raising ConnectionError hangs up instead.
        requests: heads and bodies that came.
    """

    answer: Callable[[], tuple[int, bytes]] = lambda: GOOD
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)
    port: int = 0


@contextmanager
def scripted(tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Run it."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((f"{self.path} {self.headers['Authorization']}", body))
            if tls is not None:
                script.peers.add(str(self.connection.getpeercert()["subject"]))
            try:
                status, answer = script.answer()
            except ConnectionError:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    script.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_peer(pem: Path) -> None:
    """Write a certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec_key("load tool")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)


def ask_for(body: bytes = b"{}", vectors: int = 1, sign: bytes = b'"assertion":') -> Scenario:
    """A scenario of one request."""
    head = f"POST /v1/vectors HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return Scenario("single", (Ask(head + body, vectors, sign),))


def test_closed_loop_counts_what_came_in_time() -> None:
    """Every connection asks again when it is answered; rate, number and histogram are of the same answers."""
    with scripted() as server:
        [result] = run_phases(
            ask_for(),
            Target("127.0.0.1", server.port),
            [Phase(0.2, is_counted=False), Phase(0.5)],
            connections=4,
            processes=2,
        )
    assert result.offered is None
    assert result.processes == 2
    assert not result.errors
    assert result.request_rate * 0.5 == pytest.approx(result.requests)
    assert 0 < result.requests <= len(server.requests)
    histogram = HdrHistogram.decode(result.histogram)
    assert histogram.get_total_count() == result.requests
    assert histogram.get_max_value() / 1e6 == result.slowest
    assert 0 < result.p50 <= result.p99 <= result.p9999 <= result.slowest
    assert result.client > 0


def test_open_loop_owes_an_answer_to_every_arrival() -> None:
    """A stall counts against every request that should have been sent meanwhile, not against the one that was (coordinated omission)."""
    stall = 0.4
    stalled = threading.Lock()
    is_first = iter([True])

    def answer() -> tuple[int, bytes]:
        with stalled:
            if next(is_first, False):
                time.sleep(stall)
        return GOOD

    with scripted() as server:
        server.answer = answer
        [result] = run_phases(
            ask_for(),
            Target("127.0.0.1", server.port),
            [Phase(1.0, 200, Arrivals.FIXED)],
            connections=2,
        )
    assert result.requests == 200 == len(server.requests)
    assert result.offered == 200
    histogram = HdrHistogram.decode(result.histogram)
    delayed = (
        result.requests
        - histogram.get_count_at_value(0)
        - sum(
            each.count_added_in_this_iter_step
            for each in histogram.get_recorded_iterator()
            if each.value_iterated_to < stall / 2 * 1e6
        )
    )
    # Those of the first half of the stall waited longer than its second half: 200/s x 0.2 s.
    assert delayed >= 40 - 2


def test_steps_are_measured_apart() -> None:
    """Each rate of a ramp is one result; Poisson arrivals come at the rate that was asked for."""
    with scripted() as server:
        low, high = run_phases(
            ask_for(),
            Target("127.0.0.1", server.port),
            [Phase(0.5, rate) for rate in ramp(100, 300, 2)],
            connections=8,
            processes=2,
        )
    assert (low.offered, high.offered) == (100, 300)
    assert low.arrivals == "poisson"
    assert low.requests + high.requests == len(server.requests)
    assert low.requests < high.requests


def test_every_kind_of_failure_is_counted_by_name() -> None:
    """Refusals by reason, answers that are not what was asked for, refused items of a batch, lost connections."""
    refusal = json.dumps(
        {"error": {"reason": "queue-full", "detail": "", "request_id": ""}}
    ).encode()
    answers = iter(
        [
            (503, refusal),
            (500, b"oh"),
            (200, b'{"results":[{"vector":{"assertion":""}},{"error":{}}]}'),
            (200, b'{"results":[{"vector":{"assertion":""}}]}'),
            None,
        ]
    )
    lock = threading.Lock()

    def answer() -> tuple[int, bytes]:
        with lock:
            chosen = next(answers, (200, 2 * GOOD[1]))
        if chosen is None:
            raise ConnectionAbortedError
        return chosen

    with scripted() as server:
        server.answer = answer
        [result] = run_phases(
            ask_for(vectors=2), Target("127.0.0.1", server.port), [Phase(0.5, 40)], connections=1
        )
    assert result.errors == {
        "503 queue-full": 1,
        "500": 1,
        "refused in batch": 1,
        "1 answers to a batch of 2": 1,
        "connection lost": 1,
    }
    assert result.requests == len(server.requests) - 4
    assert 0 < result.rate * 0.5 <= 2 * result.requests - 1


def test_an_answer_that_is_not_what_was_asked_for_is_an_error() -> None:
    """Of one vector, too: a 200 without it is none."""
    answers = iter([(200, b"{}")])
    with scripted() as server:
        server.answer = lambda: next(answers, GOOD)
        [result] = run_phases(
            ask_for(), Target("127.0.0.1", server.port), [Phase(0.3, 40)], connections=1
        )
    assert result.errors == {'an answer without "assertion":': 1}
    assert result.requests == len(server.requests) - 1


def test_what_is_never_answered_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests under way when the client loses its patience and hangs up, and arrivals that no connection was free for: one error each."""
    release = threading.Event()

    def answer() -> tuple[int, bytes]:
        release.wait(10)
        return GOOD

    monkeypatch.setattr(driver, "_PATIENCE", 0.3)
    with scripted() as server:
        server.answer = answer
        phases = (Phase(0.5, 20, Arrivals.FIXED),)
        plan = driver.Plan(ask_for(), Target("127.0.0.1", server.port), 2, phases, "seed")
        [sample] = asyncio.run(driver.Driver(plan, [0, 0], 0).run())
        release.set()
    assert sample.errors == {"no answer": 10}


def test_a_server_that_is_not_there_is_an_error_not_a_hang() -> None:
    """Nothing listens: the phase ends, nothing was answered."""
    with scripted() as server:
        port = server.port
    [result] = run_phases(ask_for(), Target("127.0.0.1", port), [Phase(0.3)], connections=1)
    assert result.requests == 0
    assert set(result.errors) == {"ConnectionRefusedError"}


def test_fixed_arrivals_are_even_and_poisson_ones_are_not() -> None:
    """Fixed: one every 1/rate. Poisson: intervals of that mean, whose spread is their mean; the same seed, the same arrivals."""
    assert list(Phase(0.5, 10, Arrivals.FIXED).intended_times(100.0, 0)) == pytest.approx(
        [100.0, 100.1, 100.2, 100.3, 100.4]
    )
    times = list(Phase(100, 100).intended_times(0.0, seed=7))
    gaps = [after - before for before, after in pairwise(times)]
    assert mean(gaps) == pytest.approx(0.01, rel=0.05)
    assert mean((gap - 0.01) ** 2 for gap in gaps) == pytest.approx(0.0001, rel=0.1)
    assert times == list(Phase(100, 100).intended_times(0.0, seed=7))
    assert times != list(Phase(100, 100).intended_times(0.0, seed=8))
    assert list(Phase(5).intended_times(0.0, 0)) == []


def test_no_two_phases_have_the_same_arrivals(tmp_path: Path) -> None:
    """What one phase draws is not repeated in the next, nor in another turn. Each good answer is noted."""
    with scripted() as server:
        server.answer = lambda: (200, b'{"id":"_v","assertion":""}')
        results = run_phases(
            ask_for(),
            Target("127.0.0.1", server.port),
            [Phase(0.2, 200, turn=turn) for turn in (1, 1, 2)],
            notes=tmp_path,
        )
    came = [one.requests for one in results]
    assert len(set(came)) == 3
    assert (tmp_path / "0").read_text() == "_v\n" * sum(came)


def test_mutual_tls(tmp_path: Path) -> None:
    """The client trusts what it is told to and shows its certificate."""
    pem = tmp_path / "peer.pem"
    write_peer(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    with scripted(context) as server:
        target = Target("127.0.0.1", server.port, ClientTls(pem, pem))
        [result] = run_phases(ask_for(), target, [Phase(0.5)], connections=2)
    assert result.requests
    assert server.peers == {"((('commonName', 'peer'),),)"}


@pytest.mark.hsm
@pytest.mark.parametrize("scenario", ["single", "batch", "verify", "health"])
def test_scenarios_against_the_service(service: RunningService, scenario: str) -> None:
    """Each scenario brings good answers from a real service, and says so to a program."""
    [result] = run_tool(
        "--url", f"http://127.0.0.1:{service.port}", "--scenario", scenario, "--seconds", "0.5",
        "--connections", "4", "--batch-size", "8", "--json",
    )["results"]  # fmt: skip
    assert result["scenario"] == scenario
    assert result["errors"] == {}
    assert result["requests"] > 0
    assert base64.b64decode(result["histogram"])
    assert result["batch"] == {"single": 1, "batch": 8, "verify": 1, "health": 0}[scenario]


def test_a_run_says_where_and_how_it_was_measured(tmp_path: Path) -> None:
    """What a reader needs to believe it: machine, versions, command line, load, begin; a caller's key is sent, and is not among it."""
    key = tmp_path / "caller.key"
    key.write_text("correct-horse\n")
    begun = datetime.now(UTC).replace(microsecond=0)
    with scripted() as server:
        arguments = (
            "--url", f"http://127.0.0.1:{server.port}", "--bearer-file", str(key), "--scenario", "single",
            "--rate", "50", "--seconds", "0.2", "--warm-up", "0.1", "--json",
        )  # fmt: skip
        run = run_tool(*arguments)
        assert {head for head, _ in server.requests} == {"/v1/vectors Bearer correct-horse"}
    stated = msgspec.convert(run, Circumstances)
    assert stated.command == shlex.join(["python", "-m", "bench", "load", *arguments])
    assert "correct-horse" not in json.dumps(run)
    assert begun <= datetime.fromisoformat(stated.begun) <= datetime.now(UTC)
    assert stated.seconds > 0.3
    machine = stated.machine
    assert machine.processor
    assert machine.memory > 2**28
    assert machine.cores == len(os.sched_getaffinity(0))
    assert platform.release() in machine.system
    assert machine.versions["python"] == platform.python_version()
    assert machine.versions["interops-appliance"]
    assert min(machine.load_before, machine.load_after) >= 0
    assert [result["offered"] for result in run["results"]] == [50]


@pytest.mark.hsm
def test_messages_through_the_gateway(both: Organisations) -> None:
    """The scenario `gateway` posts SOAP messages to an outbound route; each gets a vector of its own and arrives."""
    [result] = run_tool(
        "--url", f"http://127.0.0.1:{both.application.port}", "--scenario", "gateway",
        "--seconds", "0.4", "--connections", "2", "--json",
    )["results"]  # fmt: skip
    assert result["errors"] == {}
    assert result["requests"] > 0
    assert result["batch"] == 1


@pytest.mark.hsm
def test_a_home_knows_its_route(both: Organisations) -> None:
    """With a home the route, its listener and its header are looked up; a route that is not there is refused."""
    home = both.client.home
    target, wanted = find_route(home, Wanted(), None, None)
    assert (target.port, wanted.path) == (both.application.port, "/droits")
    assert wanted.subject_header == "X-Subject"
    assert find_route(home, Wanted(), "/jws", "X-Agent")[1].path == "/jws"
    with pytest.raises(TargetUnusable, match="the route /nowhere"):
        find_route(home, Wanted(), "/nowhere", None)


def test_a_service_that_does_not_start_says_what_it_logged(tmp_path: Path) -> None:
    """Its log is gone with its home by the time anybody could read it."""
    with (
        pytest.raises(
            RuntimeError, match=r"not become ready; its log ends with\n  .*appliance\.toml"
        ),
        serve_home(tmp_path),
    ):
        pass


@pytest.mark.hsm
def test_reuse_needs_a_convention_that_allows_it(service: RunningService) -> None:
    """A scenario that the service refuses names the reason and ends with 1."""
    done = run_bench("load",
        "--url", f"http://127.0.0.1:{service.port}", "--scenario", "reuse", "--seconds", "0.2",
        "--rate", "20",
    )  # fmt: skip
    assert done.returncode == 1
    assert "x 403 reuse-not-granted" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--url", "ftp://127.0.0.1"], 2, "expected http://HOST[:PORT]"),
        (["--url", "http://127.0.0.1:99999"], 2, "expected http://HOST[:PORT]"),
        (["--url", "https://127.0.0.1:1"], 2, "--ca: the certificates to trust"),
        (["--url", "https://127.0.0.1:1", "--ca", __file__], 2, "do not fit"),
        (["--url", "http://127.0.0.1:1", "--rate", "0"], 2, "a number above 0"),
        (["--url", "http://127.0.0.1:1", "--ramp", "1:2"], 2, "FROM:TO:STEPS"),
        (["--url", "http://127.0.0.1:1", "--rate", "1", "--ramp", "1:2:3"], 2, "not allowed with"),
        (["--url", "http://127.0.0.1:1", "--processes", "33"], 2, "fewer connections than processes"),
        (["--url", "http://127.0.0.1:1", "--scenario", "verify"], 3, "refused"),
        (["--url", "http://127.0.0.1:1", "--bearer-file", "/nowhere"], 3, "/nowhere"),
    ],
)  # fmt: skip
def test_unusable_arguments(bench: Bench, arguments: list[str], status: int, says: str) -> None:
    """What cannot be run is refused in a sentence."""
    done = bench("load", *arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def run_tool(*arguments: str) -> dict:
    """Run it and read its JSON."""
    done = run_bench("load", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)
