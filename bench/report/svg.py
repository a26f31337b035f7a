"""Plots as SVG that stands in a page: colours are the page's, light or dark; nothing is told by colour alone.

Every plot has a title and a description for those who do not see it; the page puts the numbers beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Final

from bench.report.model import Axis, Bar, Bars, Lines, Plot, Series
from bench.report.numerals import number
from bench.report.scale import Scale, linear, logarithmic

_WIDTH: Final = 760
_HEIGHT: Final = 400
_LEFT: Final = 84
_RIGHT: Final = 44
_TOP: Final = 16
_BOTTOM: Final = 62
_ROW: Final = 34
_LABELS: Final = 290
_VALUES: Final = 84
_LEGEND: Final = 24
_ROOM: Final = 56
_MARK: Final = 60
_COLUMNS: Final = 3
_LETTER: Final = 7.5
"""A letter of the plots' type is so wide at most, on average over a word (13 px)."""

_DASHES: Final = ("", "8 4", "2 4", "10 4 2 4", "5 5", "1 3")
COLOURS: Final = 6
"""The page has so many, `--c0` and on; a seventh line or part takes the first again."""


def draw(plot: Plot, name: str, style: str = "") -> str:
    """Draw a plot; `name` makes its identifiers the page's only ones, `style` is for one that stands in no page."""
    body, height = _draw_lines(plot) if isinstance(plot, Lines) else _draw_bars(plot)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(plot.title)}</title>'
        f'<desc id="{name}-desc">{escape(describe(plot))}</desc>{_styled(style)}{"".join(body)}</svg>'
    )


def _styled(style: str) -> str:
    """Its own colours and ground: what shows it may be dark where the reader's system is light."""
    ground = '<rect width="100%" height="100%" fill="var(--page)"/>'
    return f"<style>{escape(style)}</style>{ground}" if style else ""


def describe(plot: Plot) -> str:
    """Say in a sentence what a plot shows."""
    if isinstance(plot, Bars):
        return f"{plot.x.title} of {', '.join(bar.name for bar in plot.bars)}."
    ranges = [
        f"{line.name} from {number(line.points[0][1])} to {number(line.points[-1][1])}"
        for line in plot.series
        if line.points
    ]
    return f"{plot.y.title} against {plot.x.title}: {'; '.join(ranges)}."


# Lines


def _draw_lines(plot: Lines) -> tuple[list[str], int]:
    marks = [line.name for line in plot.series]
    legend = _LEGEND * _rows(marks)
    bottom = _TOP + legend + _HEIGHT - _TOP - _BOTTOM
    points = [point for line in plot.series for point in line.points]
    x = _scale(plot.x, [at for at, _ in points], _LEFT, _WIDTH - _RIGHT)
    if not x.is_log:
        x = replace(x, ticks=tuple(sorted({at for at, _ in points})))
    y = _scale(plot.y, [at for _, at in points], bottom, _TOP + legend)
    body = [*_legend(marks, is_line=True), *_grid(x, y, plot.x, plot.y)]
    for at, line in enumerate(plot.series):
        body += _line(at, line, x, y)
    return body, _HEIGHT + legend


def _line(at: int, line: Series, x: Scale, y: Scale) -> Iterator[str]:
    places = [(x.place(one), y.place(other)) for one, other in line.points]
    path = " ".join(f"{one:.1f},{other:.1f}" for one, other in places)
    yield f'<polyline class="s{at % COLOURS}" fill="none" stroke-width="2.5" {_dash(at)}points="{path}"/>'
    for (one, other), (_, value) in zip(places, line.points, strict=True):
        yield (
            f'<g class="s{at % COLOURS}">{_marker(at, one, other)}'
            f"<title>{escape(line.name)}: {number(value)}</title></g>"
        )


def _dash(at: int) -> str:
    pattern = _DASHES[at % len(_DASHES)]
    return f'stroke-dasharray="{pattern}" ' if pattern else ""


def _marker(at: int, x: float, y: float) -> str:
    """A shape of its own for each line."""
    shape = at % 3
    if shape == 0:
        return f'<circle class="f{at % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == 1:
        return (
            f'<rect class="f{at % COLOURS}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
        )
    corners = f"{x:.1f},{y - 5.5:.1f} {x + 5.5:.1f},{y + 4.5:.1f} {x - 5.5:.1f},{y + 4.5:.1f}"
    return f'<polygon class="f{at % COLOURS}" points="{corners}"/>'


def _grid(x: Scale, y: Scale, of_x: Axis, of_y: Axis) -> Iterator[str]:
    for tick in y.ticks:
        at = y.place(tick)
        yield f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_tick(tick)}</text>'
    for tick in x.ticks:
        at = x.place(tick)
        yield f'<line class="axis" x1="{at:.1f}" y1="{y.start:.1f}" x2="{at:.1f}" y2="{y.start + 5:.1f}"/>'
        yield f'<text x="{at:.1f}" y="{y.start + 20:.1f}" text-anchor="middle">{_tick(tick)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{y.start:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y.start:.1f}"/>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{y.start:.1f}" x2="{_LEFT}" y2="{y.end:.1f}"/>'
    middle = (x.start + x.end) / 2
    yield f'<text class="label" x="{middle:.1f}" y="{y.start + 44:.1f}" text-anchor="middle">{escape(of_x.title)}</text>'
    middle = (y.start + y.end) / 2
    yield (
        f'<text class="label" x="18" y="{middle:.1f}" text-anchor="middle"'
        f' transform="rotate(-90 18 {middle:.1f})">{escape(of_y.title)}</text>'
    )


# Bars


def _draw_bars(plot: Bars) -> tuple[list[str], int]:
    legend = _LEGEND * _rows(plot.names) if len(plot.names) > 1 else 0
    bottom = _TOP + legend + _ROW * len(plot.bars)
    reach = [max(sum(bar.parts), bar.mark or 0.0) for bar in plot.bars]
    x = linear(reach, _LABELS, _WIDTH - _VALUES)
    body = list(_legend(plot.names, is_line=False)) if legend else []
    for tick in x.ticks:
        at = x.place(tick)
        body.append(
            f'<line class="grid" x1="{at:.1f}" y1="{_TOP + legend}" x2="{at:.1f}" y2="{bottom}"/>'
            f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{_tick(tick)}</text>'
        )
    for row, bar in enumerate(plot.bars):
        body += _bar(bar, plot.names, x, _TOP + legend + _ROW * row)
    middle = (x.start + x.end) / 2
    body.append(
        f'<text class="label" x="{middle:.1f}" y="{bottom + 42}" text-anchor="middle">{escape(plot.x.title)}</text>'
    )
    return body, bottom + 54


def _bar(bar: Bar, names: Sequence[str], x: Scale, top: float) -> Iterator[str]:
    middle = top + _ROW / 2
    yield f'<text x="{_LABELS - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
    begin = 0.0
    for at, (name, part) in enumerate(zip(names, bar.parts, strict=True)):
        left, right = x.place(begin), x.place(begin + part)
        begin += part
        yield (
            f'<rect class="f{at % COLOURS} part" x="{left:.1f}" y="{top + 6:.1f}" width="{right - left:.1f}" height="{_ROW - 12}">'
            f"<title>{escape(name)}: {number(part)}</title></rect>"
        )
    end = x.place(begin)
    if bar.mark is not None:
        wanted = x.place(bar.mark)
        if end - _ROOM < wanted < end + _ROOM:
            end = max(end, wanted)
        yield (
            f'<g class="mark"><line x1="{wanted:.1f}" y1="{top + 2:.1f}" x2="{wanted:.1f}" y2="{top + _ROW - 2:.1f}"/>'
            f"<title>wanted: {number(bar.mark)}</title></g>"
        )
    yield f'<text class="value" x="{end + 8:.1f}" y="{middle + 4:.1f}">{number(begin)}</text>'


# Both


def _legend(names: Sequence[str], *, is_line: bool) -> Iterator[str]:
    columns = _columns(names)
    for at, name in enumerate(names):
        x, y = 12 + _WIDTH / columns * (at % columns), _TOP + _LEGEND * (at // columns) - 2
        if is_line:
            yield (
                f'<line class="s{at % COLOURS}" stroke-width="2.5" {_dash(at)}x1="{x:.1f}" y1="{y}" x2="{x + 28:.1f}" y2="{y}"/>'
                f'<g class="s{at % COLOURS}">{_marker(at, x + 14, y)}</g>'
            )
        else:
            yield f'<rect class="f{at % COLOURS} part" x="{x:.1f}" y="{y - 7}" width="28" height="14"/>'
        yield f'<text x="{x + 36:.1f}" y="{y + 4}">{escape(name)}</text>'


def _columns(names: Sequence[str]) -> int:
    """How many columns of a legend hold its longest name."""
    widest = _MARK + _LETTER * max((len(name) for name in names), default=0)
    return max(1, min(_COLUMNS, int(_WIDTH / widest)))


def _rows(names: Sequence[str]) -> int:
    return -(-len(names) // _columns(names))


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    return logarithmic(values, start, end) if axis.is_log else linear(values, start, end)


def _tick(value: float) -> str:
    return f"{value:,.6g}" if value < 1 else f"{value:,.10g}"
