"""Started as root: lanes and workers are different users, and only the lanes' can read the PIN (DESIGN 2)."""

import os
import socket
from pathlib import Path

import pytest

from hsm.wire import SignFrame, SignJob, write_frame
from tests.homes import CommandLine, edit
from tests.service import make_demo_home, serve, wait_until

pytestmark = [
    pytest.mark.hsm,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give processes other users"),
]

LANE, WORKER = 64001, 64002


def own(path: Path, uid: int) -> None:
    """Give a tree to a user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid)


@pytest.fixture
def home(short_path: Path) -> Path:
    """A demo home whose token and PIN are the lanes', and the rest the workers'."""
    home = make_demo_home(short_path)
    edit(home / "appliance.toml", "# lanes = 2", f'user = "{LANE}"')
    edit(home / "appliance.toml", "[api]\n", f'[api]\nuser = "{WORKER}"\n')
    edit(home / "appliance.toml", "# workers = 1", "workers = 1")
    own(home, WORKER)
    own(home / "token", LANE)
    own(home / "secrets", LANE)
    short_path.chmod(0o711)
    home.chmod(0o711)
    return home


def uids_of(pid: int) -> set[int]:
    """Real, effective, saved and file system uid of a process."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("Uid:")
    ]
    return {int(uid) for uid in line.split()[1:]}


def groups_of(pid: int) -> str:
    """The supplementary groups of a process."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("Groups:")
    ]
    return line.partition(":")[2].strip()


def test_lanes_and_workers_are_different_users(home: Path) -> None:
    """Neither keeps anything of root; the PIN is the lanes' alone; vectors are issued, and a lane that dies is replaced."""
    with serve(home) as running:
        assert running.issue().status == 200
        lanes, [worker] = running.children("hsm.lane"), running.children("worker")
        assert [uids_of(lane) for lane in lanes] == [{LANE}, {LANE}]
        assert uids_of(worker) == {WORKER}
        assert {groups_of(pid) for pid in (*lanes, worker)} == {""}
        pin = (home / "secrets" / "pin").stat()
        assert (pin.st_uid, pin.st_mode & 0o077) == (LANE, 0)
        os.kill(lanes[0], 9)
        wait_until(
            lambda: len(set(running.children("hsm.lane")) - {lanes[0]}) == 2, 30, "a new lane"
        )
        assert running.issue().status == 200


def test_traces_are_the_workers_whoever_writes_them(home: Path) -> None:
    """Root writes the log `system` and closes those of workers that are gone; workers can read the one and go on with the others."""
    for workers in (2, 1, 2):
        edit(home / "appliance.toml", *WORKERS[workers])
        with serve(home) as running:
            assert running.issue().status == 200
            system = next(log.name for log in (home / "log").iterdir() if "system" in log.name)
            read = f"/v1/log/{system}/checkpoint"
            wait_until(lambda read=read: running.request("GET", read).status == 200, 20, "system")
            assert running.stop() == 0
        for directory in (home / "log", home / "spool", home / "certificates"):
            assert {each.stat().st_uid for each in (directory, *directory.rglob("*"))} == {WORKER}


WORKERS = {1: ("\nworkers = 2", "\nworkers = 1"), 2: ("\nworkers = 1", "\nworkers = 2")}


def test_lane_signs_for_the_workers_user_only(home: Path) -> None:
    """Whoever else reaches the lane's socket is told so; root, whose own log it signs for, gets checkpoints and no signature."""
    with serve(home):
        [lane, _] = sorted((home / "run" / "token-demo").glob("lane-*.sock"))
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(lane))
            assert b"hello" in stranger.recv(65536)
            job = SignJob("demo-rsa", "sha256", bytes(32), float("inf"))
            stranger.sendall(write_frame(SignFrame(1, [job])))
            assert b"PEER_NOT_ALLOWED" in stranger.recv(65536)


def test_doctor_is_content(home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With two users the doctor has no warning about them; the command line works as root beside them."""
    appliance = CommandLine(capsysbinary)
    found = {each["check"]: each for each in appliance("doctor", "--home", home, "--json").lines}
    assert found["user of token demo"]["level"] == "ok"
    assert found["token demo"]["level"] == "ok"
    resumed = appliance("hsm", "resume", "--home", home, "--token", "demo")
    assert resumed.code == 0
