"""The load tools, run as a person runs them."""

import subprocess
import sys
from pathlib import Path


def run_bench(tool: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `python -m bench TOOL …` to its end; below a test's own limit, so that what it said is seen."""
    return subprocess.run(
        [sys.executable, "-m", "bench", tool, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
