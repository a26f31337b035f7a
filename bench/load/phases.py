"""When it is asked: phases that follow one another on the same connections."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count


class Arrivals(StrEnum):
    """How the requests of an open loop follow each other."""

    POISSON = "poisson"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Phase:
    """Some seconds of load.

    Attributes:
        rate: requests a second that arrive whether or not earlier ones were answered (open loop); None keeps every connection
            busy, each sending its next request when the last is answered (closed loop).
        is_counted: a warm-up is not.
        turn: which of several such phases it is: each draws arrivals of its own, the same turn the same ones.
    """

    seconds: float
    rate: float | None = None
    arrivals: Arrivals = Arrivals.POISSON
    is_counted: bool = True
    turn: int = 0

    def share(self, processes: int) -> "Phase":
        """Divide the rate among client processes; independent Poisson arrivals add up to Poisson arrivals."""
        rate = None if self.rate is None else self.rate / processes
        return replace(self, rate=rate)

    def intended_times(self, begin: float, seed: int | str) -> Iterator[float]:
        """The instants at which requests shall be sent, ascending, on the clock of `begin`; none in a closed loop."""
        if self.rate is None:
            return
        end = begin + self.seconds
        if self.arrivals is Arrivals.FIXED:
            for number in count():
                at = begin + number / self.rate
                if at >= end:
                    return
                yield at
        draw = random.Random(seed)  # noqa: S311 - a load, not a secret
        at = begin + draw.expovariate(self.rate)
        while at < end:
            yield at
            at += draw.expovariate(self.rate)


def ramp(first: float, last: float, number: int) -> list[float]:
    """List `number` rates from `first` to `last`, evenly spaced."""
    if number == 1:
        return [last]
    return [first + (last - first) * at / (number - 1) for at in range(number)]
