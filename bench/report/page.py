"""A report as one HTML page that needs nothing else: no script, no font, no image of another place; light and dark as the reader has it."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from bench.report.model import Lines, Plot, Report, Section
from bench.report.numerals import number
from bench.report.plots import overview, plots_of, read_style
from bench.report.svg import draw
from bench.report.table import (
    HEADS,
    cells,
    describe_left_out,
    describe_load,
    facts,
)

_TITLE: Final = "What the appliance does, and what its token could"


def write_page(report: Report) -> str:
    """Write it."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    style = read_style() + files("bench.report").joinpath("page.css").read_text(encoding="utf-8")
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{_TITLE}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{_TITLE}</h1>"
    )
    yield f"<p>{_summary(report)}</p>"
    warning = describe_load(report)
    if warning:
        yield f"<p><strong>{escape(warning)}</strong></p>"
    yield "<dl>"
    for name, text in facts(report):
        yield f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
    yield "</dl>"
    yield '<nav aria-label="Sections"><ul>'
    for section in report.sections:
        yield f'<li><a href="#{section.name}">{escape(section.title)}</a></li>'
    yield "</ul></nav>"
    whole = overview(report.sections)
    if whole is not None:
        yield f"<section><h2>{escape(whole.title)}</h2>"
        yield from _plot(whole, "overview")
        yield "<p>A tick shows what is wanted.</p></section>"
    for section in report.sections:
        yield from _section(section)
    if report.left_out:
        yield '<section id="left-out"><h2>Not measured</h2><ul>'
        for one in report.left_out:
            yield f"<li>{escape(describe_left_out(one))}</li>"
        yield "</ul></section>"
    yield "</main>\n</body>\n</html>"


def _summary(report: Report) -> str:
    judged = [
        figure.is_met
        for section in report.sections
        for figure in section.figures
        if figure.is_met is not None
    ]
    return f"{sum(judged)} of {len(judged)} figures reach what is wanted of them."


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{escape(section.title)}</h2><p>{escape(section.how)}</p>'
    rows = [cells(figure) for figure in section.figures]
    yield from _table(section.title, HEADS, rows)
    for name, plot in plots_of(section):
        yield from _plot(plot, name)
    if section.remarks:
        yield "<ul>"
        for remark in section.remarks:
            yield f"<li>{escape(remark)}</li>"
        yield "</ul>"
    yield "</section>"


def _plot(plot: Plot, name: str) -> Iterator[str]:
    yield f"<figure><figcaption>{escape(plot.title)}</figcaption>{draw(plot, name)}"
    yield "<details><summary>The same as numbers</summary>"
    if isinstance(plot, Lines):
        rows = [(line.name, number(x), number(y)) for line in plot.series for x, y in line.points]
        yield from _table(plot.title, ("", plot.x.title, plot.y.title), rows)
    else:
        bars = [(bar.name, *map(number, bar.parts)) for bar in plot.bars]
        yield from _table(plot.title, ("", *plot.names), bars)
    yield "</details></figure>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f'<div class="wide"><table><caption class="unseen">{escape(caption)}</caption><thead><tr>'
    for head in heads:
        yield f'<th scope="col">{escape(head)}</th>' if head else "<td></td>"
    yield "</tr></thead><tbody>"
    for first, *others in rows:
        told = "".join(f"<td{_judgement(text)}>{escape(text)}</td>" for text in others)
        yield f'<tr><th scope="row">{escape(first)}</th>{told}</tr>'
    yield "</tbody></table></div>"


def _judgement(text: str) -> str:
    return f' class="{text}"' if text in {"yes", "no"} else ""
