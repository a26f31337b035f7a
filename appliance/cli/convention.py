"""`appliance convention list|show|check`: the conventions of a home, as the appliance reads them."""

import argparse
import dataclasses
from pathlib import Path

import msgspec

from appliance.cli.output import Colour, Exit, Output, printable, write_table
from appliance.config import load_config
from appliance.conventions.loader import load_convention, load_conventions
from appliance.conventions.model import ClientConvention, Convention
from appliance.errors import ConfigurationError, ConventionViolation, Reason


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `convention` and its subcommands."""
    convention = commands.add_parser(
        "convention",
        help="list, show or check the conventions",
        description="Conventions of a home. Example: appliance convention list --home demo",
    )
    actions = convention.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="every convention, one a line",
        description="List the conventions. Example: appliance convention list --home demo --json",
    )
    listing.set_defaults(run=run_list)
    show = actions.add_parser(
        "show",
        help="one convention with every value, defaults included",
        description="Show one convention. Example: appliance convention show --home demo demo-client",
    )
    show.add_argument("id", metavar="ID", help="the convention: the name of its file")
    show.set_defaults(run=run_show)
    check = actions.add_parser(
        "check",
        help="read each file and say what is wrong in it",
        description="Check the convention files. Example: appliance convention check --home demo",
    )
    check.set_defaults(run=run_check)
    for action in (listing, show, check):
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
        action.add_argument("--json", action="store_true", help="one JSON document a line")


def run_list(arguments: argparse.Namespace) -> int:
    """Print one line per convention."""
    output = Output(as_json=arguments.json)
    conventions = load_conventions(load_config(arguments.home).home.conventions)
    rows = [(c.id, _role(c), c.issuer, c.audience, " ".join(sorted(c.pagms))) for c in conventions]
    columns = ("id", "role", "issuer", "audience", "pagms")
    if not output.as_json:
        output.show(None, write_table(columns, rows))
        return Exit.DONE
    for convention in conventions:
        output.show(_facts(convention), "")
    return Exit.DONE


def run_show(arguments: argparse.Namespace) -> int:
    """Print every value of one convention."""
    output = Output(as_json=arguments.json)
    conventions = load_conventions(load_config(arguments.home).home.conventions)
    for convention in conventions:
        if convention.id == arguments.id:
            facts = _facts(convention)
            width = max(map(len, facts))
            lines = [f"{name:<{width}}  {_text(value)}" for name, value in facts.items()]
            output.show(facts, "\n".join(lines))
            return Exit.DONE
    raise ConventionViolation(
        Reason.CONVENTION_UNKNOWN,
        f"no convention `{arguments.id}`; there is {', '.join(c.id for c in conventions) or 'none'}",
    )


def run_check(arguments: argparse.Namespace) -> int:
    """Read each file on its own, so that one wrong file does not hide the next."""
    output = Output(as_json=arguments.json)
    ended = Exit.DONE
    for file in sorted(load_config(arguments.home).home.conventions.glob("*.toml")):
        try:
            convention = load_convention(file)
        except ConfigurationError as exc:
            ended = Exit.REFUSED
            label = output.paint(Colour.BAD, "wrong")
            output.show(
                {"file": str(file), "ok": False, "detail": exc.detail},
                f"{label}  {printable(exc.detail)}",
            )
        else:
            label = output.paint(Colour.GOOD, "ok   ")
            output.show({"file": str(file), "ok": True}, f"{label}  {file}: {_role(convention)}")
    return ended


def _role(convention: Convention) -> str:
    return "client" if isinstance(convention, ClientConvention) else "provider"


def _facts(convention: Convention) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(
        dataclasses.asdict(convention), enc_hook=_plain, order="sorted"
    )
    return {"id": convention.id, "role": _role(convention)} | values


def _plain(value: object) -> object:
    """Turn what JSON does not know (a path, a duration in seconds) into what it does."""
    return float(value) if isinstance(value, float) else str(value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g} s"
    return "-" if value is None else printable(str(value))
