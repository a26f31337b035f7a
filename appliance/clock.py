"""Time as an argument: wall time for what is written and judged, monotonic time for deadlines.

Nothing else in the appliance may ask the operating system for the time of day (DESIGN invariant 5).
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec


class Clock(Protocol):
    """What a component needs to know about time."""

    def now(self) -> datetime:
        """Return the wall time, in UTC, with its time zone."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, in UTC, with its time zone."""
        return datetime.now(UTC)  # noqa: TID251 - the one place where wall time enters

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A wall clock that stands still at `instant`, for diagnosis (`verify --at`) and tests."""

    instant: datetime

    def now(self) -> datetime:
        """Return the fixed instant."""
        return self.instant

    def monotonic(self) -> float:
        """Return seconds that never go back; deadlines still run."""
        return time.monotonic()


_encode: Final = msgspec.json.Encoder().encode
"""Writes an instant in a tenth of the time of `isoformat`; in quotes, and without a fraction that is zero."""


def format_instant(instant: datetime) -> str:
    """Write an xs:dateTime in UTC with milliseconds and `Z`, as the vector and the trace carry it."""
    seconds = _encode(instant.astimezone(UTC))[1:20].decode()
    return f"{seconds}.{instant.microsecond // 1000:03}Z"
