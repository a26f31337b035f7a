"""Started as root: lanes and workers are different users, and only the lanes' can read the PIN (DESIGN 2)."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.users import LANE, WORKER
from hsm.user import User, become
from hsm.wire import SignFrame, SignJob, write_frame
from tests.homes import CommandLine, copy_home, edit
from tests.service import RunningService, serve, wait_until

pytestmark = [
    pytest.mark.hsm,
    pytest.mark.slow,
]

NAMED_LANE, NAMED_WORKER = 64001, 64002
STRANGER = 64003

_OF_USERS = ("permissions", "PIN", "user", "token", "key", "audit", "spool", "run")


@pytest.fixture
def home(home_of_two_users: Path) -> Path:
    """A demo home as `init` makes it."""
    return home_of_two_users


@pytest.fixture(scope="module")
def served(reached_home: Path) -> Iterator[RunningService]:
    """Such a home, served, for tests that change nothing."""
    with tempfile.TemporaryDirectory(prefix="served-") as made:
        Path(made).chmod(0o711)
        with serve(copy_home(reached_home, Path(made))) as running:
            yield running


def own(path: Path, uid: int) -> None:
    """Give a tree to a user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid)


def run_as(user: User, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a user without any group but its own."""
    return subprocess.run(
        [str(word) for word in command],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        capture_output=True,
        timeout=60,
        check=False,
    )


def greeting_of(lane: Path, user: User) -> bytes:
    """What a lane says first to a process of this user."""
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        try:
            become(user)
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(10)
                channel.connect(str(lane))
                os.write(said, channel.recv(65536))
        finally:
            os._exit(0)
    os.close(said)
    os.waitpid(child, 0)
    with os.fdopen(heard, "rb") as pipe:
        return pipe.read()


def status_of(pid: int, name: str) -> list[str]:
    """The words of a line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return line.split()[1:]


def users_of(running: RunningService) -> tuple[set[str], set[str]]:
    """Real, effective, saved and file system uids of the lanes and of the workers, none of which has another group."""
    lanes, workers = running.children("hsm.lane"), running.children("worker")
    assert (len(lanes), bool(workers)) == (2, True)
    assert not any(status_of(pid, "Groups") for pid in (*lanes, *workers))
    return (
        {uid for pid in lanes for uid in status_of(pid, "Uid")},
        {uid for pid in workers for uid in status_of(pid, "Uid")},
    )


def test_lanes_and_workers_of_a_fresh_home_are_different_users(home: Path) -> None:
    """Without a word in the configuration neither keeps anything of root; vectors are issued, and a lane that dies is replaced."""
    with serve(home) as running:
        assert running.issue().status == 200
        assert users_of(running) == ({str(LANE.uid)}, {str(WORKER.uid)})
        killed = running.children("hsm.lane")[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: b"child-restarted" in running.errors.read_bytes(), 30, "a new lane")
        assert running.issue().status == 200
        assert running.request("GET", "/readyz").status == 200
        assert b"appliance_lanes_up" in running.request("GET", "/metrics").body
        assert users_of(running) == ({str(LANE.uid)}, {str(WORKER.uid)})
        assert b"users-shared" not in running.errors.read_bytes()


def test_worker_reaches_neither_pin_nor_token(served: RunningService) -> None:
    """While the service runs, its workers' user reads the conventions, and neither the PIN nor the token's files; nor does it write."""
    home = served.home
    assert run_as(WORKER, "cat", home / "conventions" / "demo-client.toml").returncode == 0
    assert run_as(LANE, "cat", home / "secrets" / "pin").returncode == 0
    closed = (
        ("cat", home / "secrets" / "pin"),
        ("cat", home / "secrets" / "so-pin"),
        ("ls", home / "token"),
        ("cat", home / "token" / "softhsm2.conf"),
        ("ls", home),
        ("touch", home / "conventions" / "mine.toml"),
        ("cp", "/dev/null", home / "appliance.toml"),
    )
    for command in closed:
        refused = run_as(WORKER, *command)
        assert refused.returncode, command
        assert b"Permission denied" in refused.stderr, command


def test_lane_signs_for_the_workers_user_only(served: RunningService) -> None:
    """Whoever else reaches the lane's socket is told so; root, whose own log it signs for, gets checkpoints and no signature."""
    home = served.home
    [lane, _] = sorted((home / "run" / f"lanes-{LANE.uid}").glob("lane-*.sock"))
    said = greeting_of(lane, User(STRANGER, STRANGER))
    assert b"PEER_NOT_ALLOWED" in said
    assert b"hello" not in said
    assert b"hello" in greeting_of(lane, WORKER)
    with socket.socket(socket.AF_UNIX) as root:
        root.settimeout(10)
        root.connect(str(lane))
        assert b"hello" in root.recv(65536)
        job = SignJob("demo-rsa", "sha256", bytes(32), float("inf"))
        root.sendall(write_frame(SignFrame(1, [job])))
        assert b"PEER_NOT_ALLOWED" in root.recv(65536)


def test_what_root_writes_later_is_read_by_workers(home: Path) -> None:
    """A convention that root saves for itself alone is taken by the next reload all the same, and the file stays root's."""
    file = home / "conventions" / "demo-client.toml"
    with serve(home) as running:
        edit(file, "PAGM_GESTION", "PAGM_REVISION")
        os.chown(file, 0, 0)
        file.chmod(0o600)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: b'"reloaded"' in running.errors.read_bytes(), 30, "the reload")
        assert running.issue(pagms=["PAGM_REVISION"]).status == 200
    assert (file.stat().st_uid, file.stat().st_gid) == (0, WORKER.gid)
    assert file.stat().st_mode & 0o777 == 0o640


def test_worker_fetches_crls_and_touches_no_other(home: Path) -> None:
    """Where a convention has its CRLs fetched workers may put them, and remove none that root has put there; elsewhere nothing."""
    file = home / "conventions" / "demo-provider.toml"
    edit(file, "crl_directory =", 'crl_addresses = ["http://127.0.0.1:9/ca.crl"]\ncrl_directory =')
    crls = home / "pki" / "crl"
    with serve(home):
        assert run_as(WORKER, "touch", crls / "fetched.crl").returncode == 0
        for command in (("rm", "-f", crls / "root.pem"), ("touch", home / "pki" / "mine.pem")):
            assert run_as(WORKER, *command).returncode, command


def test_worker_reads_the_log_of_the_supervisor_and_cannot_touch_it(
    home: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What root traces is shown by workers like what they trace themselves, and is not theirs; the whole trace verifies afterwards."""
    appliance = CommandLine(capsysbinary)
    for _ in range(2):
        with serve(home) as running:
            assert running.issue().status == 200
            wait_until(
                lambda: any((home / "log").glob("system.*")), 20, "the log of the supervisor"
            )
            [system] = (home / "log").glob("system.*")
            checkpoint = f"/v1/log/{system.name}/checkpoint"
            wait_until(lambda path=checkpoint: running.request("GET", path).status == 200, 20, "it")
            for command in (("rm", "-rf", system), ("mv", system, system.with_name("mine"))):
                assert run_as(WORKER, *command).returncode, command
            [own_log] = (home / "spool").glob("worker-0.*")
            assert (own_log.stat().st_uid, system.stat().st_uid) == (WORKER.uid, 0)
        asked = ("--convention", "demo-client", "--pagm", "PAGM_GESTION")
        assert appliance("issue", "--home", home, *asked).code == 0
    assert appliance("trace", "verify", "--home", home).code == 0


def test_logs_of_workers_are_theirs_whoever_writes_them(home: Path) -> None:
    """Root closes the logs of workers that are gone; when they come back they go on with them, for nothing in them is root's."""
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    for now, then in ((2, 1), (1, 2), (2, 1)):
        with serve(home) as running:
            assert len(running.children("worker")) == now
            assert running.issue().status == 200
            assert running.stop() == 0
        for directory in (home / "log", home / "spool"):
            logs = [log for log in directory.iterdir() if log.name.startswith("worker-")]
            assert logs
            written = {each.stat().st_uid for log in logs for each in (log, *log.rglob("*"))}
            assert written == {WORKER.uid}
        edit(home / "appliance.toml", f"\nworkers = {now}", f"\nworkers = {then}")


def test_named_users_win(home: Path) -> None:
    """Accounts that the configuration names, by number here, are what lanes and workers become."""
    edit(home / "appliance.toml", "# lanes = 2", f'user = "{NAMED_LANE}"')
    edit(home / "appliance.toml", "[api]\n", f'[api]\nuser = "{NAMED_WORKER}"\n')
    own(home / "token", NAMED_LANE)
    os.chown(home / "secrets" / "pin", NAMED_LANE, NAMED_LANE)
    with serve(home) as running:
        assert running.issue().status == 200
        assert users_of(running) == ({str(NAMED_LANE)}, {str(NAMED_WORKER)})


def test_token_that_is_roots_keeps_its_lanes_root(home: Path) -> None:
    """Lanes are whoever owns the PIN: where that is root they stay it, and workers cannot follow."""
    own(home / "token", 0)
    os.chown(home / "secrets" / "pin", 0, 0)
    with serve(home) as running:
        assert running.issue().status == 200
        assert users_of(running) == ({"0"}, {str(WORKER.uid)})
        assert run_as(WORKER, "cat", home / "secrets" / "pin").returncode


def test_home_that_nobody_else_can_reach_is_served_by_root_alone(
    demo_home: Path, short_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """In a directory that is closed to others there is no other user to be: the log and the doctor say which it is."""
    home = copy_home(demo_home, short_path)
    with serve(home) as running:
        assert running.issue().status == 200
        assert users_of(running) == ({"0"}, {"0"})
        assert b"users-shared" in running.errors.read_bytes()
    appliance = CommandLine(capsysbinary)
    found = {each["check"]: each for each in appliance("doctor", "--home", home, "--json").lines}
    shared = found["user of token demo"]
    assert (shared["level"], f"{short_path} is closed" in shared["found"]) == ("warning", True)


def test_worker_that_cannot_get_to_the_home_is_refused(demo_home: Path, short_path: Path) -> None:
    """An account that is named and cannot reach the home ends the start, and the directory in its way is named."""
    home = copy_home(demo_home, short_path)
    edit(home / "appliance.toml", "[api]\n", f'[api]\nuser = "{NAMED_WORKER}"\n')
    refused = subprocess.run(
        [sys.executable, "-m", "appliance", "serve", "--home", str(home)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert f"{short_path} is closed to it (chmod o+x)" in refused.stderr.decode()


@pytest.mark.usefixtures("roomy_disk")
def test_doctor_is_content(home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With two users the doctor finds nothing to say about a fresh home; the command line works as root beside them."""
    appliance = CommandLine(capsysbinary)
    for _ in range(2):
        said = appliance("doctor", "--home", home, "--json").lines
        judged = [each for each in said if each["check"].startswith(_OF_USERS)]
        assert [each for each in judged if each["level"] != "ok"] == []
        with serve(home):
            pass
    assert appliance("hsm", "resume", "--home", home, "--token", "demo").code == 0
