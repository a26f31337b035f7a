"""Signatures are counted by the lanes, stated in the trace by the supervisor, and compared with the vectors there."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.usage import KeyUsage, read_usage
from bench.shim import put_behind_shim
from hsm.wire import NONCE_OCTETS, READINESS_PROBE, Hello, SignedFrame
from tests.homes import CommandLine, copy_home
from tests.lane_peer import Peer, make_job
from tests.service import RunningService, serve, wait_until

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


def usage_of(home: Path) -> dict[str, KeyUsage]:
    """What the home's supervisor has kept."""
    return read_usage(home / "run" / "key-usage.json")


Accounts = Callable[[], dict[str, dict]]


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A demo home that nobody has served yet."""
    return copy_home(demo_home, tmp_path)


@pytest.fixture
def accounts(home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Accounts:
    """What `appliance trace verify --home` says of each key; it ends with 1 where one does not hold."""
    appliance = CommandLine(capsysbinary)

    def read() -> dict[str, dict]:
        ended = appliance("trace", "verify", "--home", home, "--json")
        found = {each["signing_key"]: each for each in ended.lines if "signing_key" in each}
        assert ended.code == int(not all(each["ok"] for each in found.values())), ended.stderr
        return found

    return read


def sign_behind_the_back(home: Path, count: int, key: str = "demo-rsa") -> None:
    """Have a lane sign digests that nobody traces, as a worker taken over could, and pass them off as probes, which they are not."""
    lane = Peer(home / "run" / "lane-demo-0.sock")
    assert isinstance(lane.receive(), Hello)
    lane.send(*[make_job(key, octets=READINESS_PROBE + bytes(NONCE_OCTETS))] * count)
    signed = lane.receive()
    assert isinstance(signed, SignedFrame)
    assert all(isinstance(each, bytes) for each in signed.results)
    lane.channel.close()


def kill_lane(running: RunningService) -> None:
    """End a lane without a last word."""
    os.kill(running.children("hsm.lane")[0], signal.SIGKILL)


def counts_of(home: Path) -> list[int]:
    """How often its keys have signed, as the lane says to whoever connects."""
    lane = Peer(home / "run" / "lane-demo-0.sock")
    hello = lane.receive()
    lane.channel.close()
    assert isinstance(hello, Hello)
    return [key.signatures for key in hello.keys]


def probe(running: RunningService, home: Path) -> None:
    """Ask whether the service is ready until a lane has been made to sign for it."""
    before = counts_of(home)

    def has_signed() -> bool:
        assert running.request("GET", "/readyz").status == 200
        return counts_of(home) != before

    wait_until(has_signed, 30, "a readiness probe that signs")


def test_count_outlives_a_killed_supervisor(home: Path) -> None:
    """What the lanes count is kept while they sign, not only by a supervisor that is told to stop; the next one goes on from there."""

    def kept() -> int:
        return usage_of(home)["demo/demo-rsa"].signatures

    with serve(home) as running:
        wait_until(lambda: "demo/demo-rsa" in usage_of(home), 20, "the proofs to be kept")
        before = kept()
        assert [running.issue().status for _ in range(5)] == [200] * 5
        wait_until(lambda: kept() >= before + 5, 20, "the signatures to be kept")
        running.process.kill()
        running.process.wait()
        assert kept() >= before + 5
    with serve(home):
        assert kept() >= before + 5


def test_honest_service_leaves_nothing_over(
    home: Path, accounts: Accounts, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Every vector accounts for one signature, a readiness probe for itself, across restarts; `hsm list` shows them all."""
    with serve(home) as running:
        assert [running.issue().status for _ in range(5)] == [200] * 5
        probe(running, home)
    with serve(home) as running:
        probe(running, home)
        assert running.issue().status == 200
    said = accounts()["demo-rsa"]
    assert (said["ok"], said["signatures"], said["created"], said["unaccounted"]) == (True, 6, 6, 0)
    assert said["periods"] == said["steps_back"] == []
    assert accounts()["demo-ec"]["signatures"] == 0
    kept = usage_of(home)["demo/demo-rsa"]
    assert kept.signatures - kept.proofs == 6
    [token] = CommandLine(capsysbinary)("hsm", "list", "--home", home, "--json").lines
    assert {key["label"]: key["signatures"] for key in token["keys"]} == {
        "demo-rsa": kept.signatures,
        "demo-ec": usage_of(home)["demo/demo-ec"].signatures,
        "demo-audit": None,
    }


def test_signatures_nobody_asked_for_are_left_over(home: Path, accounts: Accounts) -> None:
    """Seven digests signed for a peer that traces nothing are seven signatures of that key, in that run, not accounted for."""
    with serve(home) as running:
        assert [running.issue().status for _ in range(3)] == [200] * 3
        sign_behind_the_back(home, 7)
    with serve(home) as running:
        assert running.issue().status == 200
    said = accounts()
    assert not said["demo-rsa"]["ok"]
    assert (said["demo-rsa"]["signatures"], said["demo-rsa"]["created"]) == (11, 4)
    [period] = said["demo-rsa"]["periods"]
    assert period["unaccounted"] == said["demo-rsa"]["unaccounted"] == 7
    assert (
        said["demo-rsa"]["since"] == period["since"] < period["until"] < said["demo-rsa"]["until"]
    )
    assert said["demo-ec"]["ok"]


def test_killed_lanes_hide_no_signature(home: Path, accounts: Accounts) -> None:
    """Lanes killed and hung under load take no count of an answered signature with them, so every rogue signature of that run is left over."""
    shim = put_behind_shim(home)
    with serve(home) as running:
        with ThreadPoolExecutor(4) as clients:
            for fault in (kill_lane, lambda _: shim.tell("hang", "C_Sign", "times", "1")):
                wait_until(lambda: len(running.children("hsm.lane")) == 2, 20, "both lanes")
                answers = [clients.submit(running.issue) for _ in range(60)]
                answers[20].result(20)
                fault(running)
                assert all(answer.result(20).status for answer in answers)
        wait_until(lambda: len(running.children("hsm.lane")) == 2, 20, "both lanes")
        sign_behind_the_back(home, 20)
    said = accounts()["demo-rsa"]
    assert said["losses"] == []
    assert said["unaccounted"] >= 20


def test_running_service_states_its_counts_on_reload(home: Path, accounts: Accounts) -> None:
    """Beside a running service the comparison reaches up to what it stated last, and SIGHUP has it state its counts."""
    with serve(home) as running:
        sign_behind_the_back(home, 7, "demo-ec")
        assert running.issue().status == 200
        wait_until(lambda: any((home / "log").iterdir()), 10, "the first log to be published")
        assert accounts()["demo-ec"]["unaccounted"] == 0
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: accounts()["demo-ec"]["unaccounted"] == 7, 30, "the count of the rogue")
        assert accounts()["demo-rsa"]["unaccounted"] == 0


def test_count_that_steps_back_is_named(home: Path, accounts: Accounts) -> None:
    """Whoever deletes the file of counts does not make the check forget: the trace remembers the larger count."""
    with serve(home) as running:
        assert [running.issue().status for _ in range(3)] == [200] * 3
    (home / "run" / "key-usage.json").unlink()
    with serve(home):
        pass
    said = accounts()["demo-rsa"]
    [step] = said["steps_back"]
    assert (step["component"], step["before"], step["after"]) == ("token demo", 3, 0)
    assert not said["ok"]
    assert said["unaccounted"] == 0
