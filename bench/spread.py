"""How far the rounds of a measurement lie apart."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> float:
    """Half of what lies between the quartiles, as a part of the median; 0 where there is one round, or the median is 0."""
    middle = statistics.median(values)
    if len(values) == 1 or not middle:
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / 2 / middle
