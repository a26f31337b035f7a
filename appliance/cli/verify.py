"""`appliance verify`: the verdict on an assertion or a SOAP message, as the service would give it; a diagnosis, never traced."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.cli.input import read_input
from appliance.cli.output import Colour, Exit, Output, printable
from appliance.clock import SystemClock, format_instant
from appliance.config import load_config
from appliance.conventions.loader import load_conventions
from appliance.conventions.registry import Registry
from appliance.errors import ConventionViolation, ResourceUnknown
from appliance.native import Limits
from appliance.operations.asking import judge_with_ocsp
from appliance.operations.checks import Check
from appliance.operations.judge import Question
from appliance.operations.verify import Verdict, verdict_of
from appliance.server.representations import verdict_answer
from appliance.vectors.conditions import read_instant
from appliance.vectors.model import AcceptedVector

_NOT_TRACED: Final = "This is a diagnosis; it leaves no trace."
_COLOURS: Final = {
    "passed": Colour.GOOD,
    "flagged": Colour.WARN,
    "failed": Colour.BAD,
    "not-run": Colour.DIM,
}


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `verify`."""
    verify = commands.add_parser(
        "verify",
        help="verify an assertion or a SOAP message",
        description=(
            "Verify an assertion or a SOAP message under the provider conventions of a home, and say how each check ended. "
            "Nothing is traced. Example: appliance verify --home demo vector.xml"
        ),
        epilog="Exit codes: 0 accepted; 1 refused; 2 unusable input or no such convention.",
    )
    verify.add_argument("file", metavar="FILE", help="the message; - reads standard input")
    verify.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
    verify.add_argument("--convention", metavar="ID", help="judge by this convention only")
    verify.add_argument(
        "--service", metavar="URI", help="the service called; the audience must be it"
    )
    verify.add_argument(
        "--at",
        type=_read_at,
        metavar="INSTANT",
        help="judge as at this instant (2026-03-01T12:00:00Z) instead of now",
    )
    verify.add_argument("--json", action="store_true", help="one JSON document")
    verify.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict."""
    output = Output(as_json=arguments.json)
    config = load_config(arguments.home)
    at: datetime = arguments.at or SystemClock().now()
    registry = Registry(load_conventions(config.home.conventions))
    try:
        octets = read_input(arguments.file, config.api.body_limit)
        question = Question(octets, arguments.convention, arguments.service)
        limits = Limits(octets=config.api.body_limit)
        judgement = judge_with_ocsp(question, registry, at, limits)
    except (ConventionViolation, ResourceUnknown) as exc:
        return output.fail(exc)
    verdict = verdict_of(judgement)
    output.show(verdict_answer(verdict), _text(output, verdict, at))
    output.say(_NOT_TRACED)
    return Exit.DONE if verdict.fault is None else Exit.REFUSED


def _text(output: Output, verdict: Verdict, at: datetime) -> str:
    judged = f"  judged at   {format_instant(at)}"
    checks = [_check(output, check) for check in verdict.checks]
    return "\n".join([*_head(output, verdict), judged, "checks", *checks])


def _head(output: Output, verdict: Verdict) -> list[str]:
    if verdict.accepted is not None:
        return [output.paint(Colour.GOOD, "accepted"), *_facts(verdict.accepted)]
    refused = output.paint(Colour.BAD, "refused")
    if verdict.fault is None:
        return [refused]
    reason, string = verdict.fault.reason.value, verdict.fault.string
    return [f"{refused} {verdict.fault.code}", f"  reason      {reason}", f"  fault       {string}"]


def _facts(accepted: AcceptedVector) -> list[str]:
    vector = accepted.vector
    facts = {
        "convention": accepted.convention,
        "id": vector.assertion_id,
        "issuer": vector.issuer,
        "subject": vector.name_id or "",
        "pagms": " ".join(accepted.pagms),
        "level": vector.level or "",
        "valid": f"{format_instant(vector.not_before)} to {format_instant(vector.not_on_or_after)}",
        "signature": vector.signature_algorithm + (" (legacy)" if accepted.legacy_sha1 else ""),
    }
    return [f"  {name:<11} {printable(value)}" for name, value in facts.items()]


def _check(output: Output, check: Check) -> str:
    outcome = output.paint(_COLOURS[check.outcome], f"{check.outcome:<7}")
    detail = "" if check.detail is None else f": {printable(check.detail)}"
    return f"  {outcome} {check.name}{detail}"


def _read_at(text: str) -> datetime:
    try:
        return read_instant(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{exc}: {text}") from exc
