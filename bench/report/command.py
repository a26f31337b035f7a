"""`python -m bench report`."""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from appliance.config import load_config
from appliance.errors import ConfigurationError
from bench.arguments import positive, whole
from bench.ceiling import Place, choose_places, keys_of_home, read_mechanism
from bench.homes import EC, REUSED, RSA, make_bench_home, workshop
from bench.load.command import (
    TargetUnusable,
    add_request_arguments,
    add_target_arguments,
    read_target,
    read_wanted,
    refuse_ignored,
)
from bench.load.scenario import Wanted
from bench.machine import Begun, busy_share
from bench.organisations import SceneFailed
from bench.peers import NO_JAVA, has_java
from bench.report.ground import FULL, QUICK, Ground, Pace, Service, Subject, run_service
from bench.report.model import FORMAT, LeftOut, Report, Section, write_report
from bench.report.page import write_page
from bench.report.plots import write_plots
from bench.report.sections import SECTIONS, Need, measure_all
from bench.report.table import write_table

_USAGE: Final = 2
_UNAVAILABLE: Final = 3
_WATCHED: Final = 2.0
"""Seconds that the machine is watched before anything is measured."""

_OF_MODULE: Final = ("token_label", "pin_file", "key_label")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench report`."""
    parser.add_argument(
        "directory",
        type=Path,
        metavar="DIR",
        help="where report.json, report.html, report.md and its plots/*.svg are written",
    )
    parser.add_argument(
        "--quick", action="store_true", help="each measurement short, and once: minutes in all"
    )
    parser.add_argument("--rounds", type=whole, help="of each measurement (5; quick: 1)")
    parser.add_argument("--seconds", type=positive, help="a measurement (5; quick: 0.6)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="NAME", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--jars", type=Path, metavar="DIR", help="as `peers` takes them")
    add_target_arguments(parser, is_required=False)
    add_request_arguments(parser)
    token = parser.add_argument_group(
        "a token", "the one behind --url, whose ceiling its rates are then a part of; or one alone"
    )
    token.add_argument("--module", help="path of the PKCS#11 library")
    token.add_argument("--token-label")
    token.add_argument("--pin-file", type=Path, help="readable by its owner only")
    token.add_argument(
        "--key-label", help="only keys with this label; with --url, the one that signs"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the files, print the table; 1 when a section failed."""
    try:
        _refuse_unusable(arguments)
        pace = _pace(arguments)
        names, unfit = _choose_sections(arguments)
        arguments.directory.mkdir(parents=True, exist_ok=True)
        report = _measure(arguments, pace, names, unfit)
    except (TargetUnusable, ConfigurationError) as exc:
        said = exc.detail if isinstance(exc, ConfigurationError) else exc
        print(f"report: {said}", file=sys.stderr)
        return _USAGE
    except (SceneFailed, OSError) as exc:
        print(f"report: {exc}", file=sys.stderr)
        return _UNAVAILABLE
    table = write_table(report)
    directory: Path = arguments.directory
    (directory / "report.json").write_bytes(write_report(report))
    (directory / "report.md").write_text(table)
    (directory / "report.html").write_text(write_page(report))
    write_plots(report, directory)
    print(table, end="")
    return 1 if any(one.is_failure for one in report.left_out) else 0


def _refuse_unusable(arguments: argparse.Namespace) -> None:
    """Refuse what would be passed over, by name.

    Raises:
        TargetUnusable: there is such a thing, or the jars cannot be used.
    """
    refuse_ignored(arguments)
    if arguments.home is not None and arguments.module is not None:
        raise TargetUnusable("--module beside --home: a home names its own tokens")
    given = [name for name in _OF_MODULE if getattr(arguments, name) is not None]
    if given and arguments.module is None:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise TargetUnusable(f"{flags}: of a token that --module reaches")
    if not has_java(arguments.jars):
        raise TargetUnusable(NO_JAVA)


def _pace(arguments: argparse.Namespace) -> Pace:
    usual = QUICK if arguments.quick else FULL
    rounds, seconds = arguments.rounds or usual.rounds, arguments.seconds or usual.seconds
    return replace(usual, rounds=rounds, seconds=seconds)


def _choose_sections(arguments: argparse.Namespace) -> tuple[list[str], list[LeftOut]]:
    """Part the sections into those that can be measured on what is given, and those that cannot.

    Raises:
        TargetUnusable: one that is asked for by name cannot.
    """
    is_given = {
        Need.HSM: arguments.home is not None or arguments.module is not None,
        Need.SERVICE: arguments.home is not None or arguments.url is not None,
        Need.MACHINE: arguments.url is None,
        Need.HOMES: False,
    }
    if not any(is_given[need] for need in (Need.HSM, Need.SERVICE)):
        is_given = dict.fromkeys(Need, True)
    unfit = [
        LeftOut(name, f"needs {entry.need.value}", is_failure=False)
        for name, entry in SECTIONS.items()
        if not is_given[entry.need]
    ]
    asked = arguments.only or list(SECTIONS)
    for one in unfit:
        if arguments.only and one.name in asked:
            raise TargetUnusable(f"{one.name} {one.reason}")
    wrong = {one.name for one in unfit}
    return [name for name in SECTIONS if name in asked and name not in wrong], (
        [] if arguments.only else unfit
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """What the arguments come to: vectors and tokens, and a service to run (`home`) or to reach."""

    subject: str
    subjects: tuple[Subject, ...]
    reused: Wanted
    home: Path | None = None
    service: Service | None = None


def _measure(
    arguments: argparse.Namespace, pace: Pace, names: Sequence[str], unfit: Sequence[LeftOut]
) -> Report:
    busy = busy_share(_WATCHED)
    begun = Begun.now()
    with workshop("report-") as directory, ExitStack() as stack:
        given = _read_given(arguments, directory, stack)
        ground = Ground(
            pace, given.subjects, given.reused, directory, given.service, arguments.jars
        )
        outcomes = list(_measure_groups(names, ground, given.home))
    circumstances = begun.circumstances()
    return Report(
        format=FORMAT,
        command=circumstances.command,
        begun=circumstances.begun,
        seconds=circumstances.seconds,
        busy_before=busy,
        rounds=pace.rounds,
        is_quick=pace.is_quick,
        subject=given.subject,
        machine=circumstances.machine,
        sections=tuple(one for one in outcomes if isinstance(one, Section)),
        left_out=(*(one for one in outcomes if isinstance(one, LeftOut)), *unfit),
    )


def _measure_groups(
    names: Sequence[str], ground: Ground, home: Path | None
) -> Iterator[Section | LeftOut]:
    """Run the service only while something is measured on it."""
    say = _progress(len(names))
    served = [name for name in names if SECTIONS[name].need is Need.SERVICE]
    others = [name for name in names if name not in served]
    tokens = [name for name in others if SECTIONS[name].need is Need.HSM]
    yield from measure_all(tokens, ground, say)
    if served and home is not None:
        try:
            with run_service(home) as service:
                yield from measure_all(served, replace(ground, service=service), say)
        except (OSError, RuntimeError) as exc:
            yield LeftOut("service", str(exc), is_failure=True)
    else:
        yield from measure_all(served, ground, say)
    yield from measure_all([name for name in others if name not in tokens], ground, say)


def _read_given(arguments: argparse.Namespace, directory: Path, stack: ExitStack) -> _Given:
    wanted = read_wanted(arguments)
    if arguments.url is not None:
        service = Service(read_target(arguments))
        places = _module_places(arguments, stack)
        if len(places) > 1:
            raise TargetUnusable(
                f"{len(places)} keys in the token: name the one that signs with --key-label"
            )
        return _Given(arguments.url, _subjects(places, wanted), wanted, service=service)
    if arguments.home is not None:
        home: Path = arguments.home
        [first, *others] = _places_of_convention(home, arguments.convention)
        told = f"home {home}"
        if others:
            token, key = first
            told += f" (ceilings are those of token {token.name} alone; {key.name} is in {len(others) + 1} tokens)"
        return _Given(told, (_subject(first, wanted, home),), wanted, home)
    if arguments.module is not None:
        places = _module_places(arguments, stack)
        return _Given(f"module {arguments.module}", _subjects(places, wanted), wanted)
    home = make_bench_home(directory / "home")
    subjects = tuple(
        _subject(place, replace(wanted, convention=convention), home)
        for convention, key in ((RSA, "demo-rsa"), (EC, "demo-ec"))
        for place in keys_of_home(home, key)
    )
    reused = replace(wanted, convention=REUSED)
    return _Given("a home made for it, SoftHSM", subjects, reused, home)


def _subjects(places: Sequence[Place], wanted: Wanted) -> tuple[Subject, ...]:
    return tuple(_subject(place, wanted) for place in places) or (Subject("", wanted, None),)


def _subject(place: Place, wanted: Wanted, home: Path | None = None) -> Subject:
    """A key as what signs; by so many lanes as its home says, or by two."""
    subject = Subject(read_mechanism(*place).upper(), wanted, place)
    if home is None:
        return subject
    lanes = {token.name: token.lanes for token in load_config(home).tokens}
    return replace(subject, lanes=lanes[place[0].name])


def _module_places(arguments: argparse.Namespace, stack: ExitStack) -> list[Place]:
    if arguments.module is None:
        return []
    named = argparse.Namespace(**vars(arguments) | {"home": None, "mechanism": None})
    places = stack.enter_context(choose_places(named))
    if not places:
        raise TargetUnusable("the token has no such key: --key-label")
    return places


def _places_of_convention(home: Path, convention: str) -> list[Place]:
    """The key that signs for a convention of the home, in each token that has it.

    Raises:
        ConfigurationError: there is no such convention, or it is not a client's.
    """
    file = home / "conventions" / f"{convention}.toml"
    try:
        key = tomllib.loads(file.read_text()).get("key")
    except OSError as exc:
        raise ConfigurationError(str(file), "", "a convention; --convention names it") from exc
    if not isinstance(key, str):
        raise ConfigurationError(str(file), "key", "the [[key]] that signs: a client's convention")
    return keys_of_home(home, key)


def _progress(count: int) -> Callable[[str], None]:
    """Say on stderr what is measured, and how far the run is."""
    told = iter(range(1, count + 1))

    def say(name: str) -> None:
        print(f"{next(told)} of {count}: {name}", file=sys.stderr, flush=True)

    return say
