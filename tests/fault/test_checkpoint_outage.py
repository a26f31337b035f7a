"""A running service whose audit key does not answer: how old its checkpoints are is said all the while, and recovers alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.homes import copy_home, edit
from tests.service import RunningService, serve, wait_until
from tests.shim import Shim, put_behind_shim

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A home whose calls into the token may take a minute, and whose checkpoints are overdue after a second."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", '# call_timeout = "500ms"', 'call_timeout = "60s"')
    edit(home / "appliance.toml", '# checkpoint_overdue = "10s"', 'checkpoint_overdue = "1s"')
    return home


@pytest.fixture
def shim(home: Path) -> Iterator[Shim]:
    """The shim between the service and its token."""
    shim = put_behind_shim(home)
    yield shim
    shim.clear()


def oldest(running: RunningService) -> float:
    """How long the oldest entry of the worker's log has waited for a checkpoint."""
    metrics = running.request("GET", "/metrics").body.decode()
    ages = re.findall(
        r'^appliance_trace_checkpoint_age_seconds\{log="worker-0[^"]*"\} (\S+)',
        metrics,
        re.MULTILINE,
    )
    return max(map(float, ages), default=0.0)


def test_age_grows_while_a_signature_hangs(home: Path, shim: Shim) -> None:
    """While calls hang the metric rises from scrape to scrape and `/readyz` names the log; with the calls back both are content."""
    with serve(home) as running:
        wait_until(lambda: oldest(running) == 0.0, 20, "a first checkpoint")
        # An entry waits for its checkpoint, which is the next to be signed: a refusal needs no signature of its own.
        shim.hang("C_Sign")
        assert running.issue(pagms=["PAGM_NONE"]).status == 403
        seen = [0.0]
        for _ in range(4):
            wait_until(lambda: oldest(running) > seen[-1] + 0.5, 20, "the age to rise")
            seen.append(oldest(running))
        not_ready = running.request("GET", "/readyz")
        assert not_ready.status == 503
        assert b"its checkpoint is overdue" in not_ready.body
        shim.clear()
        wait_until(lambda: oldest(running) == 0.0, 40, "the checkpoint")
        wait_until(lambda: running.request("GET", "/readyz").status == 200, 40, "readiness")
