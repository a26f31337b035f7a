"""Logs and proofs judged by the Go project's own packages (golang.org/x/mod/sumdb/tlog and note), where Go is there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.trace.proofs import prove_entry
from tests.groups import leave_out
from tests.independent_log import read_independently
from tests.logs import NAME, ORIGIN, SoftwareSigner, numbered, write_shard

SOURCES = Path(__file__).parents[1] / "golog"
SIGNER = SoftwareSigner()
VKEY = SIGNER.key.vkey(f"{ORIGIN}/{NAME}")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def golog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checker, built from `tests/golog`."""
    go = shutil.which("go")
    if go is None:
        leave_out("go", "go is not on the PATH")
    fetched = subprocess.run(
        [go, "mod", "download"], cwd=SOURCES, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        leave_out("go", f"golang.org/x/mod cannot be had: {fetched.stderr.strip()[-200:]}")
    program = tmp_path_factory.mktemp("golog") / "golog"
    subprocess.run([go, "build", "-o", str(program), "."], cwd=SOURCES, check=True)
    return program


def judge(golog: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the checker says."""
    return subprocess.run(
        [golog, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("count", [1, 255, 256, 600])
def test_go_verifies_every_entry(golog: Path, tmp_path: Path, count: int) -> None:
    """Checkpoint, root, and an inclusion proof for each entry, all computed in Go from our files."""
    directory = write_shard(tmp_path, [numbered(count)], SoftwareSigner())
    judged = judge(golog, "log", VKEY, directory)
    assert (judged.returncode, judged.stdout.strip()) == (0, str(count + 1)), judged.stderr


def test_go_verifies_proofs_and_refuses_altered_ones(golog: Path, tmp_path: Path) -> None:
    """A proof of ours is checked by Go; another entry, another key, another index are refused."""
    directory = write_shard(tmp_path, [numbered(300)], SoftwareSigner())
    entries = read_independently(directory, SIGNER.pem).entries
    proof, entry = tmp_path / "x.tlog-proof", tmp_path / "x.json"
    for index in (0, 1, 255, 256, 300):
        proof.write_bytes(prove_entry(directory, index))
        entry.write_bytes(entries[index])
        assert judge(golog, "proof", VKEY, proof, entry).returncode == 0
    entry.write_bytes(entries[299])
    assert judge(golog, "proof", VKEY, proof, entry).returncode == 1
    entry.write_bytes(entries[300])
    proof.write_bytes(proof.read_bytes().replace(b"index 300", b"index 299"))
    assert judge(golog, "proof", VKEY, proof, entry).returncode == 1
    other = SoftwareSigner(2).key.vkey(f"{ORIGIN}/{NAME}")
    assert judge(golog, "log", other, directory).returncode == 1


def test_go_refuses_what_we_refuse(golog: Path, tmp_path: Path) -> None:
    """A flipped bit in a bundle, a tile or the checkpoint is found there too."""
    directory = write_shard(tmp_path, [numbered(300)], SoftwareSigner())
    for path in ("tile/entries/000", "tile/0/000", "checkpoint"):
        file = directory / path
        octets = bytearray(file.read_bytes())
        octets[len(octets) // 2] ^= 1
        kept = file.read_bytes()
        file.write_bytes(octets)
        assert judge(golog, "log", VKEY, directory).returncode == 1, path
        file.write_bytes(kept)
