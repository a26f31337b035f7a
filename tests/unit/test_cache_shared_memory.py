"""The ring that workers share: whole records or none, the newest first, in bounded room."""

import multiprocessing
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.cache import shared_memory
from appliance.cache.shared_memory import SharedMemory, prepare_shared_memory
from appliance.errors import ConfigurationError

MIB = 1024**2


def key(at: int) -> bytes:
    """A name."""
    return sha256(b"%d" % at).digest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ring of one mebibyte."""
    prepare_shared_memory(tmp_path / "ring", MIB)
    return tmp_path / "ring"


def test_what_one_writes_another_reads(file: Path) -> None:
    """Another view of the ring finds a record under its name and no other."""
    with SharedMemory(file) as writer, SharedMemory(file) as reader:
        assert reader.read(key(1)) is None
        writer.write(key(1), b"one")
        writer.write(key(2), b"")
        assert (reader.read(key(1)), reader.read(key(2)), reader.read(key(3))) == (
            b"one",
            b"",
            None,
        )
        writer.write(key(1), b"one again")
        assert reader.read(key(1)) == b"one again"


def test_the_oldest_goes(file: Path) -> None:
    """When the ring comes round the newest records are whole and the oldest are gone; too large a one is not taken."""
    with SharedMemory(file) as ring:
        for at in range(1000):
            ring.write(key(at), bytes([at % 256]) * 5000)
        held = [at for at in range(1000) if ring.read(key(at)) is not None]
        assert 120 < len(held) <= 210
        assert held[-1] == 999
        assert all(ring.read(key(at)) == bytes([at % 256]) * 5000 for at in held)
        ring.write(key(5000), bytes(MIB // 4))
        assert ring.read(key(5000)) is None


def test_places_are_bounded_too(file: Path) -> None:
    """Many small records push each other out of the index; none is found under another's name."""
    with SharedMemory(file) as ring:
        for at in range(5000):
            ring.write(key(at), at.to_bytes(4, "big"))
        found = {at: ring.read(key(at)) for at in range(5000)}
        assert all(octets in {None, at.to_bytes(4, "big")} for at, octets in found.items())
        assert 0 < sum(octets is not None for octets in found.values()) <= 512


def test_damage_is_a_miss(file: Path) -> None:
    """A record whose octets changed is not believed."""
    with SharedMemory(file) as ring:
        ring.write(key(1), b"octets" * 100)
        octets = bytearray(file.read_bytes())
        octets[octets.index(b"octets")] ^= 1
        file.write_bytes(octets)
    with SharedMemory(file) as ring:
        assert ring.read(key(1)) is None


def _write(file: str, seconds: float) -> None:
    with SharedMemory(Path(file)) as ring:
        until, at = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            at += 1
            ring.write(key(at % 7), bytes([at % 256]) * (1000 + 997 * (at % 90)))


def test_readers_see_whole_records_while_writers_write(file: Path) -> None:
    """Under two writers that keep coming round the ring, whatever a reader believes is one record, whole."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(file), 2.0)) for _ in range(2)]
    for writer in writers:
        writer.start()
    found = 0
    with SharedMemory(file) as ring:
        while any(writer.is_alive() for writer in writers):
            for name in range(7):
                octets = ring.read(key(name))
                if octets is not None:
                    assert octets == octets[:1] * len(octets)
                    found += 1
    for writer in writers:
        writer.join(10)
        assert writer.exitcode == 0
    assert found


def test_writer_that_stands_still_holds_up_nobody(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped while it wrote is waited for once; then it costs the others what they would share, not their time.

    Once it is gone they share again.
    """
    held = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", held, str(file)]
    with SharedMemory(file) as ring:
        ring.write(key(1), b"one")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline()
            ring.write(key(2), b"two")
            with monkeypatch.context() as patched:
                patched.setattr(shared_memory, "time", SimpleNamespace(monotonic=time.monotonic))
                ring.write(key(2), b"two")
            assert (ring.read(key(1)), ring.read(key(2))) == (b"one", None)
        ring.write(key(2), b"two")
        assert ring.read(key(2)) == b"two"


def test_impossible_places(tmp_path: Path) -> None:
    """A ring that is absent, or cannot be made, is named."""
    with pytest.raises(ConfigurationError, match="which `appliance serve` makes"):
        SharedMemory(tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="a place for"):
        prepare_shared_memory(tmp_path / "absent" / "ring", MIB)
