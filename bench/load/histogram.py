"""Latencies kept as an HdrHistogram (Gil Tene's format, by the `hdrhistogram` package): microseconds, three digits, up to a minute."""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol, cast

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]  # this module is its typed door

LONGEST: Final = 60_000_000
_DIGITS: Final = 3


class _Histogram(Protocol):
    def record_value(self, value: int, count: int, /) -> bool: ...
    def get_value_at_percentile(self, percentile: float, /) -> int: ...
    def get_total_count(self) -> int: ...
    def get_max_value(self) -> int: ...
    def decode_and_add(self, encoded: bytes, /) -> None: ...
    def encode(self) -> bytes: ...


class Latencies:
    """Latencies of good answers; recording one costs an append, the histogram is made when it is asked for."""

    def __init__(self, encoded: Iterable[bytes] = ()) -> None:
        self._histogram: Final = cast("_Histogram", HdrHistogram(1, LONGEST, _DIGITS))
        self._pending = array("d")
        for part in encoded:
            self._histogram.decode_and_add(part)

    def record(self, seconds: float) -> None:
        """Take one in; what took more than a minute counts as a minute."""
        self._pending.append(seconds)

    def percentile(self, percent: float) -> float:
        """Seconds within which `percent` of the answers came; 0 when there are none."""
        return self._settled().get_value_at_percentile(percent) / 1e6

    @property
    def slowest(self) -> float:
        """Seconds of the slowest; 0 when there are none."""
        return self._settled().get_max_value() / 1e6

    @property
    def count(self) -> int:
        """How many."""
        return self._settled().get_total_count()

    def encode(self) -> bytes:
        """Write the histogram in its own format (V2, deflated, base64), which other tools read and add up."""
        return self._settled().encode()

    def _settled(self) -> _Histogram:
        microseconds = Counter(min(LONGEST, max(1, round(each * 1e6))) for each in self._pending)
        for value, count in microseconds.items():
            self._histogram.record_value(value, count)
        self._pending = array("d")
        return self._histogram
