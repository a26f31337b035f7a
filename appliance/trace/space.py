"""Room on the trace's disk: said once when it falls below a fifth, and again below a tenth; always in the metrics."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance import metrics
from appliance.log import Log

_LOG: Final = Log("trace")
THRESHOLDS: Final = (0.2, 0.1)
_AGAIN_ABOVE: Final = 0.02
"""How far room must rise above a threshold before falling below it is news again."""


class FreeSpace:
    """Watches the file system of one directory."""

    def __init__(self, directory: Path, read_free: Callable[[Path], float] | None = None) -> None:
        self._directory: Final = directory
        self._read: Final = read_free or _read_free
        self._below = 0

    def look(self) -> None:
        """Measure, and warn of a threshold that was passed."""
        try:
            free = self._read(self._directory)
        except OSError as exc:
            _LOG.warning("disk-not-measured", directory=str(self._directory), cause=str(exc))
            return
        metrics.TRACE_FREE.set(free)
        below = sum(free < threshold for threshold in THRESHOLDS)
        if below > self._below:
            _LOG.warning(
                "disk-fills",
                directory=str(self._directory),
                free=f"{free:.0%}",
                next="make room: `appliance trace purge`, or a larger disk; full, the service refuses new vectors",
            )
            self._below = below
        elif all(free > threshold + _AGAIN_ABOVE for threshold in THRESHOLDS[below : self._below]):
            self._below = below


def _read_free(directory: Path) -> float:
    """Return the share of the file system that this user may still fill."""
    told = os.statvfs(directory)
    return told.f_bavail / told.f_blocks if told.f_blocks else 0.0
