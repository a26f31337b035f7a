"""What the processes of a running service cost: seconds of the processor and memory, by kind of process (proc(5))."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

Kind = Literal["supervisor", "worker", "lane", "other"]


@dataclass(frozen=True, slots=True)
class Resident:
    """A process of the service, and the memory it holds (RSS, octets)."""

    pid: int
    kind: Kind
    octets: int


def processor_seconds(pid: int) -> float:
    """What a process has spent so far, in itself and in the kernel.

    Raises:
        OSError: it is gone.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def spent(supervisor: int) -> Mapping[Kind, float]:
    """Seconds of the processor so far, by kind of process; those of a process that has ended meanwhile are not among them."""
    seconds: dict[Kind, float] = {}
    for pid, kind in _members(supervisor):
        try:
            seconds[kind] = seconds.get(kind, 0.0) + processor_seconds(pid)
        except OSError:
            continue
    return seconds


def resident(supervisor: int) -> tuple[Resident, ...]:
    """What each process holds."""
    found = []
    for pid, kind in _members(supervisor):
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
        found.append(Resident(pid, kind, pages * _PAGE))
    return tuple(found)


def _members(supervisor: int) -> Iterator[tuple[int, Kind]]:
    """The service's processes; one that waits to be a lane counts as a lane."""
    yield supervisor, "supervisor"
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
    for pid in map(int, children.split()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        yield pid, "worker" if b"worker" in command else "lane" if b"hsm." in command else "other"
