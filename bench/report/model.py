"""What a report states: figures with their rounds, and what is drawn; read back from JSON as it was written."""

import statistics
from typing import Final

import msgspec

from bench.machine import Machine
from bench.spread import spread

FORMAT: Final = 2


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a figure should reach: at least or at most so much; a share is of the ceiling."""

    least: float | None = None
    most: float | None = None
    is_share: bool = False


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One quantity, as often as it was measured.

    Attributes:
        rounds: the value of every round; empty where there was nothing to measure, which reaches nothing that is wanted.
        ceilings: what it is a part of, measured in the same rounds; empty where it is a part of nothing.
        of: what the ceiling is.
    """

    name: str
    unit: str
    rounds: tuple[float, ...]
    ceilings: tuple[float, ...] = ()
    of: str = ""
    wanted: Wanted | None = None

    @property
    def value(self) -> float:
        """The median of the rounds.

        Raises:
            statistics.StatisticsError: there is none.
        """
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half of what lies between the quartiles of the rounds, as a part of the median."""
        return spread(self.rounds)

    @property
    def ceiling(self) -> float | None:
        """The median of the ceilings."""
        return statistics.median(self.ceilings) if self.ceilings else None

    @property
    def shares(self) -> tuple[float, ...]:
        """Every round's part of its own ceiling; none without one, or where noise has made one less than nothing."""
        if not self.ceilings or min(self.ceilings) <= 0:
            return ()
        return tuple(
            value / ceiling for value, ceiling in zip(self.rounds, self.ceilings, strict=True)
        )

    @property
    def share(self) -> float | None:
        """The median of `shares`."""
        return statistics.median(self.shares) if self.shares else None

    @property
    def is_met(self) -> bool | None:
        """Whether it reaches what is wanted; None where nothing is."""
        wanted = self.wanted
        if wanted is None:
            return None
        if not self.rounds:
            return False
        reached = self.share if wanted.is_share else self.value
        if reached is None:
            return False
        is_enough = wanted.least is None or reached >= wanted.least
        return is_enough and (wanted.most is None or reached <= wanted.most)


class Axis(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an axis shows, in which unit, and whether equal distances are equal ratios."""

    label: str
    unit: str
    is_log: bool = False

    @property
    def title(self) -> str:
        """Both, as they are written."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


class Series(msgspec.Struct, frozen=True):
    """One line of a plot."""

    name: str
    points: tuple[tuple[float, float], ...]


class Lines(msgspec.Struct, frozen=True, tag="lines"):
    """A plot of lines."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


class Bar(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bar: parts that follow each other, in the order of the plot's names.

    Attributes:
        mark: where a tick shows what is wanted.
    """

    name: str
    parts: tuple[float, ...]
    mark: float | None = None


class Bars(msgspec.Struct, frozen=True, tag="bars", omit_defaults=True):
    """A plot of lying bars; `names` are those of their parts."""

    title: str
    x: Axis
    names: tuple[str, ...]
    bars: tuple[Bar, ...]


Plot = Lines | Bars


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured together.

    Attributes:
        how: what was done, for somebody who wants to do it again.
        remarks: what else the runs said.
    """

    name: str
    title: str
    how: str
    figures: tuple[Figure, ...]
    plots: tuple[Plot, ...] = ()
    remarks: tuple[str, ...] = ()


class LeftOut(msgspec.Struct, frozen=True):
    """A section that is not there.

    Attributes:
        is_failure: it was tried.
    """

    name: str
    reason: str
    is_failure: bool


class Report(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        command: what repeats it.
        begun: wall time, ISO 8601.
        seconds: how long it took.
        busy_before: which part of the cores something kept busy just before.
    """

    format: int
    command: str
    begun: str
    seconds: float
    busy_before: float
    rounds: int
    is_quick: bool
    subject: str
    machine: Machine
    sections: tuple[Section, ...]
    left_out: tuple[LeftOut, ...]


class _Format(msgspec.Struct):
    format: int


def write_report(report: Report) -> bytes:
    """JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def read_report(octets: bytes) -> Report:
    """Read what `write_report` wrote.

    Raises:
        msgspec.MsgspecError: it is something else, or a report of another format.
    """
    found = msgspec.json.decode(octets, type=_Format).format
    if found != FORMAT:
        raise msgspec.ValidationError(f"a report of format {found}; this reads format {FORMAT}")
    return msgspec.json.decode(octets, type=Report)
