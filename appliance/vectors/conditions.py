"""Dates of a vector: read strictly, and compared without ever overflowing.

Promises that a date without a time zone is refused (DOMAIN 7): nobody can tell which instant it means.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

LONGEST_SKEW: Final = timedelta(days=1)
"""The most that a convention may tolerate between two clocks: later than this after its end nobody takes a vector."""

_INSTANT: Final = re.compile(  # XML Schema part 2, 3.2.7
    r"[1-9]\d{3}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?"
    r"(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))",
    re.ASCII,
)


def read_instant(text: str) -> datetime:
    """Read an xs:dateTime with its zone as an instant in UTC; digits below a microsecond are cut.

    Raises:
        ValueError: not an xs:dateTime, or one without zone. `24:00:00` and years outside 1000 to 9999 are refused too.
    """
    trimmed = text.strip(" \t\r\n")
    if _INSTANT.fullmatch(trimmed) is None:
        raise ValueError("not an xs:dateTime with a time zone")
    try:
        return datetime.fromisoformat(trimmed).astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("beyond the year 9999") from exc


def is_reached(instant: datetime, now: datetime, skew: float = 0.0) -> bool:
    """Tell whether `now` is at or after `instant`, by a clock that may be `skew` seconds behind."""
    return instant - now <= timedelta(seconds=skew)


def is_over(instant: datetime, now: datetime, skew: float = 0.0) -> bool:
    """Tell whether `now` has reached the exclusive end `instant`, by a clock that may be `skew` seconds ahead."""
    return now - instant >= timedelta(seconds=skew)
