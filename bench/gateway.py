"""What the gateway adds: the same message straight to an application, through one appliance, and through two.

Everything runs on the same cores: the client, both appliances with their tokens, the application. Straight is plain HTTP; through one is the
client organisation's appliance with mutual TLS to the application; through two is both organisations'. Latency added is taken from an open
loop at a rate that leaves the cores idle most of the time, capacity from a closed one.
"""

import argparse
import json
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.arguments import positive, whole
from bench.documents import DOCUMENTS
from bench.homes import amend, workshop
from bench.load import LoadResult, run_phases
from bench.load.phases import Arrivals, Phase
from bench.load.scenario import ClientTls, Scenario, Target, Wanted, make_scenario
from bench.organisations import (
    SceneFailed,
    free_port,
    inbound_tables,
    introduce,
    make_home,
    outbound_tables,
    write_gateway,
)
from bench.processes import processor_seconds, spent
from bench.service import ServedHome, serve_home

_WARM_UP: Final = 1.0
_PATIENCE: Final = 30.0

_ROUTE: Final = """
[[outbound.route]]
path = "/{way}/{kind}"
target = "/droits"
convention = "{kind}"
partner = "{partner}"
subject = "header"
pagms = ["PAGM_CONSULTATION"]
"""
_SECURED: Final = """
[[outbound]]
name = "secured"
listen = "127.0.0.1:{port}"
certificates = "pki/front.pem"
private_key = "secrets/front.key"
client_roots = ["pki/root.pem"]
"""
_KINDS: Final = ("reused", "fresh")
_WAYS: Final = {"one": "application", "two": "b"}


@dataclass(frozen=True, slots=True)
class GatewayResult:
    """One way through.

    Attributes:
        way: `straight`, `one` appliance or `two`.
        vector: `reused`, `fresh`, or empty where there is none.
        rate: requests a second, every connection kept busy.
        p50, p99: seconds, at `offered` requests a second.
        added_p50, added_p99: the same less those of `straight`.
        processor: seconds of the processor for one request, by process, while every connection was kept busy.
        errors: how often, by reason, in both runs.
    """

    way: str
    vector: str
    rate: float
    offered: float
    p50: float
    p99: float
    added_p50: float
    added_p99: float
    processor: Mapping[str, float]
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GatewayScene:
    """Two appliances and an application.

    Attributes:
        application: its process.
        outbound: a's listener for applications.
        secured: the same over mutual TLS, with routes of the same paths but none through two.
        plain: the application without anything before it.
    """

    a: ServedHome
    b: ServedHome
    application: int
    outbound: Target
    secured: Target
    plain: Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench gateway`."""
    parser.add_argument(
        "--seconds", type=positive, default=5.0, help="each measurement (default 5)"
    )
    parser.add_argument("--connections", type=whole, default=16, help="of the client (default 16)")
    parser.add_argument(
        "--rate", type=positive, default=100.0, help="requests a second for latency (default 100)"
    )
    parser.add_argument(
        "--document",
        choices=[name for name in DOCUMENTS if name.startswith("soap")],
        default="soap-10k",
        help="the message (default soap-10k)",
    )
    parser.add_argument("--workers", type=whole, default=1, help="of each appliance (default 1)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Measure every way; 1 when one of them brought not a single good answer."""
    try:
        with gateway_scene(arguments.workers) as scene:
            results = list(_measure(scene, arguments))
    except (SceneFailed, OSError, RuntimeError) as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 3
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if all(result.rate for result in results) else 1


@contextmanager
def gateway_scene(workers: int = 1) -> Iterator[GatewayScene]:
    """Run both organisations' appliances, with so many workers each, on homes made for it, and the application.

    Raises:
        SceneFailed: the scene could not be set.
        RuntimeError: an appliance did not become ready, or did not end well.
    """
    with workshop("gateway-") as directory, ExitStack() as stack:
        yield _set_the_scene(stack, directory, workers)


def message_through(target: Target, path: str, document: str) -> Scenario:
    """Post a document to one of the scene's routes, `/one/reused` or `/two/fresh` for some; to the application itself any path will do."""
    return make_scenario("gateway", target, Wanted(path=path, document=document))


def _set_the_scene(stack: ExitStack, directory: Path, workers: int) -> GatewayScene:
    a, b = make_home(directory / "side-a"), make_home(directory / "side-b")
    for home in (a, b):
        amend(home / "appliance.toml", {"# workers = 1": f"workers = {workers}"})
    introduce(a, b)
    ports = {name: free_port() for name in ("outbound", "secured", "inbound", "plain", "tls")}
    routes = {
        way: "".join(_ROUTE.format(way=way, kind=kind, partner=partner) for kind in _KINDS)
        for way, partner in _WAYS.items()
    }
    partners = {"application": ports["tls"], "b": ports["inbound"]}
    plain = outbound_tables(ports["outbound"], partners) + "".join(routes.values())
    write_gateway(a, plain + _SECURED.format(port=ports["secured"]) + routes["one"])
    write_gateway(b, inbound_tables(ports["inbound"], ports["plain"]))
    _agree(a, b)
    application = stack.enter_context(_application(b, a, ports["plain"], ports["tls"]))
    peer = ClientTls(a / "pki" / "root.pem", a / "pki" / "front.pem", a / "secrets" / "front.key")
    return GatewayScene(
        stack.enter_context(serve_home(a)),
        stack.enter_context(serve_home(b)),
        application,
        Target("127.0.0.1", ports["outbound"]),
        Target("127.0.0.1", ports["secured"], peer),
        Target("127.0.0.1", ports["plain"]),
    )


def _agree(a: Path, b: Path) -> None:
    """Two conventions, one whose vectors serve several calls, of two issuers."""
    other = {"idp:demo:1": "idp:demo:2", '# replay = "log"': 'replay = "off"'}
    fresh = (a / "conventions" / "demo-client.toml").rename(a / "conventions" / "fresh.toml")
    reused = Path(shutil.copy(fresh, a / "conventions" / "reused.toml"))
    amend(reused, {"# allowed = false": "allowed = true", **other})
    provider = b / "conventions" / "demo-provider.toml"
    amend(Path(shutil.copy(provider, b / "conventions" / "reused.toml")), other)


@contextmanager
def _application(side: Path, client: Path, plain: int, tls: int) -> Iterator[int]:
    """Run the application; its process id."""
    roots = side / "run" / "roots.pem"
    anchors = [client / "pki" / name for name in ("root.pem", "issuing.pem")]
    roots.write_text("".join(file.read_text() for file in anchors))
    files = (side / "pki" / "front.pem", side / "secrets" / "front.key", roots)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.backend", str(plain), str(tls), *map(str, files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            if not _is_ready(process):
                raise SceneFailed("the application did not start; its error stands above")
            yield process.pid
        finally:
            process.terminate()


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    if process.stdout is None:
        return False
    readable, _, _ = select.select([process.stdout], [], [], _PATIENCE)
    return bool(readable) and process.stdout.readline() == b"ready\n"


def _measure(scene: GatewayScene, arguments: argparse.Namespace) -> Iterator[GatewayResult]:
    straight: LoadResult | None = None
    ways = [("straight", "", "/droits", scene.plain)]
    ways += [(way, kind, f"/{way}/{kind}", scene.outbound) for way in _WAYS for kind in _KINDS]
    for way, kind, path, target in ways:
        scenario = message_through(target, path, arguments.document)
        calm = _run(scenario, target, arguments.seconds, arguments.connections, arguments.rate)
        before = _processors(scene)
        busy = _run(scenario, target, arguments.seconds, arguments.connections, None)
        after = _processors(scene)
        straight = straight or calm
        requests = busy.requests * (arguments.seconds + _WARM_UP) / arguments.seconds
        processor = {
            name: (after[name] - before[name]) / requests
            for name in after
            if requests and after[name] > before[name]
        }
        processor["client"] = busy.client * arguments.seconds / max(1, busy.requests)
        yield GatewayResult(
            way=way,
            vector=kind,
            rate=busy.request_rate,
            offered=arguments.rate,
            p50=calm.p50,
            p99=calm.p99,
            added_p50=calm.p50 - straight.p50,
            added_p99=calm.p99 - straight.p99,
            processor=processor,
            errors=_add(calm.errors, busy.errors),
        )


def _run(
    scenario: Scenario, target: Target, seconds: float, connections: int, rate: float | None
) -> LoadResult:
    phases = [
        Phase(_WARM_UP, rate, Arrivals.FIXED, is_counted=False),
        Phase(seconds, rate, Arrivals.FIXED),
    ]
    [result] = run_phases(scenario, target, phases, connections)
    return result


def _add(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {*first, *second}}


def _processors(scene: GatewayScene) -> dict[str, float]:
    """Seconds of the processor so far, by kind of process."""
    seconds = {"application": processor_seconds(scene.application)}
    for side, served in (("A", scene.a), ("B", scene.b)):
        seconds |= {f"{side} {kind}": each for kind, each in spent(served.pid).items()}
    return seconds


def _print_table(results: Sequence[GatewayResult]) -> None:
    print(
        f"{'way':<9} {'vector':<7} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'added':>8} {'added p99':>9}  processor µs a request"
    )
    for one in results:
        spent = ", ".join(f"{name} {each * 1e6:.0f}" for name, each in one.processor.items())
        print(
            f"{one.way:<9} {one.vector:<7} {one.rate:>10,.0f} {one.p50 * 1000:>8.2f} {one.p99 * 1000:>8.2f}"
            f" {one.added_p50 * 1000:>8.2f} {one.added_p99 * 1000:>9.2f}  {spent}"
        )
        for reason, count in sorted(one.errors.items()):
            print(f"{'':<9} {count:,} x {reason}")
