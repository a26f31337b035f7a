"""`python -m bench report` on a running service, and what it refuses; what it writes is rendered in `tests/unit/test_report_page.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.report.model import read_report
from tests.service import RunningService


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run it as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "bench", "report", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.hsm
@pytest.mark.slow
def test_a_service_elsewhere_is_measured(service: RunningService, tmp_path: Path) -> None:
    """By its URL alone: rates without a ceiling, a section that the convention does not allow named with the reason, three files."""
    done = run(
        *(tmp_path / "r", "--url", f"http://127.0.0.1:{service.port}", "--quick"),
        *("--seconds", "0.5", "--batch-size", "2", "--only", "issue", "reuse"),
    )
    assert done.returncode == 1, done.stderr
    report = read_report((tmp_path / "r" / "report.json").read_bytes())
    [issue] = report.sections
    assert [figure.name for figure in issue.figures] == ["one per request", "batches of 2"]
    assert all(figure.value > 0 and figure.share is None for figure in issue.figures)
    [reuse] = report.left_out
    assert reuse.is_failure
    assert "403 reuse-not-granted" in reuse.reason
    assert done.stdout == (tmp_path / "r" / "report.md").read_text()
    assert 'id="issue"' in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "http://127.0.0.1:1", "--only", "network"], "network needs homes of its own"),
        (["--url", "http://127.0.0.1:1", "--only", "ceiling"], "ceiling needs a token"),
        (["--url", "https://127.0.0.1:1"], "--ca: the certificates to trust"),
        (["--home", "/nowhere"], "a convention; --convention names it"),
        (["--module", "/nowhere.so"], "--module, --token-label and --pin-file"),
        (["--rounds", "-1"], "rounds and seconds are above 0"),
    ],
)
def test_unusable_arguments(arguments: list[str], says: str, tmp_path: Path) -> None:
    """What cannot be measured is refused in a sentence."""
    done = run(tmp_path / "r", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
