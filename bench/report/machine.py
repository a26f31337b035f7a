"""The machine and the versions that figures belong to."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.report.model import Machine

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


def load_average() -> float:
    """Of the last minute: processes that ran or wanted to."""
    return os.getloadavg()[0]


def describe_machine(load_before: float) -> Machine:
    """Look at it, now that everything is measured."""
    return Machine(
        processor=_field("/proc/cpuinfo", r"model name\s*: (.*)") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{_field('/etc/os-release', r'PRETTY_NAME=.(.*).')}, {platform.system()} {platform.release()}",
        versions={
            "python": platform.python_version(),
            "softhsm": _softhsm(),
            **{package: version(package) for package in _PACKAGES},
        },
        load_before=load_before,
        load_after=load_average(),
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
    done = subprocess.run(
        [tool, "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    return done.stdout.strip() or "unknown"
