"""When, where and how something was measured: without it no figure is one."""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
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


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured, and how busy that was with anything (load averages of the last minute)."""

    processor: str
    cores: int
    memory: int
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


def _load_average() -> float:
    return os.getloadavg()[0]


def _describe_machine(load_before: float) -> Machine:
    return Machine(
        processor=_field("/proc/cpuinfo", r"model name\s*: (.*)") or platform.machine(),
        cores=cores(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{_field('/etc/os-release', r'PRETTY_NAME=.(.*).')}, {platform.system()} {platform.release()}",
        versions={
            "python": platform.python_version(),
            "softhsm": _softhsm(),
            **{package: version(package) for package in _PACKAGES},
        },
        load_before=load_before,
        load_after=_load_average(),
    )


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
