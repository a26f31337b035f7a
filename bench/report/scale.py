"""Where values stand on an axis, and which of them are written there."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS: Final = 6
_MOST: Final = 10


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a place between `start` and `end` (pixels)."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    is_log: bool

    def place(self, value: float) -> float:
        """Where a value stands; what lies outside stands at the edge."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def linear(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale from 0 to a round number above every value."""
    top = max([*values, 0.0]) or 1.0
    rough = top / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
    count = math.ceil(top / step - 1e-9)
    ticks = tuple(step * at for at in range(count + 1))
    return Scale(0.0, ticks[-1], start, end, ticks, is_log=False)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale between round numbers around every value above 0, equal distances for equal ratios."""
    known = [value for value in values if value > 0] or [1.0]
    exponents = range(math.floor(math.log10(min(known))), math.ceil(math.log10(max(known))) + 1)
    marks = [digit * 10.0**exponent for exponent in exponents for digit in (1, 2, 5)]
    low = max(mark for mark in marks if mark <= min(known) * (1 + 1e-9))
    high = min([mark for mark in marks if mark >= max(known) * (1 - 1e-9)] or [marks[-1]])
    if high <= low:
        high = low * 10
    ticks = [mark for mark in marks if low <= mark <= high]
    if len(ticks) > _MOST:
        ticks = [mark for mark in ticks if round(math.log10(mark), 9).is_integer()]
    return Scale(low, high, start, end, tuple(ticks), is_log=True)
