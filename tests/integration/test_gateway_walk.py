"""docs/gateway.md leads from nothing to two organisations that talk: its commands are run as they stand, on free ports."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tls_peers import free_port

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "gateway.md"
PORTS = ("8440", "8441", "8443", "8450", "9000")


def commands() -> str:
    """Every command of the walk, ports replaced by free ones."""
    section = DOCUMENT.read_text().split("## From nothing")[1].split("\n## ")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    for port in PORTS:
        assert port in script
        script = script.replace(port, str(free_port()))
    return script


def test_the_walk_ends_with_an_answer_and_two_traces(tmp_path: Path) -> None:
    """The application behind B is told who asks, and the exchange stands in both traces."""
    script = f"set -e\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{commands()}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    walk = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaints = walk.communicate(timeout=100)
    finally:
        if walk.poll() is None:
            os.killpg(walk.pid, signal.SIGKILL)
    assert walk.returncode == 0, said + complaints
    assert "<answer>agent-0042: PAGM_CONSULTATION</answer>" in said
    ids = re.findall(r"_[0-9a-f]{8}-[0-9a-f-]{27}", said)
    assert len(set(ids)) == 1, said
    assert len(ids) >= 3, said
