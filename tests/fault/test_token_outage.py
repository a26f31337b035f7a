"""A running service whose token is lost, hangs, drops its sessions or is swapped: refused at once, nothing wrong signed, back by itself."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsm.guard import UNDECIDED_LOGINS
from hsm.lane import SESSION_LOST
from hsm.provision.keygen import KeyPlan
from hsm.wire import Hello, Refused
from tests.homes import copy_home, edit
from tests.lane_peer import Peer, make_job
from tests.service import Answer, RunningService, serve, wait_until
from tests.shim import Shim, put_behind_shim
from tests.softhsm import SoftHsm, make_softhsm, run_lane

PLAN = KeyPlan("p-256", "03", "p-256")

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture(scope="module")
def home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of this module's own, whose lanes may take their time to open a session anew, and jobs to be signed, however busy the machine is."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("outage"))
    edit(home / "appliance.toml", '# call_timeout = "500ms"', 'call_timeout = "10s"')
    edit(home / "appliance.toml", '# age = "2s"', 'age = "60s"')
    return home


@pytest.fixture(scope="module")
def shim(home: Path) -> Shim:
    """The shim between the service and its token."""
    return put_behind_shim(home)


@pytest.fixture(scope="module")
def outage_service(home: Path, shim: Shim) -> Iterator[RunningService]:
    """One service for every fault of this module: it is never restarted."""
    shim.clear()
    with serve(home) as running:
        yield running


@pytest.fixture
def running(outage_service: RunningService, shim: Shim) -> Iterator[RunningService]:
    """The service with every lane up, before and after."""
    wait_until(lambda: lanes_up(outage_service) == 2, 20, "both lanes")
    yield outage_service
    shim.clear()
    shim.return_token()


def lanes_up(service: RunningService) -> int:
    """How many lanes the worker can send frames to."""
    metrics = service.request("GET", "/metrics").body.decode()
    found = re.findall(r'^appliance_lanes_up\{token="demo"\} (\d)', metrics, re.MULTILINE)
    return sum(map(int, found))


def loading_the_module(home: Path) -> list[str]:
    """The processes that have the home's shim loaded at one moment: lanes, open or opening."""

    def has_loaded(process: Path) -> bool:
        try:
            return str(home / "shim") in (process / "maps").read_text()
        except OSError:
            return False

    seen = [process for process in Path("/proc").glob("[0-9]*") if has_loaded(process)]
    # Looking at all of them takes a while: one that has ended meanwhile was not there together with those seen after it.
    return [process.name for process in seen if has_loaded(process)]


class Clients:
    """Threads that ask for vectors, and keep the answers, until told to stop."""

    def __init__(self, service: RunningService, count: int = 4) -> None:
        self.answers: list[Answer] = []
        self._service = service
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def await_more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted, 30, f"{count} more answers")

    def stop(self) -> list[Answer]:
        """Return every answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
        return self.answers

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._service.issue())


def test_lost_token_is_refused_at_once_and_comes_back(running: RunningService, shim: Shim) -> None:
    """While the token is gone: 503 with Retry-After and a cause; when it returns the same service signs again."""
    shim.remove_token()
    wait_until(lambda: running.issue().status == 503, 10, "the circuit to open")
    shim.zero()
    for _ in range(20):
        refused = running.issue()
        assert refused.status == 503
        assert refused.json["error"]["reason"] == "hsm-unavailable"
        assert int(refused.headers["retry-after"]) >= 1
    wait_until(lambda: running.request("GET", "/readyz").status == 503, 10, "readiness to end")
    metrics = running.request("GET", "/metrics").body.decode()
    assert 'appliance_circuit_open{token="demo"} 1.0' in metrics
    assert shim.count("C_Sign", "entered") == 0
    shim.return_token()
    wait_until(lambda: running.issue().status == 200, 10, "the circuit to close")
    wait_until(lambda: running.request("GET", "/readyz").status == 200, 10, "readiness")
    metrics = running.request("GET", "/metrics").body.decode()
    assert 'appliance_circuit_open{token="demo"} 0.0' in metrics


def test_one_lane_probes_a_lost_token(running: RunningService, shim: Shim) -> None:
    """However many lanes were lost, one of them probes at a time, and goes on doing so (`test_keeper` has the pauses between)."""
    before = running.children("hsm.lane")
    shim.remove_token()
    wait_until(lambda: running.issue().status == 503, 10, "the circuit to open")
    wait_until(
        lambda: not any(Path(f"/proc/{lane}").exists() for lane in before), 20, "the lanes' end"
    )
    probes = set[str]()

    def has_seen_three() -> bool:
        loading = loading_the_module(running.home)
        assert len(loading) <= 1
        probes.update(loading)
        return len(probes) >= 3

    wait_until(has_seen_three, 30, "three probes, one after the other")


@pytest.mark.parametrize(
    "code", ["CKR_SESSION_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN"]
)
def test_losses_that_a_lane_mends_are_not_noticed(
    running: RunningService, shim: Shim, code: str
) -> None:
    """Sessions, handles and logins lost under load: every request is answered with a vector, no lane is replaced."""
    before = running.children("hsm.lane")
    clients = Clients(running)
    for _ in range(5):
        shim.fail("C_SignInit", code, times=1)
        clients.await_more(10)
    assert {answer.status for answer in clients.stop()} == {200}
    assert running.children("hsm.lane") == before


def test_dropped_sessions_are_not_noticed(running: RunningService, shim: Shim) -> None:
    """The token drops every session, five times: every request is answered with a vector."""
    clients = Clients(running)
    for _ in range(5):
        shim.drop_sessions()
        clients.await_more(10)
    assert {answer.status for answer in clients.stop()} == {200}


@pytest.fixture(scope="module")
def patient_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose jobs may wait for a minute, so that one which waits for its deadline is told from one that is refused."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("patient"))
    edit(home / "appliance.toml", '# age = "2s"', 'age = "60s"')
    return home


@pytest.fixture(scope="module")
def patient_shim(patient_home: Path) -> Shim:
    """The shim before its token."""
    return put_behind_shim(patient_home)


@pytest.fixture(scope="module")
def patient(patient_home: Path, patient_shim: Shim) -> Iterator[RunningService]:
    """The service of that home."""
    with serve(patient_home) as running:
        yield running
        patient_shim.clear()


def test_hung_call_costs_a_lane_and_no_request(patient: RunningService, patient_shim: Shim) -> None:
    """A call that never returns has its lane killed and replaced; its jobs are signed by the other one."""
    wait_until(lambda: lanes_up(patient) == 2, 20, "both lanes")
    before = patient.children("hsm.lane")
    clients = Clients(patient)
    patient_shim.zero()
    patient_shim.hang("C_Sign", times=1)
    wait_until(lambda: patient_shim.count("C_Sign", "hung") == 1, 10, "the call to hang")
    wait_until(lambda: set(patient.children("hsm.lane")) - set(before), 20, "a new lane")
    clients.await_more(20)
    assert {answer.status for answer in clients.stop()} == {200}
    metrics = patient.request("GET", "/metrics").body.decode()
    assert re.search(r'appliance_lanes_stuck_total\{lane="demo/[01]"\} [1-9]', metrics)


def check_refused_until(
    running: RunningService, hang: Callable[[], None], let_go: Callable[[], None]
) -> None:
    """Have every lane stop answering under load, and see that all who wait and all who come are refused by cause until it ends."""
    wait_until(lambda: lanes_up(running) == 2, 20, "both lanes")
    clients = Clients(running)
    clients.await_more(20)
    hang()
    wait_until(lambda: {answer.status for answer in clients.answers[-4:]} == {503}, 20, "refusals")
    for _ in range(20):
        refused = running.issue()
        assert refused.status == 503
        assert refused.json["error"]["reason"] == "hsm-unavailable"
        assert "CALL_TIMEOUT" in refused.json["error"]["detail"]
        assert int(refused.headers["retry-after"]) >= 1
    assert lanes_up(running) == 0
    let_go()
    wait_until(lambda: running.issue().status == 200, 40, "the circuit to close")
    answers = clients.stop()
    assert {answer.status for answer in answers} == {200, 503}
    refusals = [answer.json["error"] for answer in answers if answer.status == 503]
    assert {error["reason"] for error in refusals} == {"hsm-unavailable"}


def test_token_of_which_no_call_returns_is_refused_by_cause(
    patient: RunningService, patient_shim: Shim
) -> None:
    """Every lane killed at its call deadline opens the circuit: no request waits for its own, and the refusal names the cause."""
    check_refused_until(patient, lambda: patient_shim.hang("C_Sign"), patient_shim.clear)


def test_token_whose_lanes_are_frozen_is_refused_by_cause(patient: RunningService) -> None:
    """Lanes that neither answer nor end are let go of, and the last of them opens the circuit; once replaced they sign again."""
    wait_until(lambda: lanes_up(patient) == 2, 20, "both lanes")
    lanes = patient.children("hsm.lane")

    def freeze() -> None:
        for lane in lanes:
            os.kill(lane, signal.SIGSTOP)

    check_refused_until(patient, freeze, lambda: None)
    wait_until(lambda: not set(lanes) & set(patient.children("hsm.lane")), 20, "the other to end")


def test_full_token_sheds_load(running: RunningService, shim: Shim) -> None:
    """A token without room refuses as pushback: 503 `hsm-busy` with Retry-After, and no lane is replaced."""
    before = running.children("hsm.lane")
    shim.fail("C_SignInit", "CKR_DEVICE_MEMORY")
    refused = running.issue()
    assert (refused.status, refused.json["error"]["reason"]) == (503, "hsm-busy")
    assert int(refused.headers["retry-after"]) >= 1
    shim.clear()
    assert running.issue().status == 200
    assert running.children("hsm.lane") == before


def test_bug_of_the_request_is_ours_and_is_not_repeated(
    running: RunningService, shim: Shim
) -> None:
    """A code that says the request is wrong is answered 500 after one attempt."""
    shim.zero()
    shim.fail("C_SignInit", "CKR_MECHANISM_PARAM_INVALID")
    assert running.issue().status == 500
    assert shim.count("C_SignInit", "injected") == 1


def test_wrong_signature_never_leaves(running: RunningService, shim: Shim) -> None:
    """A signature that does not verify is refused by name, and the lanes prove their keys before they go on."""
    before = shim.count("C_Initialize")
    shim.spoil("C_Sign", times=1)
    refused = running.issue()
    assert (refused.status, refused.json["error"]["reason"]) == (503, "hsm-unavailable")
    wait_until(lambda: shim.count("C_Initialize") >= before + 2, 20, "both lanes to open anew")
    wait_until(lambda: running.issue().status == 200, 20, "the token")


def test_token_that_signs_wrongly_signs_nothing(running: RunningService, shim: Shim) -> None:
    """While every signature is wrong the lanes end and none leaves; when they are right again the service signs by itself."""
    shim.spoil("C_Sign")
    statuses = set[int]()

    def have_found_out() -> bool:
        statuses.add(running.issue().status)
        return "KEY_MISMATCH" in running.errors.read_text()

    wait_until(have_found_out, 20, "the lanes to find out")
    assert statuses == {503}
    shim.clear()
    wait_until(lambda: running.issue().status == 200, 30, "the token")


def test_refused_pin_keeps_the_circuit_open_until_resumed(
    running: RunningService, shim: Shim, home: Path
) -> None:
    """A PIN refused after a loss is asked once, however long the service tries; after `resume` it signs again by itself."""
    shim.zero()
    shim.fail("C_Login", "CKR_PIN_INCORRECT")
    shim.drop_sessions()
    refusals = home / "run"
    running.issue()
    wait_until(lambda: list(refusals.glob("pin-refused-*")), 20, "the refusal")
    wait_until(lambda: running.issue().status == 503, 20, "the circuit to open")
    log = home / "run" / "stderr.log"
    wait_until(lambda: log.read_text().count("PIN_REFUSED_BEFORE") >= 2, 30, "further attempts")
    assert shim.count("C_Login", "entered") == 1
    error = running.issue().json["error"]
    assert (error["reason"], "PIN_REFUSED_BEFORE" in error["detail"]) == ("pin-refused", True)
    shim.clear()
    assert "may be tried again" in resume(home)
    wait_until(lambda: running.issue().status == 200, 20, "the token")


def test_device_that_fails_at_login_needs_nobody(running: RunningService, shim: Shim) -> None:
    """Its PIN was good: a token whose login fails by a code that blames the device is asked until it is well, and then signs by itself."""
    shim.zero()
    shim.fail("C_Login", "CKR_DEVICE_ERROR")
    shim.drop_sessions()
    running.issue()
    wait_until(
        lambda: shim.count("C_Login", "injected") > 2 * UNDECIDED_LOGINS, 30, "further attempts"
    )
    assert "CKR_DEVICE_ERROR" in running.issue().json["error"]["detail"]
    shim.clear()
    wait_until(lambda: running.issue().status == 200, 20, "the token")
    assert "LOGIN_UNDECIDED" not in running.errors.read_text()


def resume(home: Path) -> str:
    """Do what the operator does."""
    command = [sys.executable, "-m", "appliance", "hsm", "resume", "--home", str(home)]
    done = subprocess.run([*command, "--token", "demo"], capture_output=True, text=True, check=True)
    return done.stdout


def test_swapped_token_signs_nothing(softhsm: SoftHsm, tmp_path: Path, short_path: Path) -> None:
    """Another token of the same label and PIN behind a running lane: the key does not prove itself, and the lane ends."""
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
    mine = make_softhsm(tmp_path / "mine", (PLAN,))
    other = make_softhsm(tmp_path / "other", (PLAN,))
    shim = Shim.before(softhsm.token.module, tmp_path / "shim")
    settings = mine.behind(shim).lane_settings(short_path, call_timeout=5.0)
    with run_lane(settings) as lane:
        peer = Peer(lane.socket)
        assert isinstance(peer.receive(), Hello)
        assert isinstance(peer.sign(make_job("p-256"))[0], bytes)
        objects = Path(mine.token.environment["SOFTHSM2_CONF"]).parent / "objects"
        shutil.rmtree(objects)
        shutil.move(Path(other.token.environment["SOFTHSM2_CONF"]).parent / "objects", objects)
        shim.drop_sessions()
        assert peer.sign(make_job("p-256"))[0].kind == "session"
        refused = peer.receive()
        assert isinstance(refused, Refused)
        assert (refused.code, refused.kind) == ("KEY_MISMATCH", "human")
        assert lane.process.wait(10) == SESSION_LOST
        peer.channel.close()
