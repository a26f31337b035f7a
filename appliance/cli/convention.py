"""`appliance convention list|show|check|diff`: the conventions of a home, as the appliance reads them."""

import argparse
from pathlib import Path

from appliance.cli import convention_files
from appliance.cli.convention_facts import (
    Facts,
    differing,
    facts_of_export,
    role_of,
    state_facts,
)
from appliance.cli.output import Colour, Exit, Output, printable, write_table
from appliance.config import Config, load_config
from appliance.conventions.builder import load_checked
from appliance.conventions.contradictions import find_contradictions
from appliance.conventions.loader import load_convention, load_conventions
from appliance.conventions.model import Convention
from appliance.conventions.portable import is_portable
from appliance.conventions.retention import check_tracing
from appliance.errors import ConfigurationError, ConventionViolation, Reason
from appliance.home import CONVENTION_FILES
from appliance.parts import home_parts
from appliance.signing.keyring import Keyring


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `convention` and its subcommands."""
    convention = commands.add_parser(
        "convention",
        help="list, show, check, compare, make, export or import conventions",
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
        help="read each file and say what is wrong in it, and which do not fit each other",
        description="Check the convention files. Example: appliance convention check --home demo",
    )
    check.set_defaults(run=run_check)
    diff = actions.add_parser(
        "diff",
        help="what two conventions say differently, defaults included",
        description="Compare two conventions. Example: appliance convention diff --home demo demo-client new.toml",
        epilog="Exit codes: 0 they say the same; 1 they differ.",
    )
    for name in ("first", "second"):
        diff.add_argument(
            name,
            metavar="ID|FILE",
            help="a convention of the home, a file of one, or what the partner exported",
        )
    diff.set_defaults(run=run_diff)
    for action in (listing, show, check, diff):
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
        action.add_argument("--json", action="store_true", help="one JSON document a line")
    convention_files.add_arguments(actions)


def run_list(arguments: argparse.Namespace) -> int:
    """Print one line per convention."""
    output = Output(as_json=arguments.json)
    conventions = load_conventions(load_config(arguments.home).home.conventions)
    rows = [
        (c.id, role_of(c), c.issuer, c.audience, " ".join(sorted(c.pagms))) for c in conventions
    ]
    columns = ("id", "role", "issuer", "audience", "pagms")
    if not output.as_json:
        output.show(None, write_table(columns, rows))
        return Exit.DONE
    for convention in conventions:
        output.show(state_facts(convention), "")
    return Exit.DONE


def run_show(arguments: argparse.Namespace) -> int:
    """Print every value of one convention."""
    output = Output(as_json=arguments.json)
    facts = state_facts(find_convention(load_config(arguments.home), arguments.id))
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {_text(value)}" for name, value in facts.items()]
    output.show(facts, "\n".join(lines))
    return Exit.DONE


def run_check(arguments: argparse.Namespace) -> int:
    """Read each file on its own, so that one wrong file does not hide the next; then compare them with each other."""
    output = Output(as_json=arguments.json)
    conventions: list[Convention] = []
    ended = Exit.DONE
    config = load_config(arguments.home)
    parts = home_parts(config, Keyring.load(config.keys))
    for file in sorted(config.home.conventions.glob(CONVENTION_FILES)):
        try:
            convention = load_checked(file, parts)
            check_tracing(file, convention, config.trace.retention, config.trace.pseudonym_key_file)
            conventions.append(convention)
        except ConfigurationError as exc:
            ended = Exit.REFUSED
            _say_wrong(output, str(file), exc.detail)
        else:
            label = output.paint(Colour.GOOD, "ok   ")
            role = role_of(conventions[-1])
            output.show({"file": str(file), "ok": True}, f"{label}  {file}: {role}")
    for found in find_contradictions(conventions):
        ended = Exit.REFUSED
        _say_wrong(output, f"{found.first} and {found.second}", found.detail)
    return ended


def _say_wrong(output: Output, where: str, detail: str) -> None:
    label = output.paint(Colour.BAD, "wrong")
    shown = detail if detail.startswith(where) else f"{where}: {detail}"
    output.show({"file": where, "ok": False, "detail": detail}, f"{label}  {printable(shown)}")


def run_diff(arguments: argparse.Namespace) -> int:
    """Print each value that differs, on both sides."""
    output = Output(as_json=arguments.json)
    config = load_config(arguments.home)
    first, second, by_export = _read_sides(config, arguments.first, arguments.second)
    names = [*differing(first, second, by_export=by_export)]
    for name in names:
        sides = first.get(name), second.get(name)
        lines = [
            printable(name),
            *(
                f"  {mark} {_text(side)}"
                for mark, side in zip("-+", sides, strict=True)
                if side is not None
            ),
        ]
        output.show({"key": name, "first": sides[0], "second": sides[1]}, "\n".join(lines))
    return Exit.REFUSED if names else Exit.DONE


def find_convention(config: Config, convention_id: str) -> Convention:
    """Return a convention of a home.

    Raises:
        ConfigurationError: a file is wrong.
        ConventionViolation: there is no such convention.
    """
    conventions = load_conventions(config.home.conventions)
    for convention in conventions:
        if convention.id == convention_id:
            return convention
    raise ConventionViolation(
        Reason.CONVENTION_UNKNOWN,
        f"no convention `{convention_id}`; there is {', '.join(c.id for c in conventions) or 'none'}",
    )


def _read_sides(config: Config, first: str, second: str) -> tuple[Facts, Facts, bool]:
    """Read both sides; True where one of them is what the partner exported."""
    if is_portable(Path(first)):
        if is_portable(Path(second)):
            raise ConfigurationError(second, "", "a convention of ours; both are exports")
        ours, theirs, _ = _read_sides(config, second, first)
        return theirs, ours, True
    one = state_facts(_find_or_load(config, first))
    if is_portable(Path(second)):
        return one, facts_of_export(Path(second), str(one["role"])), True
    return one, state_facts(_find_or_load(config, second)), False


def _find_or_load(config: Config, name: str) -> Convention:
    file = Path(name)
    return load_convention(file) if file.suffix == ".toml" else find_convention(config, name)


def _text(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{name}={_text(inner)}" for name, inner in value.items())
        return " ".join(pairs) or "-"
    if isinstance(value, list | tuple):
        return " ".join(_text(item) for item in value) or "-"
    if isinstance(value, float):
        return f"{value:g} s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else printable(str(value))
