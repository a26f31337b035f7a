"""`appliance issue`: one vector to stdout, from the running service or, when there is none, from a lane of its own."""

import argparse
import asyncio
import contextlib
import os
import uuid
from pathlib import Path
from typing import Final

import msgspec

from appliance.cli.output import NO_SUCH_CONVENTION, Exit, Output, printable
from appliance.cli.service import Answer, ask_service
from appliance.clock import SystemClock
from appliance.config import Config, load_config
from appliance.errors import Reason, ServiceUnreachable
from appliance.server.representations import write_vector
from appliance.trace.names import COMMAND_LINE, read_log_name
from appliance.trace.reader import LogDamaged
from appliance.trace.view import LogPlace
from appliance.vectors.model import Caller, RequestContext, VectorRequest

_ISSUED: Final = 200
_MALFORMED: Final = 400
_TOO_MANY: Final = 429
_FAILED: Final = 500
_LARGE: Final = 200_000
"""Entries from which on a log takes noticeable time to be held against its checkpoint."""


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `issue`."""
    issue = commands.add_parser(
        "issue",
        help="issue one vector",
        description=(
            "Issue one vector and write it to stdout: through the running service, else with a lane of its own. "
            "Example: appliance issue --home demo --convention demo-client --subject agent-0042 --pagm PAGM_CONSULTATION"
        ),
        epilog="Exit codes: 0 issued; 1 the convention forbids it; 2 unusable input or no such convention; 3 a part is unavailable.",
    )
    issue.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
    issue.add_argument("--convention", required=True, metavar="ID", help="a client convention")
    issue.add_argument(
        "--subject", metavar="S", help="the user; without it the vector is for the application"
    )
    issue.add_argument(
        "--pagm", action="append", default=[], metavar="P", help="a profile to grant; repeatable"
    )
    issue.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="R",
        help="a local role, for the profiles that the convention maps it to; repeatable",
    )
    issue.add_argument(
        "--level",
        metavar="URI",
        help="how the user was authenticated (default: the convention's first)",
    )
    issue.add_argument(
        "--json",
        action="store_true",
        help="print the vector with its identifiers and trace receipt",
    )
    issue.set_defaults(run=run_issue)


def run_issue(arguments: argparse.Namespace) -> int:
    """Print the assertion's octets, or the whole answer as JSON."""
    config = load_config(arguments.home)
    request = VectorRequest(
        convention=arguments.convention,
        subject=arguments.subject,
        pagms=tuple(arguments.pagm),
        authn_context=arguments.level,
        roles=tuple(arguments.role),
    )
    output = Output(as_json=arguments.json)
    answer = ask_service(
        config.home.api_socket, "POST", "/v1/vectors", msgspec.json.encode(request)
    )
    if answer is None:
        output.say("no service is running on this home: signing with a lane of our own")
        _announce_large_logs(output, config)
        body = asyncio.run(_issue_locally(config, request))
    elif answer.status == _ISSUED:
        body = answer.body
    else:
        return _say_refusal(output, answer)
    if arguments.json:
        output.write(body + b"\n")
    else:
        output.write(msgspec.json.decode(body, type=_Answered).assertion.encode() + b"\n")
    return Exit.DONE


class _Answered(msgspec.Struct):
    assertion: str


class _Error(msgspec.Struct):
    reason: str
    detail: str


class _Refused(msgspec.Struct):
    error: _Error


def _announce_large_logs(output: Output, config: Config) -> None:
    """Say which log has to be read whole before a vector can be traced in it."""
    place, year = LogPlace(config.home.logs, config.home.spool), SystemClock().now().year
    for log in place.names():
        name = read_log_name(log)
        if name is None or (name.writer, name.year) != (COMMAND_LINE, year):
            continue
        with contextlib.suppress(LogDamaged):  # which opening it says
            held = place.view(log).covered()
            if held > _LARGE:
                output.say(
                    f"log {log}: its {held:,} entries are held against its checkpoint first, which takes a moment"
                )


async def _issue_locally(config: Config, request: VectorRequest) -> bytes:
    from appliance import wiring  # noqa: PLC0415 - loads the server and the metrics, which a running service spares us

    context = RequestContext(str(uuid.uuid4()), Caller("cli", "cli"), f"uid:{os.getuid()}")
    async with wiring.open_local_issuer(config, request.convention) as issuer:
        return write_vector(await issuer.issue(request, context))


def _say_refusal(output: Output, answer: Answer) -> Exit:
    """Print the service's sentence and return the exit code that the same error would have without a service.

    Raises:
        ServiceUnreachable: the answer is none of ours.
    """
    try:
        error = msgspec.json.decode(answer.body, type=_Refused).error
    except msgspec.DecodeError as exc:
        raise ServiceUnreachable(
            Reason.SERVICE_UNREACHABLE, f"the service answered {answer.status} without saying why"
        ) from exc
    output.say(f"error: {printable(error.detail)} ({printable(error.reason)})")
    if answer.status == _TOO_MANY or answer.status >= _FAILED:
        return Exit.UNAVAILABLE
    is_unusable = answer.status == _MALFORMED or error.reason in NO_SUCH_CONVENTION
    return Exit.USAGE if is_unusable else Exit.REFUSED
