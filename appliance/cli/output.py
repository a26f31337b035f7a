"""How the command line prints: results on stdout, diagnostics on stderr, and the exit code that says how it went.

Promises that a result is either one JSON document per line or text for people; that colours and progress bars appear on a
terminal only; that text received from a partner cannot steer the reader's terminal. Knows no command.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum, unique
from types import TracebackType
from typing import Final, Self, TextIO

import msgspec

from appliance.clock import Clock, SystemClock
from appliance.errors import (
    ApplianceError,
    ConfigurationError,
    ConventionViolation,
    Reason,
    RequestError,
    ResourceUnknown,
    VectorRefused,
)
from appliance.trace.checkpoint import CheckpointInvalid
from appliance.trace.reader import LogDamaged

_PROGRESS_AFTER: Final = 2.0  # CONTRACT 2: a bar on anything longer than two seconds
_REDRAW_AFTER: Final = 0.1
_BAR_WIDTH: Final = 30


@unique
class Exit(IntEnum):
    """How a command ended (CONTRACT 2)."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3


@unique
class Colour(StrEnum):
    """ANSI SGR codes of the few colours we use."""

    BAD = "31"
    GOOD = "32"
    WARN = "33"
    DIM = "2"
    STRONG = "1"


NO_SUCH_CONVENTION: Final = frozenset({Reason.CONVENTION_ROLE, Reason.CONVENTION_UNKNOWN})
"""Reasons that speak of the command's own arguments, whatever status the service gives them."""


def exit_for(error: ApplianceError) -> Exit:
    """Return the exit code of an error.

    Our own faults count as unavailable: a script that reads 1 as `refused` must not mistake a defect for a verdict. Nor is a convention
    that does not exist, or is not of the kind asked for, a refusal: the command line names the wrong one.
    """
    if error.reason in NO_SUCH_CONVENTION:
        return Exit.USAGE
    if isinstance(error, CheckpointInvalid | LogDamaged | ResourceUnknown):
        return Exit.REFUSED
    if isinstance(error, ConventionViolation | VectorRefused):
        return Exit.REFUSED
    if isinstance(error, RequestError | ConfigurationError):
        return Exit.USAGE
    return Exit.UNAVAILABLE


class Output:
    """The two streams of one command."""

    def __init__(
        self, *, as_json: bool = False, results: TextIO | None = None, said: TextIO | None = None
    ) -> None:
        self.as_json: Final = as_json
        self._results: Final = sys.stdout if results is None else results
        self._said: Final = sys.stderr if said is None else said
        self._bar: Progress | None = None

    def show(self, value: object, text: str) -> None:
        """Print one result: `value` as one line of JSON under `--json`, else `text`."""
        self._clear_bar()
        line = msgspec.json.encode(value).decode() if self.as_json else text
        print(line, file=self._results, flush=True)

    def write(self, octets: bytes) -> None:
        """Write a result that is octets, and nothing else, to stdout."""
        self._results.flush()
        self._results.buffer.write(octets)
        self._results.buffer.flush()

    def say(self, text: str) -> None:
        """Print one diagnostic."""
        self._clear_bar()
        print(text, file=self._said, flush=True)

    def fail(self, error: ApplianceError) -> Exit:
        """Print what went wrong and return the exit code that goes with it."""
        label = _paint(self._said, Colour.BAD, "error")
        self.say(f"{label}: {printable(error.detail)} ({error.reason.value})")
        return exit_for(error)

    def paint(self, colour: Colour, text: str) -> str:
        """Colour a piece of a result where results go to a terminal and NO_COLOR is unset or empty."""
        return _paint(self._results, colour, text)

    def progress(self, label: str, total: int, clock: Clock | None = None) -> "Progress":
        """Return a bar over `total` steps; it stays silent for two seconds, and for ever where stderr is no terminal."""
        self._bar = Progress(self._said, label, total, clock or SystemClock())
        return self._bar

    def _clear_bar(self) -> None:
        if self._bar is not None:
            self._bar.clear()


class Progress:
    """A progress bar as a context manager: `with output.progress("verify", 1000) as bar: bar.advance()`."""

    def __init__(self, stream: TextIO, label: str, total: int, clock: Clock) -> None:
        self._stream: Final = stream
        self._label: Final = label
        self._total: Final = total
        self._clock: Final = clock
        self._is_terminal: Final = stream.isatty()
        self._draw_at = clock.monotonic() + _PROGRESS_AFTER
        self._steps = 0
        self._is_drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Wipe the bar, if it is drawn, so that something else can be printed."""
        if self._is_drawn:
            self._is_drawn = False
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def advance(self, steps: int = 1) -> None:
        """Count steps done and redraw, at most ten times a second."""
        self._steps += steps
        now = self._clock.monotonic()
        if not self._is_terminal or now < self._draw_at:
            return
        self._draw_at = now + _REDRAW_AFTER
        self._is_drawn = True
        share = min(1.0, self._steps / self._total) if self._total else 1.0
        bar = "#" * round(share * _BAR_WIDTH)
        line = f"\r\x1b[K{self._label} [{bar:<{_BAR_WIDTH}}] {share:4.0%}"
        print(line, end="", file=self._stream, flush=True)


def printable(text: str) -> str:
    """Replace what a terminal would obey rather than show (controls, line ends, direction marks) by its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out under their column names, two spaces apart, every cell made printable."""
    lines = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _paint(stream: TextIO, colour: Colour, text: str) -> str:
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour.value}m{text}\x1b[0m"
