"""What a log is called: `worker-0.6y.2026`, one per writer, retention class and calendar year (UTC).

The name is a directory below `log/` and below `spool/`, a path segment of the API, and, behind the appliance's own origin, the
origin line of the log's checkpoints: no two logs of the world that follow the rule share one.
"""

import re
from dataclasses import dataclass
from typing import Final

SYSTEM: Final = "system"
"""The supervisor's own events."""
COMMAND_LINE: Final = "cli"
"""Vectors issued without a service."""

CLASS_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
ORIGIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9./:_-]{0,158}[A-Za-z0-9])?")
_NAME: Final = re.compile(
    rf"(worker-[0-9]+|{SYSTEM}|{COMMAND_LINE})\.({CLASS_NAME.pattern})\.([0-9]{{4}})"
)


@dataclass(frozen=True, slots=True, order=True)
class LogName:
    """The parts of a name."""

    writer: str
    retention: str
    year: int

    def __str__(self) -> str:
        return f"{self.writer}.{self.retention}.{self.year:04}"

    def origin(self, appliance: str) -> str:
        """Return the origin line of the log's checkpoints, in an appliance of that origin."""
        return f"{appliance}/{self}"


def worker_name(index: int) -> str:
    """Name a worker as writer of logs."""
    return f"worker-{index}"


def read_log_name(text: str) -> LogName | None:
    """Read a name; None when it is none."""
    found = _NAME.fullmatch(text)
    return None if found is None else LogName(found[1], found[2], int(found[3]))
