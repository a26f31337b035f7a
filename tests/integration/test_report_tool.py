"""`python -m bench report` on a running service, and what it refuses; what it writes is rendered in `tests/unit/test_report_page.py`."""

import argparse
from pathlib import Path

import pytest

from appliance.config import load_config
from bench import report as tool
from bench.ceiling import keys_of_home
from bench.homes import amend
from bench.load.scenario import Wanted
from bench.report.command import _subject
from bench.report.model import read_report
from bench.report.sections import SECTIONS
from tests.homes import copy_home
from tests.service import RunningService
from tests.tools import run_bench


@pytest.mark.hsm
@pytest.mark.slow
def test_a_service_elsewhere_is_measured(service: RunningService, tmp_path: Path) -> None:
    """By its URL alone: rates without a ceiling, a section that the convention does not allow named with the reason, and all files."""
    done = run_bench(
        "report",
        *(tmp_path / "r", "--url", f"http://127.0.0.1:{service.port}", "--quick"),
        *("--seconds", "0.5", "--batch-size", "2", "--only", "issue", "reuse"),
    )
    assert done.returncode == 0, done.stderr
    report = read_report((tmp_path / "r" / "report.json").read_bytes())
    [issue] = report.sections
    assert [figure.name for figure in issue.figures] == ["one per request", "batches of 2"]
    assert all(figure.value > 0 and figure.share is None for figure in issue.figures)
    [reuse] = report.left_out
    assert not reuse.is_failure
    assert "403 reuse-not-granted" in reuse.reason
    assert done.stdout == (tmp_path / "r" / "report.md").read_text()
    assert 'id="issue"' in (tmp_path / "r" / "report.html").read_text()
    assert (tmp_path / "r" / "plots").is_dir()  # of a service elsewhere nothing is drawn


@pytest.mark.hsm
@pytest.mark.soak
def test_every_section_is_measured(tmp_path: Path) -> None:
    """The whole set, short and once: no section fails or is left out, and no figure is empty but that of refusals, which may not have come."""
    done = run_bench("report", tmp_path / "r", "--quick", timeout=1800)
    assert done.returncode == 0, done.stderr
    report = read_report((tmp_path / "r" / "report.json").read_bytes())
    assert report.left_out == ()
    assert [section.name for section in report.sections] == list(SECTIONS)
    assert all(
        figure.rounds or ": refusal, p" in figure.name
        for section in report.sections
        for figure in section.figures
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "http://127.0.0.1:1", "--only", "network"], "network needs homes of its own"),
        (["--url", "http://127.0.0.1:1", "--only", "ceiling"], "ceiling needs a token"),
        (["--url", "https://127.0.0.1:1"], "--ca: the certificates to trust"),
        (["--home", "/nowhere"], "a convention; --convention names it"),
        (["--module", "/nowhere.so"], "--module, --token-label and --pin-file"),
        (
            ["--token-label", "a", "--key-label", "b"],
            "--token-label, --key-label: of a token that --module",
        ),
        (["--home", "/nowhere", "--module", "/nowhere.so"], "--module beside --home"),
        (["--jars", "/nowhere"], "--jars needs java"),
    ],
)
def test_unusable_arguments(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be measured is refused in a sentence, before anything is written."""
    assert run_here(tmp_path / "r", *arguments) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.glob("r/*"))


def run_here(directory: Path, *arguments: str) -> object:
    """Run it in this process; its exit status."""
    parser = argparse.ArgumentParser()
    tool.add_arguments(parser)
    try:
        return tool.run(parser.parse_args([str(directory), *arguments]))
    except SystemExit as exc:
        return exc.code


@pytest.mark.hsm
def test_a_ceiling_is_of_as_many_lanes_as_the_home_says(demo_home: Path, tmp_path: Path) -> None:
    """The key behind a convention of a home is measured by the lanes that its token has there."""
    home = copy_home(demo_home, tmp_path)
    amend(home / "appliance.toml", {"# lanes = 2": "lanes = 3"})
    [place] = keys_of_home(home, "demo-rsa")
    assert _subject(place, Wanted(), home).lanes == 3
    assert _subject(place, Wanted()).lanes == 2


@pytest.mark.hsm
def test_of_several_keys_the_one_behind_a_url_is_named(
    demo_home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A ceiling of the wrong key is none: a token with several is refused until one is named."""
    [token] = load_config(demo_home).tokens
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
    behind = (
        "--url",
        "http://127.0.0.1:1",
        "--module",
        str(token.module),
        "--token-label",
        token.label,
    )
    pin = ("--pin-file", str(demo_home / token.pin_file))
    assert run_here(tmp_path / "r", *behind, *pin) == 2
    assert "name the one that signs with --key-label" in capsys.readouterr().err
    assert run_here(tmp_path / "r", *behind, *pin, "--key-label", "NOBODY") == 2
    assert "the token has no such key" in capsys.readouterr().err
