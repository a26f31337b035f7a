"""The plots of a report and their names, and each as a file of its own, for pages that are not ours."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from bench.report.model import Axis, Bar, Bars, Figure, Plot, Report, Section
from bench.report.svg import draw

FOLDER: Final = "plots"
"""Where the files lie, beside the tables that show them."""


def read_style() -> str:
    """Colours, light and dark, and how lines, bars and letters of a plot look."""
    return files("bench.report").joinpath("plot.css").read_text(encoding="utf-8")


def plots_of(section: Section) -> Iterator[tuple[str, Plot]]:
    """Name a section's plots."""
    for at, plot in enumerate(section.plots):
        yield f"{section.name}-{at}", plot


def overview(sections: Sequence[Section]) -> Bars | None:
    """Every rate that is a part of a real token's ceiling, with what is wanted; None where there is none."""
    bars = tuple(
        Bar(figure.name, (share * 100,), _mark(figure))
        for section in sections
        for figure in section.figures
        if figure.of.startswith("token") and (share := figure.share) is not None
    )
    if not bars:
        return None
    axis = Axis("throughput, part of the token's ceiling in the same run", "%")
    return Bars("Throughput against the ceiling", axis, ("reached",), bars)


def write_plots(report: Report, directory: Path) -> None:
    """Write every plot as `directory/plots/NAME.svg`; what an earlier report left there goes, by the names that plots have, and nothing else."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    for earlier in (*folder.glob("overview.svg"), *folder.glob("*-[0-9].svg")):
        earlier.unlink()
    whole = overview(report.sections)
    named: list[tuple[str, Plot]] = [] if whole is None else [("overview", whole)]
    for section in report.sections:
        named += plots_of(section)
    style = read_style()
    for name, plot in named:
        (folder / f"{name}.svg").write_text(draw(plot, name, style) + "\n", encoding="utf-8")


def _mark(figure: Figure) -> float | None:
    wanted = figure.wanted
    if wanted is None or wanted.least is None or not wanted.is_share:
        return None
    return wanted.least * 100
