"""The `appliance` command: its parser, its dispatch, and the one place where an error becomes an exit code.

A command module registers its subcommands in `add_arguments` and sets `run`, a function from the parsed arguments to an exit
code. Errors that can be foreseen become one sentence on stderr; anything else is a defect and shows where it happened.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version

from appliance.cli import c14n, convention, doctor, dsig, hsm, init, issue, serve, trace, verify
from appliance.cli.output import Exit, Output
from appliance.errors import ApplianceError, HsmUnavailable, Reason
from hsm.errors import HsmError

_COMMANDS = (init, serve, doctor, issue, verify, c14n, dsig, trace, hsm, convention)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 refused, 2 wrong usage, 3 a part is unavailable (CONTRACT 2)."""
    parsed = _parse(list(sys.argv[1:] if arguments is None else arguments))
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as exc:  # noqa: BLE001 - the outermost edge: a defect must not end with 1, which scripts read as a verdict
        return _explain(exc)


def _parse(arguments: list[str]) -> argparse.Namespace:
    if arguments[:1] == ["worker"]:
        return serve.build_worker_parser().parse_args(arguments[1:])
    return build_parser().parse_args(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of every command."""
    parser = _Parser(
        prog="appliance",
        description=(
            "Issues, verifies and traces InterOPS identification vectors with keys that stay in an HSM. "
            "Example: appliance init demo --demo && appliance serve --home demo"
        ),
        epilog=(
            "Exit codes: 0 done or accepted; 1 refused, or a check failed; 2 wrong usage or unusable input; "
            "3 a part is unavailable (HSM, disk)."
        ),
    )
    parser.add_argument(
        "--version", action="version", version=f"appliance {version('interops-appliance')}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_arguments(commands)
    return parser


class _HelpFormatter(argparse.HelpFormatter):
    """Puts the example that ends a description on a line of its own, unbroken, so that it can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        prose, _, example = text.partition("Example: ")
        filled = super()._fill_text(prose, width, indent)
        return f"{filled}\n\nExample: {example}" if example else filled


class _Parser(argparse.ArgumentParser):
    """The parser of every command: argparse makes subparsers of their parent's class."""

    def format_help(self) -> str:
        self.formatter_class = _HelpFormatter
        return super().format_help()


def _explain(error: Exception) -> int:
    """Say what went wrong and return the exit code that goes with it."""
    if isinstance(error, BrokenPipeError):
        # The reader of our stdout has left (`... | head`). The interpreter flushes stdout once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    if isinstance(error, HsmError):
        error = HsmUnavailable(Reason.HSM_UNAVAILABLE, str(error))
    if isinstance(error, ApplianceError):
        return Output().fail(error)
    traceback.print_exception(error)
    return Exit.UNAVAILABLE
