"""The supervisor and its children: who holds what, who ends with whom (DESIGN 2, invariants 7 and 8)."""

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.homes import copy_home
from tests.pki import make_pki, write_pem
from tests.service import RunningService, serve, wait_until

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

BATCH = {"requests": [{"convention": "demo-client", "pagms": ["PAGM_GESTION"]}] * 1000}


def replace_in(file: Path, old: str, new: str) -> None:
    """Change one place of a configuration file."""
    text = file.read_text()
    assert text.count(old) == 1, text
    file.write_text(text.replace(old, new))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_only_lanes_load_the_module(service: RunningService) -> None:
    """The PKCS#11 library is mapped in every lane, and neither in the supervisor nor in a worker."""
    lanes, workers = service.children("hsm.lane"), service.children("worker")
    holds = {
        pid: "libsofthsm2" in Path(f"/proc/{pid}/maps").read_text()
        for pid in (service.process.pid, *lanes, *workers)
    }
    assert len(lanes) == 2
    assert {pid for pid, held in holds.items() if held} == set(lanes)


def test_pin_stays_out_of_sight(
    demo_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PIN from the environment reaches lanes only: no worker's environment, no command line, no log has it."""
    home = copy_home(demo_home, tmp_path)
    pin = (home / "secrets" / "pin").read_text().strip()
    replace_in(home / "appliance.toml", 'pin_file = "secrets/pin"', 'pin_env = "DEMO_PIN"')
    monkeypatch.setenv("DEMO_PIN", pin)
    with serve(home) as running:
        assert running.issue().status == 200
        children = [*running.children("worker"), *running.children("hsm.lane")]
        for pid in (running.process.pid, *children):
            assert pin.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in running.children("worker"):
            assert b"DEMO_PIN" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert pin not in running.errors.read_text()


def test_full_queue_pushes_back(demo_home: Path, tmp_path: Path) -> None:
    """A queue with room for two answers the rest with 503, `queue-full` and Retry-After, and keeps serving."""
    home = copy_home(demo_home, tmp_path)
    replace_in(home / "appliance.toml", "# jobs = 4096", "jobs = 2")
    with serve(home) as running:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: running.issue(), range(240)))
        assert {answer.status for answer in answers} == {200, 503}
        for refused in (answer for answer in answers if answer.status == 503):
            assert refused.json["error"]["reason"] == "queue-full"
            assert int(refused.headers["retry-after"]) >= 1
        results = running.request("POST", "/v1/vectors/batch", BATCH).json["results"]
        assert sum("vector" in result for result in results) == 2
        assert {result["error"]["reason"] for result in results if "error" in result} == {
            "queue-full"
        }
        assert running.issue().status == 200


def test_drain_finishes_what_was_accepted(demo_home: Path, tmp_path: Path) -> None:
    """A batch that is being signed when SIGTERM comes is answered whole; then everything ends with exit code 0."""
    with serve(copy_home(demo_home, tmp_path)) as running, ThreadPoolExecutor(1) as pool:
        batch = {"requests": BATCH["requests"][:300]}
        answer = pool.submit(running.request, "POST", "/v1/vectors/batch", batch)
        wait_until(lambda: signing(running), 20, "the batch to be in the queue")
        assert running.stop() == 0
        results = answer.result(10).json["results"]
    assert sum("vector" in result for result in results) == 300


def signing(running: RunningService) -> bool:
    """Whether signatures are being made."""
    metrics = running.request("GET", "/metrics").body.decode()
    [depth] = [
        line for line in metrics.splitlines() if line.startswith("appliance_signing_queue_jobs{")
    ]
    return float(depth.rpartition(" ")[2]) > 0


def test_the_first_line_says_what_is_missing(demo_home: Path, tmp_path: Path) -> None:
    """A home without conventions listens, and neither its first line nor `/readyz` calls that ready; both say what is missing."""
    home = copy_home(demo_home, tmp_path)
    for file in (home / "conventions").glob("*.toml"):
        file.unlink()
    with pytest.raises(AssertionError, match="listening, not ready") as raised, serve(home):
        pass
    assert "(no convention is loaded)" in str(raised.value)
    assert "http://127.0.0.1:" in str(raised.value)


def test_ctrl_c_drains(demo_home: Path, tmp_path: Path) -> None:
    """SIGINT to the whole foreground group, as a terminal sends it, ends the service in order, with exit code 0."""
    home = copy_home(demo_home, tmp_path)
    process = subprocess.Popen(
        ["appliance", "serve", "--home", str(home), "--api", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert b"appliance ready" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"lane-unfit" not in errors
    assert b"child-ended" not in errors
    assert b"Traceback" not in errors


def test_no_child_is_where_a_terminal_sends_ctrl_c(service: RunningService) -> None:
    """Workers and lanes, the one that is only kept ready included, are outside the group of the supervisor."""
    supervisor = service.process.pid
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    assert len(children) >= 4
    assert os.getpgid(supervisor) not in {os.getpgid(int(child)) for child in children}


def test_children_end_with_a_killed_supervisor(demo_home: Path, tmp_path: Path) -> None:
    """When the supervisor is killed outright, workers and lanes notice and end; the home can be served again."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running:
        children = [*running.children("worker"), *running.children("hsm.lane")]
        assert len(children) == 3
        running.process.kill()
        wait_until(lambda: not any(map(is_alive, children)), 20, "the children to end")
    with serve(home) as running:
        assert running.issue().status == 200


def test_lane_that_cannot_prove_its_key_keeps_the_service_from_starting(
    demo_home: Path, tmp_path: Path
) -> None:
    """A certificate of another key is noticed before the first request: exit 3 with a sentence that names the key."""
    home = copy_home(demo_home, tmp_path)
    write_pem(home / "pki" / "demo-rsa.pem", make_pki("other").leaf)
    with pytest.raises(AssertionError, match="demo-rsa"), serve(home):
        pass


def test_reload_is_taken_under_load_without_a_failed_request(
    demo_home: Path, tmp_path: Path
) -> None:
    """Requests go on while SIGHUP arrives again and again; none fails."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running:
        stop = threading.Event()

        def issue_until_stopped() -> set[int]:
            statuses = set()
            while not stop.is_set():
                statuses.add(running.issue().status)
            return statuses

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(issue_until_stopped) for _ in range(4)]
            for generation in range(2, 6):
                running.process.send_signal(signal.SIGHUP)
                wait_until(
                    lambda generation=generation: (
                        f'"generation":{generation}' in running.errors.read_text()
                    ),
                    20,
                    f"generation {generation}",
                )
            stop.set()
            assert set().union(*(client.result(30) for client in clients)) == {200}
