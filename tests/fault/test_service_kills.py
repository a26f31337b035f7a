"""Killed processes under load: nothing accepted is lost, nothing acknowledged is forgotten."""

import contextlib
import http.client
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.homes import copy_home, edit
from tests.logs import entries_of_home
from tests.service import RunningService, serve, wait_until

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture(scope="module")
def own_service(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> RunningService:
    """A service of this module's own, whose processes may be killed."""
    with serve(copy_home(demo_home, tmp_path_factory.mktemp("kills"))) as running:
        yield running


def traced_ids(home: Path) -> set[str]:
    """Assertion IDs of every vector whose creation stands in any log of the home."""
    return {
        stored.entry.assertion_id
        for stored in entries_of_home(home)
        if stored.entry.event == "created"
    }


def test_killed_lane_costs_no_request(own_service: RunningService) -> None:
    """While a lane is killed and replaced, every request is answered with a vector."""
    before = own_service.children("hsm.lane")
    assert len(before) == 2
    started = threading.Barrier(5)

    def issue_some() -> list[int]:
        started.wait(10)
        return [own_service.issue().status for _ in range(60)]

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(issue_some) for _ in range(4)]
        started.wait(10)
        os.kill(before[0], signal.SIGKILL)
        statuses = [status for answer in answers for status in answer.result(60)]
    assert statuses == [200] * 240
    wait_until(lambda: len(own_service.children("hsm.lane")) == 2, 20, "the lane to be replaced")
    assert own_service.children("hsm.lane") != before


class IssuingClients:
    """Threads that issue vectors and keep the IDs they were answered, until told to stop."""

    def __init__(self, service: RunningService, count: int) -> None:
        self.acknowledged: list[str] = []
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._issue) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread finish what it is waiting for."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _issue(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):  # the killed worker's
                answer = self._service.issue()
                if answer.status == 200:
                    self.acknowledged.append(answer.json["id"])


def test_successor_begins_with_what_is_in_force(own_service: RunningService) -> None:
    """Files that a reload refused keep no worker from beginning, nor does it begin with the half of them that could be used."""
    conventions = own_service.home / "conventions"
    before = (conventions / "demo-client.toml").read_text()
    [worker] = own_service.children("worker")
    edit(conventions / "demo-client.toml", '"PAGM_GESTION"]', '"PAGM_GESTION", "PAGM_NEUF"]')
    (conventions / "broken.toml").write_text("issuer = ")
    own_service.process.send_signal(signal.SIGHUP)

    def is_refused() -> bool:
        return "broken.toml" in own_service.errors.read_text()

    def statuses() -> list[int]:
        return [own_service.issue(pagms=[pagm]).status for pagm in ("PAGM_GESTION", "PAGM_NEUF")]

    wait_until(is_refused, 30, "the reload to be refused")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: own_service.children("worker") not in ([], [worker]), 30, "a successor")
    assert statuses() == [200, 403]
    (conventions / "broken.toml").unlink()
    own_service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: statuses() == [200, 200], 30, "the mended files")
    (conventions / "demo-client.toml").write_text(before)


@pytest.mark.parametrize("_time", range(3))
def test_killed_worker_loses_no_acknowledged_entry(own_service: RunningService, _time: int) -> None:
    """Every vector that was answered before the worker got SIGKILL stands in the trace, and a new worker goes on."""
    (worker,) = own_service.children("worker")
    clients = IssuingClients(own_service, 4)
    try:
        wait_until(lambda: len(clients.acknowledged) >= 50, 30, "vectors to be issued")
        os.kill(worker, signal.SIGKILL)
        answered = len(clients.acknowledged)
        wait_until(lambda: len(clients.acknowledged) >= answered + 50, 30, "a new worker's vectors")
    finally:
        clients.stop()
    assert own_service.children("worker") != [worker]
    assert set(clients.acknowledged) <= traced_ids(own_service.home)
