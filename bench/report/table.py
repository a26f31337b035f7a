"""A report as Markdown: a table for each section, numbers as people read them."""

from collections.abc import Iterator
from typing import Final

from bench.report.model import Figure, LeftOut, Plot, Report, Section, Wanted
from bench.report.numerals import number
from bench.report.plots import FOLDER, overview, plots_of
from bench.spread import spread

HEADS: Final = ("", "median", "±", "as a part", "of", "wanted", "reached")
_IDLE: Final = 0.1
_GIB: Final = 1024**3


def write_table(report: Report) -> str:
    """Write the whole report."""
    return "\n".join(_lines(report)) + "\n"


def cells(figure: Figure) -> tuple[str, ...]:
    """The texts of a figure's row, below `HEADS`."""
    ceiling = figure.ceiling
    return (
        figure.name,
        f"{number(figure.value)} {figure.unit}".rstrip() if figure.rounds else "none",
        f"{figure.spread:.0%}" if len(figure.rounds) > 1 else "",
        _write_share(figure),
        "" if ceiling is None else f"{number(ceiling)} ({figure.of})",
        _write_wanted(figure.wanted, figure.unit),
        {None: "", True: "yes", False: "no"}[figure.is_met],
    )


def _write_share(figure: Figure) -> str:
    """The median of the shares, and half of what lies between their quartiles: less than that of the rates, where noise meets the ceiling, too."""
    share = figure.share
    if share is None:
        return ""
    return f"{share:.0%}" + f" ± {spread(figure.shares) * share:.0%}" * (len(figure.shares) > 1)


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """What was measured where, with what, and how: names and texts."""
    machine = report.machine
    rounds = f"{report.rounds} round{'s' * (report.rounds > 1)}" + (", quick" * report.is_quick)
    return (
        ("measured on", report.subject),
        (
            "machine",
            f"{machine.processor}, {machine.cores} cores, {machine.memory / _GIB:.0f} GiB, {machine.disk}, {machine.system}",
        ),
        ("versions", ", ".join(f"{name} {each}" for name, each in machine.versions.items())),
        ("busy just before", f"{report.busy_before:.0%} of the cores"),
        ("load average", f"{machine.load_before:.1f} before, {machine.load_after:.1f} after"),
        (
            "how often",
            f"medians of {rounds}; ± is half of what lies between the quartiles: of a median as a part of it, of a part in points",
        ),
        ("begun", f"{report.begun}; {report.seconds:,.0f} s"),
        ("command", report.command),
    )


def describe_load(report: Report) -> str:
    """Warn when somebody else used the machine; empty when it was left alone just before the beginning."""
    if report.busy_before <= _IDLE:
        return ""
    return f"The machine was busy before this began ({report.busy_before:.0%} of {report.machine.cores} cores): no figure here says much."


def describe_left_out(one: LeftOut) -> str:
    """Say why a section is not there."""
    return f"{one.name}: {'failed: ' * one.is_failure}{one.reason}"


def _lines(report: Report) -> Iterator[str]:
    yield "# What the appliance does, and what its token could\n"
    for name, text in facts(report):
        yield f"- {name}: {text}"
    warning = describe_load(report)
    if warning:
        yield f"\n**{warning}**"
    whole = overview(report.sections)
    if whole is not None:
        yield f"\n## {whole.title}\n\n{_picture('overview', whole)}\n\nA tick shows what is wanted."
    for section in report.sections:
        yield from _section(section)
    if report.left_out:
        yield "\n## Not measured\n"
        for one in report.left_out:
            yield f"- {describe_left_out(one)}"


def _section(section: Section) -> Iterator[str]:
    yield f"\n## {section.title}\n\n{section.how}\n"
    yield f"| {' | '.join(HEADS)} |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for figure in section.figures:
        yield f"| {' | '.join(cells(figure))} |"
    for name, plot in plots_of(section):
        yield f"\n{_picture(name, plot)}"
    if section.remarks:
        yield ""
        for remark in section.remarks:
            yield f"- {remark}"


def _picture(name: str, plot: Plot) -> str:
    return f"![{plot.title}]({FOLDER}/{name}.svg)"


def _write_wanted(wanted: Wanted | None, unit: str) -> str:
    if wanted is None:
        return ""
    bound, sign = (wanted.least, "≥") if wanted.most is None else (wanted.most, "≤")
    if bound is None:
        return ""
    return f"{sign} {bound:.0%}" if wanted.is_share else f"{sign} {number(bound)} {unit}"
