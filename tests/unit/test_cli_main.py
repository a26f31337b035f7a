"""The parser and the edge where errors become exit codes."""

import argparse
from collections.abc import Iterator

import pytest

from appliance.cli.main import build_parser, main
from tests.homes import CommandLine


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


@pytest.mark.parametrize("parser", list(parsers(build_parser())), ids=lambda parser: parser.prog)
def test_every_command_explains_itself(parser: argparse.ArgumentParser) -> None:
    """Help exists at each level, says what every argument is for, and shows an example that can be copied."""
    text = " ".join(parser.format_help().split())
    assert "Example: appliance " in text
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action
    for command in parsers(parser):
        assert command.prog.startswith("appliance")


def test_contract_names_are_there() -> None:
    """The commands of the contract that exist so far are found under their names."""
    names = {parser.prog.removeprefix("appliance ") for parser in parsers(build_parser())}
    assert names >= {
        *("init", "serve", "doctor", "issue", "verify", "c14n", "dsig verify", "hsm list", "hsm selftest", "hsm resume"),
        *("trace tail", "trace search", "trace show"),
        *("convention list", "convention show", "convention check"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-command"],
        ["issue"],
        ["init"],
        ["doctor", "--home"],
        ["hsm"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(appliance: CommandLine, arguments: list[str]) -> None:
    """Wrong usage ends with 2, explains itself on stderr and leaves stdout empty."""
    ended = appliance(*arguments)
    assert ended.code == 2
    assert ended.stdout == b""
    assert "usage: appliance" in ended.stderr


def test_worker_is_hidden(appliance: CommandLine) -> None:
    """The entry point of worker processes is offered to people neither in the help nor after a wrong command."""
    assert "worker" not in build_parser().format_help()
    assert "worker" not in appliance("bogus").stderr


def test_version(appliance: CommandLine) -> None:
    """`--version` prints the version and nothing else."""
    ended = appliance("--version")
    assert ended.code == 0
    assert ended.stdout.startswith(b"appliance 20")


def test_absent_home_is_unusable_input(appliance: CommandLine, tmp_path: object) -> None:
    """A home that is not one is named, with the command that makes one, and no traceback."""
    for command in ("doctor", "hsm list", "convention list"):
        ended = appliance(*command.split(), "--home", f"{tmp_path}/nowhere")
        assert ended.code == 2
        assert "nowhere" in ended.stderr
        assert "appliance init" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_defect_shows_itself_and_is_no_verdict(
    appliance: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw shows where it happened and does not end with the code of a refusal."""

    def fail(arguments: argparse.Namespace) -> int:
        raise RuntimeError(f"a defect with {arguments.home}")

    monkeypatch.setattr("appliance.cli.doctor.run_doctor", fail)
    ended = appliance("doctor", "--home", "x")
    assert ended.code == 3
    assert "RuntimeError: a defect with x" in ended.stderr


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with the code of SIGINT and no traceback."""

    def interrupt(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.doctor.run_doctor", interrupt)
    assert main(["doctor", "--home", "x"]) == 130
