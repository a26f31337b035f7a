"""A service whose home lies on a file system that is really full: refusals by name, no process lost, and recovery unasked."""

import contextlib
import http.client
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import prometheus_client.values
import pytest

from appliance import metricfiles
from appliance.cache.replay_guard import prepare_guard
from appliance.cache.shared_memory import prepare_shared_memory
from appliance.errors import ConfigurationError
from appliance.metricfiles import RoomyDict
from appliance.trace.checkpoint import read_audit_key
from appliance.trace.verify import verify_log
from tests.groups import leave_out, need_root
from tests.homes import copy_home, edit
from tests.logs import entries_of_home
from tests.pki import NOW
from tests.service import Answer, RunningService, serve, wait_until

pytestmark = [
    pytest.mark.hsm,
    pytest.mark.slow,
]

MIB = 1024**2
REFUSED = "503 spool-unavailable"
SAYS_FULL = b"spool cannot be written"
"""Of a worker whose own log has met the full disk; one that has not is ready, as one is for which some blocks became free."""


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for a demo home and little more."""
    need_root("only root can mount a small file system")
    place = short_path / "disk"
    place.mkdir()
    kind = getattr(request, "param", "tmpfs")
    if kind == "tmpfs":
        words = ["-t", "tmpfs", "-o", "size=24m,mode=0755", "tmpfs"]
    else:
        image = short_path / "image"
        with image.open("wb") as made:
            made.truncate(32 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, timeout=60)
        words = ["-o", "loop", str(image)]
    mounted = subprocess.run(
        ["mount", *words, place], capture_output=True, text=True, timeout=60, check=False
    )
    if mounted.returncode:
        leave_out("root", f"this machine mounts no {kind}: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=60)


@pytest.fixture
def home(demo_home: Path, small_disk: Path) -> Path:
    """A demo home with two workers, whose vectors are reused and accepted once: every file that workers map is in use."""
    home = copy_home(demo_home, small_disk)
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    edit(home / "appliance.toml", '# shared_memory = "64MiB"', 'shared_memory = "2MiB"')
    edit(home / "appliance.toml", "# capacity = 1000000", "capacity = 20000")
    edit(home / "appliance.toml", '# call_timeout = "500ms"', 'call_timeout = "10s"')
    edit(home / "conventions" / "demo-client.toml", "# allowed = false", "allowed = true")
    return home


def fill(disk: Path) -> Path:
    """Take every octet that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (MIB, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\xff" * piece)
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())
    return filler


class Clients:
    """Threads that issue and verify until told to stop, and note every answer."""

    def __init__(self, service: RunningService, count: int) -> None:
        self.answers: Counter[str] = Counter()
        self.issued: set[str] = set()
        self._service = service
        self._vector = service.issue().json["assertion"].encode()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(at,)) for at in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread finish what it is waiting for."""
        self._stop.set()
        for thread in self._threads:
            thread.join(40)

    def _ask(self, at: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            if number % 4 == 0:
                self._note(lambda: self._service.verify(self._vector))
            else:
                subject = f"agent-{at}-{number // 2}"  # every other one is given out again
                self._note(lambda subject=subject: self._service.issue(subject=subject))

    def _note(self, ask: Callable[[], Answer]) -> None:
        try:
            answer = ask()
        except (OSError, http.client.HTTPException) as exc:
            self.answers[f"no answer: {exc!r}"] += 1
            return
        if answer.status == 200:
            self.answers["done"] += 1
            if not answer.json.get("reused", True):
                self.issued.add(answer.json["id"])
        else:
            self.answers[f"{answer.status} {answer.json['error']['reason']}"] += 1


@pytest.mark.parametrize("small_disk", ["tmpfs", "ext4"], indirect=True)
def test_full_disk_refuses_by_name_and_recovers_alone(home: Path, small_disk: Path) -> None:
    """Under load: 503 `spool-unavailable` while there is no room, the same processes before and after, and nothing lost."""
    with serve(home) as running:
        before = running.children("worker"), running.children("hsm.lane")
        clients = Clients(running, 4)
        try:
            wait_until(lambda: clients.answers["done"] > 20, 60, "answers")
            filler = fill(small_disk)
            wait_until(lambda: clients.answers[REFUSED] > 20, 60, "refusals")
            assert running.request("GET", "/healthz").status == 200
            wait_until(
                lambda: SAYS_FULL in running.request("GET", "/readyz").body, 20, "unreadiness"
            )
            assert b"appliance_errors_total" in running.request("GET", "/metrics").body
            filler.unlink()
            done = clients.answers["done"]
            wait_until(lambda: clients.answers["done"] > done + 20, 60, "answers again")
        finally:
            clients.stop()
        # A slow disk says so too, by its own name.
        assert clients.answers.keys() - {"503 spool-full"} == {"done", REFUSED}
        assert (running.children("worker"), running.children("hsm.lane")) == before
        wait_until(lambda: running.request("GET", "/readyz").status == 200, 20, "readiness")
        assert running.stop() == 0
    created = {each.entry.assertion_id for each in entries_of_home(home)}
    assert clients.issued <= created
    keys = [read_audit_key((home / "pki" / "audit.pem").read_bytes())]
    for log in (home / "log").iterdir():
        verify_log(log, keys)


def test_full_disk_before_the_first_request(home: Path, small_disk: Path) -> None:
    """Files that were mapped and never written to have their room: a disk that filled up meanwhile ends nobody."""
    with serve(home) as running:
        before = running.children("worker")
        filler = fill(small_disk)
        for number in range(40):
            answer = running.issue(subject=f"agent-{number}")
            assert answer.status in {200, 503}
        assert answer.json["error"]["reason"] == "spool-unavailable"
        filler.unlink()
        wait_until(lambda: running.issue().status == 200, 20, "a vector")
        assert running.children("worker") == before


def test_start_without_room_says_how_much_is_wanted(small_disk: Path) -> None:
    """A table or a ring that does not fit is refused by name before anybody maps it, and leaves nothing behind."""
    with pytest.raises(
        ConfigurationError, match=r"replay\.capacity: expected a place for 46 MiB .*free so much"
    ):
        prepare_guard(small_disk / "replay.guard", 1_000_000, NOW)
    with pytest.raises(
        ConfigurationError, match=r"shared_memory: expected a place for 65 MiB .*free so much"
    ):
        prepare_shared_memory(small_disk / "shared.vectors", 64 * MIB)
    assert [each.name for each in small_disk.iterdir() if each.is_file()] == []


def test_copy_with_holes_is_given_its_room(small_disk: Path) -> None:
    """A table that was restored as a sparse file has every octet on the disk before it is used, or is refused."""
    file = small_disk / "replay.guard"
    prepare_guard(file, 64_000, NOW)
    head, length = file.read_bytes()[:4096], file.stat().st_size
    assert file.stat().st_blocks * 512 >= length
    file.unlink()
    with file.open("wb") as copy:
        copy.write(head)
        copy.truncate(length)
    filler = fill(small_disk)
    with pytest.raises(ConfigurationError, match="free so much"):
        prepare_guard(file, 64_000, NOW)
    filler.unlink()
    prepare_guard(file, 64_000, NOW)
    assert file.stat().st_blocks * 512 >= length


def test_values_wait_for_room(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted while the disk is full is not lost: it enters the file once there is room, changed again or not."""
    monkeypatch.setattr(metricfiles, "_RETRY_EVERY", 0.0)
    assert prometheus_client.values.MmapedDict is RoomyDict
    keys = [f"{number:0200}" for number in range(1000)]  # several times what the file begins with
    early, late = (str(small_disk / name) for name in ("counter_1.db", "gauge_1.db"))
    with contextlib.closing(RoomyDict(early)) as values:
        values.write_value("first", 1.0, 0.0)
        assert values.write_changed()
        filler = fill(small_disk)
        with contextlib.closing(RoomyDict(late)) as waiting:
            for value in (1.0, 2.0):
                waiting.write_value("only", value, 0.0)
                for key in keys:
                    values.write_value(key, value, 0.0)
                assert [each.write_changed() for each in (values, waiting)] == [False, False]
            assert (values.read_value(keys[-1]), waiting.read_value("only")) == ((2.0, 0.0),) * 2
            assert len(list(values.read_all_values())) < 400
            filler.unlink()
            for key in keys[:500]:
                values.write_value(key, 3.0, 0.0)
            assert values.write_changed()
            assert waiting.write_changed()
    with contextlib.closing(RoomyDict(early)) as values:
        assert values.read_value("first") == (1.0, 0.0)
        assert {values.read_value(key) for key in keys[:500]} == {(3.0, 0.0)}
        assert {values.read_value(key) for key in keys[500:]} == {(2.0, 0.0)}
    with contextlib.closing(RoomyDict(late)) as values:
        assert values.read_value("only") == (2.0, 0.0)
