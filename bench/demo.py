"""`make run`: a stranger watches an HSM-backed service issue, refuse, verify and trace vectors, with rates beside the ceiling.

Everything is real: the service is `appliance serve` on the home's SoftHSM token, the second verifier is libxmlsec, the trace is read
back from the disk. Any step that does not come out as said ends the demo with exit code 1.
"""

import argparse
import http.client
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

import xmlsec
from lxml import etree  # noqa: TID251 - the independent verifier's own reader

from appliance.config import load_config
from appliance.home import Home
from appliance.ownership import find_sharing
from appliance.trace.checkpoint import read_audit_key
from appliance.trace.verify import verify_log
from appliance.trace.view import LogPlace
from bench.ceiling import Ceiling, measure_home_ceiling
from bench.load import LoadResult, run_load
from bench.organisations import SceneFailed, make_home
from bench.service import serve_home
from bench.two import ActFailed, show_two_organisations

_BATCH: Final = 64
_SECONDS: Final = 3.0


class DemoFailed(Exception):
    """A step did not come out as it should."""


class _Fault(TypedDict):
    code: str
    string: str


class _Error(TypedDict):
    reason: str
    detail: str


class _Check(TypedDict):
    name: str
    outcome: str


class _Receipt(TypedDict):
    log: str
    index: int


class _Answer(TypedDict, total=False):
    id: str
    assertion: str
    not_before: str
    not_on_or_after: str
    trace: _Receipt
    verdict: str
    fault: _Fault
    checks: list[_Check]
    error: _Error
    results: list[dict[str, "_Answer"]]


@dataclass(frozen=True, slots=True)
class _Service:
    """The running service's address."""

    host: str
    port: int

    def post(self, path: str, body: bytes) -> tuple[int, _Answer]:
        """Send one request; return status and decoded answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, cast("_Answer", json.loads(answer.read()))
        finally:
            connection.close()

    def issue(self, pagm: str) -> tuple[int, _Answer]:
        """Ask for one vector of the demo convention."""
        request = {"convention": "demo-client", "subject": "agent-0042", "pagms": [pagm]}
        return self.post("/v1/vectors", json.dumps(request).encode())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench demo`."""
    parser.add_argument(
        "--home", type=Path, default=Path("demo"), help="demo home, made when it is not there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when everything came out as said."""
    begun = time.monotonic()
    try:
        _say_title(
            "InterOPS signing appliance: from a key in an HSM to signed, verified, traced vectors"
        )
        _make_home(arguments.home)
        started = time.monotonic()
        with serve_home(arguments.home) as served:
            _say("service", served.ready_line.partition(": ")[2])
            _say(
                "",
                f"ready in {time.monotonic() - started:.1f} s; the private key stays in the token",
            )
            _say("", _describe_users(arguments.home))
            service = _Service(served.host, served.port)
            vector = _issue_one(service)
            _verify_twice(service, arguments.home, vector)
            _show_refusals(service, vector)
            _issue_batch(service)
            ceiling, single, batch = _measure(arguments.home, service)
        _say("stop", "SIGTERM: drained, every process ended, exit code 0")
        _check_trace(arguments.home, vector["trace"])
        _say_title("The same in line: two organisations, and applications that only speak SOAP")
        show_two_organisations(arguments.home, _say)
    except (DemoFailed, ActFailed, SceneFailed, RuntimeError) as exc:
        print(f"\ndemo failed: {exc}", file=sys.stderr)
        return 1
    _say_summary(ceiling, single, batch, time.monotonic() - begun)
    return 0


def _describe_users(home: Path) -> str:
    config = load_config(home)
    shared = [why for token in config.tokens if (why := find_sharing(config, token)) is not None]
    return shared[0] if shared else "lanes and workers are different users: no worker reads the PIN"


def _make_home(home: Path) -> None:
    if (home / "appliance.toml").is_file():
        _say("home", f"{home} is there from an earlier run")
        return
    begun = time.monotonic()
    make_home(home)
    _say(
        "home", f"{home} made in {time.monotonic() - begun:.1f} s: a SoftHSM token, keys generated"
    )
    _say("", "inside it, certificates of a demo PKI, conventions demo-client and demo-provider")


def _issue_one(service: _Service) -> _Answer:
    status, vector = service.issue("PAGM_CONSULTATION")
    if status != http.HTTPStatus.OK:
        raise DemoFailed(f"issuing answered {status}: {vector.get('error')}")
    place = vector["trace"]
    _say("one vector", f"{vector['id']} for agent-0042 with PAGM_CONSULTATION")
    _say("", f"valid {vector['not_before']} to {vector['not_on_or_after']}")
    _say(
        "",
        f"{len(vector['assertion'])} octets signed in the token, trace {place['log']}:{place['index']}",
    )
    return vector


def _verify_twice(service: _Service, home: Path, vector: _Answer) -> None:
    _, verdict = service.post("/v1/verifications", vector["assertion"].encode())
    if verdict["verdict"] != "accepted":
        raise DemoFailed(f"our own vector was refused: {verdict.get('fault')}")
    _say("verified", f"accepted by the provider's convention, {_count_checks(verdict)}")
    if not libxmlsec_accepts(vector["assertion"].encode(), home / "pki" / "demo-rsa.pem"):
        raise DemoFailed("libxmlsec does not accept the vector")
    _say("", "accepted by libxmlsec, an implementation that is not ours")


def libxmlsec_accepts(assertion: bytes, chain: Path) -> bool:
    """Ask libxmlsec whether a vector verifies with the first certificate of the chain."""
    root = etree.fromstring(assertion)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    leaf, end, _ = chain.read_text().partition("-----END CERTIFICATE-----\n")
    signature = xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature)
    if signature is None:
        return False
    context.key = xmlsec.Key.from_memory(
        (leaf + end).encode(), xmlsec.constants.KeyDataFormatCertPem
    )
    try:
        context.verify(signature)
    except xmlsec.VerificationError:
        return False
    return True


def _show_refusals(service: _Service, vector: _Answer) -> None:
    altered = vector["assertion"].replace("agent-0042", "agent-0043").encode()
    _, verdict = service.post("/v1/verifications", altered)
    if verdict["verdict"] != "refused":
        raise DemoFailed("an altered vector was accepted")
    _say("refused", f"the same vector with one digit altered: {verdict['fault']['code']}")
    _say("", f"« {verdict['fault']['string']} », {_count_checks(verdict)}")
    status, answer = service.issue("PAGM_ADMINISTRATION")
    if status != http.HTTPStatus.FORBIDDEN:
        raise DemoFailed("a PAGM outside the convention was granted")
    _say("", f"a PAGM outside the convention: 403 {answer['error']['reason']}, nothing signed")


def _count_checks(verdict: _Answer) -> str:
    outcomes = Counter(check["outcome"] for check in verdict["checks"])
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    return f"{len(verdict['checks'])} checks: {told}"


def _issue_batch(service: _Service) -> None:
    request = {"convention": "demo-client", "pagms": ["PAGM_GESTION"]}
    body = json.dumps({"requests": [request] * _BATCH}).encode()
    begun = time.monotonic()
    _, answer = service.post("/v1/vectors/batch", body)
    if sum("vector" in result for result in answer["results"]) != _BATCH:
        raise DemoFailed("not every request of the batch became a vector")
    _say("a batch", f"{_BATCH} vectors in one call, {(time.monotonic() - begun) * 1000:.0f} ms")


def _measure(home: Path, service: _Service) -> tuple[Ceiling, LoadResult, LoadResult]:
    _say("load", f"the token alone, then the service, {_SECONDS:.0f} s each, on the same cores …")
    ceiling = measure_home_ceiling(home, "demo-rsa", lanes=2, seconds=_SECONDS)
    single = run_load(service.host, service.port, batch=1, connections=32, seconds=_SECONDS)
    batch = run_load(service.host, service.port, batch=_BATCH, connections=4, seconds=_SECONDS)
    return ceiling, single, batch


def _check_trace(home: Path, first: _Receipt) -> None:
    """Read back what this run has traced, from the first vector's entry on."""
    place = LogPlace(Home(home).logs, Home(home).spool)
    stored = place.view(first["log"], first["index"]).read()
    events = Counter(each.entry.event for each in stored)
    if not events["created"]:
        raise DemoFailed("the trace does not hold the vectors")
    told = ", ".join(f"{count:,} {event}" for event, count in sorted(events.items()))
    _say("trace", f"read back from disk, every entry's hash right: {told}")
    key = read_audit_key((home / "pki" / "audit.pem").read_bytes())
    verified = verify_log(place.logs / first["log"], [key])
    size = verified.checkpoint.size
    _say("", f"{size:,} entries verified against the checkpoint that the token's audit key signed")


def _say_title(text: str) -> None:
    print(f"\n{text}\n")


def _say(step: str, text: str) -> None:
    print(f"  {step:<11} {text}", flush=True)


def _say_summary(ceiling: Ceiling, single: LoadResult, batch: LoadResult, seconds: float) -> None:
    rows = [
        ("the token alone (RSA-2048, 2 lanes)", ceiling.rate, ""),
        (
            "vectors, one per request",
            single.rate,
            f"p50 {single.p50 * 1000:.1f} ms, p99 {single.p99 * 1000:.1f} ms",
        ),
        (f"vectors, batches of {_BATCH}", batch.rate, ""),
    ]
    print(f"\n  {'':<36} {'per second':>10}  {'of the token':>12}")
    for name, rate, note in rows:
        print(f"  {name:<36} {rate:>10,.0f}  {rate / ceiling.rate:>12.0%}  {note}".rstrip())
    print(
        "\n  Each vector was signed in the token, its signature verified before release, and its trace on disk"
        f"\n  before the answer left. The load generator shared the cores. {seconds:.0f} s in all.\n"
    )
