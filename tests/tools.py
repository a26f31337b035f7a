"""The load tools, run as a person runs them, or in this process where a test only reads what is said."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.__main__ import main


def run_bench(
    tool: str, *arguments: str | Path, timeout: float = 110
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m bench TOOL …` to its end; below a test's own limit, so that what it said is seen."""
    return subprocess.run(
        [sys.executable, "-m", "bench", tool, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Ended:
    """How a tool ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Bench:
    """`python -m bench TOOL …` in this process, without the second that a process of its own takes to begin."""

    def __init__(self, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._patch = patch

    def __call__(self, tool: str, *arguments: str | Path) -> Ended:
        self._capture.readouterr()
        self._patch.setattr(sys, "argv", ["bench", tool, *map(str, arguments)])
        try:
            status = main()
        except SystemExit as end:  # argparse, for wrong usage
            status = int(end.code or 0)
        said = self._capture.readouterr()
        return Ended(status, said.out, said.err)


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The load tools, in this process."""
    return Bench(capsys, monkeypatch)
