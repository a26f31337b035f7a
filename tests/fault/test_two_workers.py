"""Two workers on the same lanes: both sign with them, and what one process has found out of the token is what callers of both are told."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.homes import copy_home, edit
from tests.service import RunningService, serve, wait_until
from tests.shim import Shim, put_behind_shim

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

REQUEST = json.dumps({"convention": "demo-client", "pagms": ["PAGM_GESTION"]})


class Caller:
    """A connection that stays with one worker.

    Attributes:
        vectors: how many it was given.
    """

    def __init__(self, port: int) -> None:
        self.vectors = 0
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self) -> dict:
        """Ask for a vector; the answer, or the error."""
        self.connection.request("POST", "/v1/vectors", REQUEST)
        answer = json.loads(self.connection.getresponse().read())
        self.vectors += "assertion" in answer
        return answer.get("error", answer)


@pytest.fixture(scope="module")
def home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two workers."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("two"))
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    return home


@pytest.fixture(scope="module")
def shim(home: Path) -> Shim:
    """The shim before its token."""
    return put_behind_shim(home)


@pytest.fixture(scope="module")
def running(home: Path, shim: Shim) -> Iterator[RunningService]:
    """Its service."""
    with serve(home) as running:
        yield running
        shim.clear()


@pytest.fixture(scope="module")
def callers(running: RunningService) -> Iterator[list[Caller]]:
    """One who is connected to each worker: it was accepted while the other stood still."""
    workers = running.children("worker")
    assert len(workers) == 2
    with ExitStack() as stack:
        callers = []
        for still in workers:
            caller = Caller(running.port)
            stack.enter_context(closing(caller.connection))
            os.kill(still, signal.SIGSTOP)
            try:
                caller.ask()
            finally:
                os.kill(still, signal.SIGCONT)
            callers.append(caller)
        yield callers


def test_two_workers_share_the_lanes(running: RunningService, callers: list[Caller]) -> None:
    """Each worker signs and has its own log; one scrape of either covers both."""
    logs = {caller.ask()["trace"]["log"] for caller in callers}
    assert logs == {f"worker-{at}.6y.{datetime.now(UTC).year}" for at in (0, 1)}
    given = sum(caller.vectors for caller in callers)
    wait_until(lambda: created(running) == given, 20, "counts of the worker that was not asked")


def created(running: RunningService) -> float:
    """How many vectors were made, by the metrics of whichever worker answers."""
    metrics = running.request("GET", "/metrics").body.decode()
    name = 'appliance_vectors_total{convention="demo-client",outcome="created"} '
    [count] = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(count.removeprefix(name))


def test_what_only_the_supervisor_has_seen_is_what_all_are_told(
    running: RunningService, callers: list[Caller], shim: Shim
) -> None:
    """Lanes that are killed say nothing to workers, and those that cannot be opened never meet one: refusals name the code all the same."""
    shim.fail("C_OpenSession", "CKR_DEVICE_ERROR")
    for lane in running.children("hsm.lane"):
        os.kill(lane, signal.SIGKILL)
    await_cause(callers, "CKR_DEVICE_ERROR")
    shim.clear()
    await_vectors(callers)


def test_what_only_one_worker_has_seen_is_what_all_are_told(
    running: RunningService, callers: list[Caller], shim: Shim
) -> None:
    """Calls that hang are met by the worker that asked; those who ask the other one are not kept waiting for what is known."""
    wait_until(lambda: len(running.children("hsm.lane")) == 2, 20, "both lanes")
    shim.zero()
    shim.hang("C_Sign")
    await_cause(callers[:1], "CALL_TIMEOUT")
    await_cause(callers[1:], "CALL_TIMEOUT")
    shim.clear()
    await_vectors(callers)


def await_cause(callers: list[Caller], code: str) -> None:
    """Have each of them refused for that cause."""
    for caller in callers:
        wait_until(lambda caller=caller: code in caller.ask().get("detail", ""), 20, code)


def await_vectors(callers: list[Caller]) -> None:
    """Have each of them answered with a vector."""
    for caller in callers:
        wait_until(lambda caller=caller: "assertion" in caller.ask(), 20, "a vector")
