"""`python -m bench load`."""

import argparse
import json
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from appliance.config import load_config
from bench.arguments import positive, whole
from bench.documents import DOCUMENTS
from bench.load.measure import run_phases
from bench.load.phases import Arrivals, Phase, ramp
from bench.load.result import LoadResult, print_table
from bench.load.scenario import (
    SCENARIOS,
    ClientTls,
    ScenarioUnusable,
    Target,
    Wanted,
    make_scenario,
)
from bench.machine import Begun
from bench.service import serve_home

_USAGE: Final = 2
_UNAVAILABLE: Final = 3
_MOST_STEPS: Final = 1_000
_OF_TLS: Final = ("ca", "cert", "key")
_OF_URL: Final = (*_OF_TLS, "bearer_file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench load`."""
    add_target_arguments(parser, is_required=True)
    _add_load(parser)
    add_request_arguments(parser)
    _add_scenarios(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON document: the run and the machine, and `results`",
    )


def add_target_arguments(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    """Declare which service is meant, and how to reach it."""
    target = parser.add_mutually_exclusive_group(required=is_required)
    target.add_argument(
        "--url",
        type=_url,
        help="a running service, such as http://127.0.0.1:8440 or https://… (gateway: its outbound listener)",
    )
    target.add_argument("--home", type=Path, help="a home to serve for the time of the run")
    tls = parser.add_argument_group("https")
    tls.add_argument("--ca", type=Path, metavar="PEM", help="whom to trust (required)")
    tls.add_argument("--cert", type=Path, metavar="PEM", help="our certificate, for mutual TLS")
    tls.add_argument("--key", type=Path, metavar="PEM", help="its key, when it is in another file")
    parser.add_argument(
        "--bearer-file",
        type=Path,
        metavar="FILE",
        help="a caller's key, sent as Authorization: Bearer",
    )


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=whole, default=32, help="at once (default 32)")
    parser.add_argument("--processes", type=whole, default=1, help="of the client (default 1)")
    parser.add_argument("--seconds", type=positive, default=10.0, help="each step (default 10)")
    parser.add_argument(
        "--warm-up", type=positive, default=0.5, help="seconds before, not counted (default 0.5)"
    )
    loop = parser.add_mutually_exclusive_group()
    loop.add_argument(
        "--rate",
        type=positive,
        action="append",
        metavar="N",
        help="open loop: N requests arrive a second, answered or not, and latency counts from when each should have been sent;"
        " repeatable, one step each. Without: a closed loop, each connection asks again when it is answered",
    )
    loop.add_argument(
        "--ramp", type=_ramp, metavar="FROM:TO:STEPS", help="open loop, rates evenly spaced"
    )
    parser.add_argument(
        "--arrivals",
        type=Arrivals,
        choices=tuple(Arrivals),
        default=Arrivals.POISSON,
        help="of an open loop (default poisson)",
    )


def add_request_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is asked for."""
    wanted = Wanted()
    parser.add_argument("--batch-size", type=whole, default=wanted.batch, help="(default 64)")
    parser.add_argument("--convention", default=wanted.convention, metavar="ID", help="that issues")
    parser.add_argument("--provider", default=wanted.provider, metavar="ID", help="that verifies")
    parser.add_argument("--subject", default=wanted.subject, metavar="S")
    parser.add_argument("--pagm", default=wanted.pagm, metavar="P")


def _add_scenarios(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        action="append",
        choices=SCENARIOS,
        help="repeatable; default: single and batch. verify presents vectors that the service issues first; its provider"
        " convention must not refuse replays. reuse and mixed need a client convention that allows reuse. gateway posts a SOAP"
        " message to an outbound route",
    )
    gateway = parser.add_argument_group("gateway")
    gateway.add_argument(
        "--route", metavar="PATH", help="default: the home's first; /droits with --url"
    )
    gateway.add_argument(
        "--subject-header", metavar="NAME", help="default: the route's; X-Subject with --url"
    )
    gateway.add_argument(
        "--document",
        choices=[name for name in DOCUMENTS if name.startswith("soap")],
        default=Wanted().document,
        help="the message (default soap-10k)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the scenarios; 1 when one of them brought not a single good answer."""
    if arguments.processes > arguments.connections:
        print("load: fewer connections than processes; each process needs one", file=sys.stderr)
        return _USAGE
    begun = Begun.now()
    try:
        results = _run(arguments)
    except TargetUnusable as exc:
        print(f"load: {exc}", file=sys.stderr)
        return _USAGE
    except (ScenarioUnusable, OSError, RuntimeError) as exc:
        print(f"load: {exc}", file=sys.stderr)
        return _UNAVAILABLE
    if arguments.json:
        facts = msgspec.to_builtins(begun.circumstances())
        print(json.dumps(facts | {"results": [result.facts() for result in results]}, indent=2))
    else:
        print_table(results)
    return 0 if all(result.requests for result in results) else 1


class TargetUnusable(Exception):
    """The arguments do not say enough, or the home does not have what a scenario needs."""


def _run(arguments: argparse.Namespace) -> list[LoadResult]:
    refuse_ignored(arguments)
    wanted = read_wanted(arguments)
    if arguments.home is None:
        return _run_scenarios(arguments, read_target(arguments), None, wanted)
    outbound = None
    if "gateway" in (arguments.scenario or ()):
        asked = (arguments.route, arguments.subject_header)
        outbound, wanted = find_route(arguments.home, wanted, *asked)
    with serve_home(arguments.home) as served:
        return _run_scenarios(arguments, Target(served.host, served.port), outbound, wanted)


def refuse_ignored(arguments: argparse.Namespace) -> None:
    """Refuse what says how to reach a service that is not reached like that.

    Raises:
        TargetUnusable: some of it is given; says what to change.
    """
    if arguments.url is None:
        _refuse(arguments, _OF_URL, "for a service that is reached by --url; name it, or")
    elif urlsplit(arguments.url).scheme == "http":
        _refuse(arguments, _OF_TLS, "for TLS, and --url is an http:// one; write https://, or")
    elif arguments.cert is None:
        _refuse(arguments, ("key",), "of a certificate; name it with --cert, or")


def _refuse(arguments: argparse.Namespace, names: Sequence[str], why: str) -> None:
    given = [name for name in names if getattr(arguments, name) is not None]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise TargetUnusable(f"{flags}: {why} leave {'it' if len(given) == 1 else 'them'} out")


def read_wanted(arguments: argparse.Namespace) -> Wanted:
    """Read what `add_request_arguments` declares, and of a gateway's route what is said of it."""
    wanted = Wanted(
        convention=arguments.convention,
        provider=arguments.provider,
        subject=arguments.subject,
        pagm=arguments.pagm,
        batch=arguments.batch_size,
    )
    said = {
        "path": getattr(arguments, "route", None),
        "subject_header": getattr(arguments, "subject_header", None),
        "document": getattr(arguments, "document", None),
    }
    return replace(wanted, **{name: each for name, each in said.items() if each is not None})


def find_route(
    home: Path, wanted: Wanted, path: str | None, subject_header: str | None
) -> tuple[Target, Wanted]:
    """Look a home's first outbound listener in clear up, and its route: that of `path`, or the first.

    Raises:
        TargetUnusable: it has none.
        ConfigurationError: there is no such home.
    """
    for table in load_config(home).gateway.outbound:
        host, _, port = table.listen.rpartition(":")
        if table.certificates is not None or not port.isdecimal():
            continue
        for route in table.route:
            if path in {None, route.path}:
                header = subject_header or route.subject_header
                found = replace(wanted, path=route.path, subject_header=header)
                return Target(host, int(port)), found
    sought = "a route" if path is None else f"the route {path}"
    raise TargetUnusable(
        f"{home} has no [[outbound]] listener in clear with {sought}; name one with TLS by --url"
    )


def read_target(arguments: argparse.Namespace) -> Target:
    """Read what `--url` and the arguments beside it declare.

    Raises:
        TargetUnusable: they do not say enough.
        OSError: a file cannot be read.
    """
    url = urlsplit(arguments.url)
    headers = {}
    if arguments.bearer_file is not None:
        key = arguments.bearer_file.read_text("ascii").strip()
        headers["Authorization"] = f"Bearer {key}"
    tls = None
    if url.scheme == "https":
        if arguments.ca is None:
            raise TargetUnusable("an https URL needs --ca: the certificates to trust")
        tls = ClientTls(arguments.ca, arguments.cert, arguments.key)
        try:
            tls.context()
        except ssl.SSLError as exc:
            raise TargetUnusable(f"--ca, --cert and --key do not fit: {exc}") from exc
    default = 443 if url.scheme == "https" else 80
    return Target(url.hostname or "", url.port or default, tls, headers)


def _run_scenarios(
    arguments: argparse.Namespace, api: Target, outbound: Target | None, wanted: Wanted
) -> list[LoadResult]:
    phases = _phases(arguments)
    results = []
    for name in arguments.scenario or ("single", "batch"):
        target = outbound if name == "gateway" and outbound is not None else api
        scenario = make_scenario(name, target, wanted)
        results += run_phases(scenario, target, phases, arguments.connections, arguments.processes)
    return results


def _phases(arguments: argparse.Namespace) -> list[Phase]:
    rates = arguments.rate or arguments.ramp or [None]
    warm_up = Phase(arguments.warm_up, rates[0], arguments.arrivals, is_counted=False)
    return [warm_up, *(Phase(arguments.seconds, rate, arguments.arrivals) for rate in rates)]


def _url(text: str) -> str:
    url = urlsplit(text)
    try:
        iswhole = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        iswhole = False
    if not iswhole or url.path not in {"", "/"} or url.query or url.fragment or "@" in url.netloc:
        raise argparse.ArgumentTypeError("expected http://HOST[:PORT] or https://HOST[:PORT]")
    return text


def _ramp(text: str) -> list[float]:
    first, _, rest = text.partition(":")
    last, _, number = rest.partition(":")
    if not number:
        raise argparse.ArgumentTypeError("expected FROM:TO:STEPS, such as 500:4000:8")
    count = whole(number)
    if count > _MOST_STEPS:
        raise argparse.ArgumentTypeError(f"at most {_MOST_STEPS} steps")
    return ramp(positive(first), positive(last), count)
