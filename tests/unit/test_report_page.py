"""What `python -m bench report` writes, rendered from the stored result of a quick run: the page, its plots, the table."""

import math
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from lxml import etree

from bench.report.model import (
    Axis,
    Figure,
    Lines,
    Report,
    Series,
    Wanted,
    read_report,
    write_report,
)
from bench.report.page import write_page
from bench.report.plots import overview, write_plots
from bench.report.scale import linear, logarithmic
from bench.report.svg import draw
from bench.report.table import cells, write_table
from tests.groups import leave_out

STORED = Path(__file__).with_name("report.json")
SVG = "{http://www.w3.org/2000/svg}"
LIGHT, DARK = (255, 255, 255), (0x14, 0x18, 0x1D)


@pytest.fixture(scope="module")
def report() -> Report:
    """A quick run of everything, as the tool wrote it."""
    return read_report(STORED.read_bytes())


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    """Its page."""
    return write_page(report)


class Reader(HTMLParser):
    """Notes what a page refers to and names, and that its elements end in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.names += [value or "" for name, value in attrs if name == "id"]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read_page(page: str) -> Reader:
    """Read it."""
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def svgs(page: str) -> list[etree._Element]:
    """Every plot, read as the XML that it is."""
    return [etree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_json_is_read_back_as_it_was_written(report: Report) -> None:
    """Programs read what the tool wrote."""
    assert read_report(write_report(report)) == report
    assert write_report(report) == STORED.read_bytes()


def test_a_report_of_another_format_is_refused(report: Report) -> None:
    """By its number, before its fields are looked at."""
    octets = write_report(report).replace(b'"format": 2', b'"format": 1', 1)
    with pytest.raises(msgspec.ValidationError, match="a report of format 1; this reads format 2"):
        read_report(octets)


def test_the_page_needs_nothing_else(page: str) -> None:
    """No script, no image, no style or font of another place; the browser is told to fetch nothing."""
    reader = read_page(page)
    tags = {tag for tag, _, _ in reader.attributes}
    assert not tags & {"script", "img", "link", "iframe", "object", "use", "image"}
    refers = [
        value for _, name, value in reader.attributes if name in {"href", "src", "xlink:href"}
    ]
    assert refers
    assert all(value.startswith("#") for value in refers)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_every_section_stands_on_the_page_and_in_the_table(report: Report, page: str) -> None:
    """With a heading, a row for each figure, and every reference leading somewhere."""
    reader = read_page(page)
    assert len(reader.names) == len(set(reader.names))
    assert {section.name for section in report.sections} <= set(reader.names)
    named = [value.split() for _, name, value in reader.attributes if name == "aria-labelledby"]
    assert {each for names in named for each in names} <= set(reader.names)
    links = {value[1:] for _, name, value in reader.attributes if name == "href"}
    assert links == {section.name for section in report.sections}
    table = write_table(report)
    for section in report.sections:
        assert f"\n## {section.title}\n" in table
        for figure in section.figures:
            assert f"| {figure.name} |" in table


def test_the_plots_that_were_asked_for_are_there(report: Report, page: str) -> None:
    """Throughput against ceiling, latency against load, where the time goes, lanes, workers, message size."""
    titles = {svg.findtext(f"{SVG}title") for svg in svgs(page)}
    assert titles >= {
        "Throughput against the ceiling",
        "Latency against load",
        "Where the processor time of one vector goes",
        "Scaling with lanes",
        "Scaling with workers",
        "Processor time of one message against its size",
    }
    whole = overview(report.sections)
    assert whole is not None
    assert {bar.mark for bar in whole.bars} >= {75, 92, 25, 60}


def test_plots_are_drawn_within_their_frame_and_described(page: str) -> None:
    """Every coordinate is a number inside the view; every plot has a title, a description, axes with units and its numbers beside it."""
    plots = svgs(page)
    assert page.count("The same as numbers") == len(plots)
    for svg in plots:
        _, _, width, height = map(float, svg.get("viewBox").split())
        assert svg.get("role") == "img"
        assert svg.findtext(f"{SVG}title")
        assert svg.findtext(f"{SVG}desc")
        labels = [each.text for each in svg.iter(f"{SVG}text") if each.get("class") == "label"]
        assert labels
        for element in svg.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(element.get(name, "0")) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(element.get(name, "0")) <= height
            for pair in element.get("points", "").split():
                x, y = map(float, pair.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height
            assert float(element.get("width", "0")) >= 0


def test_no_text_runs_over_another_or_out_of_the_frame(page: str) -> None:
    """By the width of its letters every text ends inside the plot, and before the next one of its line begins."""
    letter = 6.6  # of system-ui at 13 px, on average
    for svg in svgs(page):
        width = float(svg.get("viewBox").split()[2])
        lines: dict[float, list[tuple[float, float, str]]] = {}
        for text in svg.iter(f"{SVG}text"):
            if text.get("transform"):
                continue
            long, at = letter * len(text.text), float(text.get("x"))
            begin = at - long * {"end": 1, "middle": 0.5}.get(text.get("text-anchor"), 0)
            assert begin >= 0, text.text
            assert begin + long <= width, text.text
            lines.setdefault(float(text.get("y")), []).append((begin, begin + long, text.text))
        for texts in lines.values():
            for (_, end, one), (begin, _, other) in pairwise(sorted(texts)):
                assert end <= begin, (one, other)


def test_plots_are_files_that_the_table_shows(report: Report, tmp_path: Path) -> None:
    """Every plot stands alone beside the table that shows it, with its own colours for a light and a dark page."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "earlier-0.svg").touch()
    mine = tmp_path / "plots" / "mine.svg"
    mine.touch()
    write_plots(report, tmp_path)
    mine.unlink()  # a file of somebody else's is still there
    shown = re.findall(r"!\[.+\]\((.+)\)", write_table(report))
    files = sorted(tmp_path.rglob("*.svg"))
    assert files
    assert sorted(shown) == [str(file.relative_to(tmp_path)) for file in files]
    for file in files:
        style = etree.parse(file).findtext(f"{SVG}style")
        assert "prefers-color-scheme: dark" in style
        assert "--c0" in style
        assert etree.parse(file).find(f"{SVG}rect").get("fill") == "var(--page)"


def test_names_are_text_and_not_markup() -> None:
    """What a home or a file is called cannot become markup."""
    lines = Lines("<b>&", Axis("x", "s"), Axis("y", "ms"), (Series('"<i>', ((1.0, 2.0),)),))
    assert etree.fromstring(draw(lines, "plot")).findtext(f"{SVG}title") == "<b>&"


def test_a_figure_is_judged_by_value_or_by_share() -> None:
    """The median of the rounds' own shares, not the share of the medians; bounds belong to what they bound."""
    figure = Figure("f", "1/s", (50.0, 90.0, 60.0), (100.0, 100.0, 60.0), "token")
    assert figure.value == 60
    assert figure.share == 0.9
    assert figure.is_met is None
    assert Figure("f", "", (0.9,), (1.0,), wanted=Wanted(least=0.9, is_share=True)).is_met
    assert not Figure("f", "", (0.9,), (1.0,), wanted=Wanted(least=0.95, is_share=True)).is_met
    assert Figure("f", "ms", (2.0,), wanted=Wanted(most=2.0)).is_met
    assert not Figure("f", "ms", (2.1,), wanted=Wanted(most=2.0)).is_met
    assert Figure("f", "", (1.0,)).spread == 0
    assert cells(figure)[2:4] == ("33%", "90% ± 25%")
    assert cells(Figure("f", "", (0.9,), (1.0,)))[3] == "90%"
    lost = Figure("f", "µs", (1.0,), (-2.0,), wanted=Wanted(most=0.25, is_share=True))
    assert (lost.share, lost.is_met) == (None, False)


def test_what_never_happened_reaches_nothing() -> None:
    """A figure without a single round keeps its row: none, and not what is wanted."""
    never = Figure("refusal, p99", "ms", (), wanted=Wanted(most=5.0))
    assert never.is_met is False
    assert cells(never) == ("refusal, p99", "none", "", "", "", "≤ 5.0 ms", "no")
    assert Figure("refusal, p50", "ms", ()).is_met is None


def test_a_machine_in_use_is_warned_of(report: Report) -> None:
    """By what its processors did just before, of which a tenth is nobody; the load average, which remembers longer, is only stated."""
    warning = "The machine was busy before this began (11% of"
    busy = msgspec.structs.replace(report, busy_before=0.11)
    assert warning in write_table(busy)
    assert warning in write_page(busy)
    loaded = msgspec.structs.replace(report.machine, load_before=9.0)
    left_alone = msgspec.structs.replace(report, busy_before=0.1, machine=loaded)
    assert "was busy" not in write_table(left_alone)
    assert "- load average: 9.0 before" in write_table(left_alone)


@pytest.mark.parametrize(
    "values", [[0.0], [3.0], [0.4, 7.3], [99.9, 100.0], [1e-4, 2e5], [31_000.0]]
)
def test_scales_hold_their_values(values: list[float]) -> None:
    """Ticks are round, ascending and few, and every value lies between the first and the last."""
    for scale in (linear(values, 0, 100), logarithmic(values, 100, 0)):
        assert 2 <= len(scale.ticks) <= 11
        assert sorted(set(scale.ticks)) == list(scale.ticks)
        for value in values:
            assert 0 <= scale.place(value) <= 100
            if value > 0:
                assert scale.low <= value * (1 + 1e-9)
                assert value <= scale.high * (1 + 1e-9)
        assert not any(math.isnan(scale.place(tick)) for tick in scale.ticks)


def browse(directory: Path, page: str, *wanted: str) -> str:
    """Have Chromium lay out a page of the directory; what it prints."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        leave_out("chromium", "chromium is not installed")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--window-size=1000,3000", f"--user-data-dir={directory / 'profile'}"),
            *(*wanted, str(directory / page)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "ground"), [("light", LIGHT), ("dark", DARK)])
def test_a_browser_shows_it(
    page: str, tmp_path: Path, scheme: str, ground: tuple[int, int, int]
) -> None:
    """Chromium lays the page out light and dark: the ground has its colour, and the plots' own colours are on it."""
    (tmp_path / "page.html").write_text(page)
    shot = tmp_path / "shot.png"
    browse(
        tmp_path,
        "page.html",
        "--force-device-scale-factor=0.25",
        f"--blink-settings=preferredColorScheme={('dark', 'light').index(scheme)}",
        f"--screenshot={shot}",
    )
    pixels = read_png(shot)
    assert pixels[0] == ground
    colours = set(pixels)
    told = page.split("prefers-color-scheme")[scheme == "dark"]
    plots = {bytes.fromhex(each) for each in re.findall(r"--c[01]: #(\w{6})", told)}
    assert len(plots) == 2
    assert plots <= {bytes(colour) for colour in colours}


@pytest.mark.slow
def test_a_browser_shows_the_files(report: Report, tmp_path: Path) -> None:
    """Chromium takes each plot that is a file for a picture, as a page that shows the table does; what is none is known by its missing width."""
    write_plots(report, tmp_path)
    (tmp_path / "plots" / "none.svg").write_text("<svg>")
    names = sorted(file.name for file in (tmp_path / "plots").iterdir())
    note = "this.title = this.naturalWidth"
    pictures = [f"<img src='plots/{name}' onload='{note}' onerror='{note}'>" for name in names]
    (tmp_path / "table.html").write_text("".join(pictures))
    shown = browse(tmp_path, "table.html", "--dump-dom")
    widths = dict(re.findall(r'src="plots/([\w.-]+)"[^>]* title="(\d+)"', shown))
    assert len(names) > 5
    assert widths.keys() == set(names)
    assert [name for name, width in widths.items() if width == "0"] == ["none.svg"]


def read_png(file: Path) -> list[tuple[int, ...]]:
    """The pixels of a PNG of 8 bits a channel (RFC 2083), without their opacity."""
    octets, at, data = file.read_bytes(), 8, b""
    width = channels = 0
    while at < len(octets):
        length, kind = struct.unpack(">I4s", octets[at : at + 8])
        body = octets[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, channels = struct.unpack(">I", body[:4])[0], {2: 3, 6: 4}[body[9]]
        elif kind == b"IDAT":
            data += body
        at += length + 12
    stride, rows = width * channels, zlib.decompress(data)
    above, pixels = bytearray(stride), []
    for start in range(0, len(rows), stride + 1):
        above = unfilter(rows[start], rows[start + 1 : start + 1 + stride], above, channels)
        pixels += [tuple(above[at : at + 3]) for at in range(0, stride, channels)]
    return pixels


def unfilter(kind: int, row: bytes, above: bytearray, step: int) -> bytearray:
    """Undo one row's filter (RFC 2083, 6)."""
    out = bytearray(row)
    for at in range(len(out)):
        left, up = out[at - step] if at >= step else 0, above[at]
        corner = above[at - step] if at >= step else 0
        if kind == 4:
            near = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
            out[at] = (out[at] + near) & 255
        elif kind:
            out[at] = (out[at] + (0, left, up, (left + up) // 2)[kind]) & 255
    return out
