"""When, where and how something was measured: without it no figure is one."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self

import msgspec

from appliance.clock import SystemClock

_PACKAGES: Final = (
    "interops-appliance",
    "python-pkcs11",
    "uvicorn",
    "uvloop",
    "httptools",
    "cryptography",
    "signxml",
    "xmlsec",
    "lxml",
)
_STAT: Final = Path("/proc/stat")
_IDLE: Final = 3
"""Of the fields of a processor in /proc/stat; the next is the wait for a disk, in which it is idle, too."""

_COUNTED: Final = 8
"""Fields from `user` to `steal`; those after them are in `user` and `nice` already."""


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured, and how busy that was with anything (load averages of the last minute).

    Attributes:
        memory: octets.
        disk: file system and device of homes made for a measurement, on which every trace is made durable.
    """

    processor: str
    cores: int
    memory: int
    disk: str
    system: str
    versions: dict[str, str]
    load_before: float
    load_after: float


class Circumstances(msgspec.Struct, frozen=True):
    """What a reader has to know of a run to believe it, or to repeat it.

    Attributes:
        command: what repeats it; secrets are in files, which it names.
        begun: wall time, ISO 8601.
        seconds: how long it took.
    """

    command: str
    begun: str
    seconds: float
    machine: Machine


@dataclass(frozen=True, slots=True)
class Begun:
    """A run under way: since when, and how busy the machine was before it."""

    at: datetime
    instant: float
    load: float

    @classmethod
    def now(cls) -> Self:
        """Begin."""
        return cls(SystemClock().now(), time.monotonic(), _load_average())

    def circumstances(self) -> Circumstances:
        """Look at the machine, now that everything is measured."""
        return Circumstances(
            command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
            begun=self.at.isoformat(timespec="seconds"),
            seconds=time.monotonic() - self.instant,
            machine=_describe_machine(self.load),
        )


def cores() -> int:
    """How many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0))


def busy_share(seconds: float) -> float:
    """Watch for so long: which part of it the cores that this process may use spent on anything (proc(5), /proc/stat).

    Time that the host kept from the machine counts as spent. A load average says less: it still remembers what ended minutes ago.
    """
    before = _STAT.read_text()
    time.sleep(seconds)
    return busy_between(before, _STAT.read_text())


def busy_between(before: str, after: str) -> float:
    """The same of two states of /proc/stat."""
    (busy, whole), (busy_then, whole_then) = _read_ticks(before), _read_ticks(after)
    return (busy_then - busy) / max(whole_then - whole, 1)


def _read_ticks(stat: str) -> tuple[int, int]:
    """Ticks that the cores were busy, and ticks in all."""
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    busy = whole = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in mine:
            ticks = [int(each) for each in fields[:_COUNTED]]
            busy += sum(ticks) - ticks[_IDLE] - ticks[_IDLE + 1]
            whole += sum(ticks)
    return busy, whole


def _load_average() -> float:
    return os.getloadavg()[0]


def _describe_machine(load_before: float) -> Machine:
    return Machine(
        processor=_field("/proc/cpuinfo", r"model name\s*: (.*)") or platform.machine(),
        cores=cores(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        disk=_describe_disk(Path(tempfile.gettempdir())),
        system=f"{_field('/etc/os-release', r'PRETTY_NAME=.(.*).')}, {platform.system()} {platform.release()}",
        versions={
            "python": platform.python_version(),
            "softhsm": _softhsm(),
            **{package: version(package) for package in _PACKAGES},
        },
        load_before=load_before,
        load_after=_load_average(),
    )


def _describe_disk(directory: Path) -> str:
    """File system and device under a directory (proc(5), /proc/mounts): the last one mounted at the nearest of its parents. Unknown where no mount shows, as under a changed root."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    kinds = {place: f"{kind} on {device}" for device, place, kind in mounts}
    places = [directory.resolve(), *directory.resolve().parents]
    return next((kinds[str(place)] for place in places if str(place) in kinds), "unknown")


def _field(file: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def _softhsm() -> str:
    tool = shutil.which("softhsm2-util")
    if tool is None:
        return "not installed"
    try:
        done = subprocess.run(
            [tool, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() or "unknown"
