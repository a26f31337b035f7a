"""`appliance trace prove|verify|verify-proof|witness|export|purge` on a real home, beside its service and without it."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from tests.homes import CommandLine, copy_home, edit
from tests.independent_log import read_independently
from tests.logs import SoftwareSigner, entries_of_home, numbered, write_shard
from tests.service import RunningService, serve, wait_until

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


def add(file: Path, table: str) -> None:
    """Put a table behind the others."""
    file.write_text(f"{file.read_text()}\n{table}\n")


@pytest.fixture(scope="module")
def traced(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo home whose service has issued and verified, been restarted with fewer workers, and stopped."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("traced"))
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    with serve(home) as running:
        for _ in range(20):  # whichever worker the kernel gives each to: both have signed
            vector = running.issue().json
        running.verify(vector["assertion"].encode())
        assert running.issue(pagms=["PAGM_NONE"]).status == 403
        assert running.stop() == 0
    edit(home / "appliance.toml", "workers = 2", "workers = 1")
    with serve(home) as running:
        assert running.issue().status == 200
        assert running.stop() == 0
    return home


@pytest.fixture
def logs(traced: Path) -> dict[str, Path]:
    """The log directories, by their writer."""
    return {log.name.partition(".")[0]: log for log in (traced / "log").iterdir()}


def test_stopped_home_is_covered_whole(appliance: CommandLine, traced: Path, logs: dict) -> None:
    """After a clean stop every log verifies with the public key alone, its last entry under its checkpoint."""
    key = traced / "pki" / "audit.pem"
    assert set(logs) == {"system", "worker-0", "worker-1"}
    ended = appliance("trace", "verify", "--json", "--key", key, *logs.values())
    assert ended.code == 0
    assert {line["log"]: line["closed"] for line in ended.lines} == {
        logs["system"].name: False,
        logs["worker-0"].name: False,
        logs["worker-1"].name: True,
    }
    for log in logs.values():
        read_independently(log, key.read_bytes())
    assert not (traced / "spool" / logs["worker-1"].name).exists()


def test_system_log_tells_what_served(traced: Path) -> None:
    """Start, keys, conventions, what keys have signed, stop: each an entry of the log `system`."""
    events = [s.entry.event for s in entries_of_home(traced) if s.log.startswith("system")]
    start = ["service-started", *["key-in-service"] * 2, *["convention-in-force"] * 2]
    served = [event for event in events if event not in {"key-usage", "log-present"}]
    assert served == [*start, "service-stopped", *start, "service-stopped"]
    stated = [event for event in events if event != "log-present"]
    for at, event in enumerate(stated):
        if event == "service-stopped":
            assert stated[at - 2 : at] == ["key-usage"] * 2


def test_proof_stands_alone(appliance: CommandLine, traced: Path, tmp_path: Path) -> None:
    """`prove ID` writes proof, entry and certificate; `verify-proof` needs nothing else but the key."""
    created = next(s for s in entries_of_home(traced) if s.entry.event == "created")
    ended = appliance(
        "trace", "prove", "--home", traced, created.entry.assertion_id, "--out", tmp_path, "--json"
    )
    assert ended.code == 0
    files = [Path(line["file"]) for line in ended.lines]
    base = f"{created.log}-{created.index}"
    assert {f"{base}.tlog-proof", f"{base}.json", f"{base}.pem"} <= {file.name for file in files}
    assert (tmp_path / f"{base}.json").read_bytes() == created.octets
    certificate = x509.load_pem_x509_certificate((tmp_path / f"{base}.pem").read_bytes())
    assert certificate.fingerprint(certificate.signature_hash_algorithm).hex() == (
        created.entry.certificate_sha256
    )
    key = shutil.copy(traced / "pki" / "audit.pem", tmp_path / "key.pem")
    proof = (tmp_path / f"{base}.tlog-proof", "--entry", tmp_path / f"{base}.json")
    assert appliance("trace", "verify-proof", "--key", key, *proof).code == 0
    origin = f"{created.log}"
    assert appliance("trace", "verify-proof", "--key", key, "--origin", origin, *proof).code == 1
    (tmp_path / f"{base}.json").write_bytes(created.octets.replace(b"agent-0042", b"agent-0043"))
    refused = appliance("trace", "verify-proof", "--key", key, *proof)
    assert refused.code == 1
    assert "does not hold this entry" in refused.stderr


def test_live_home_verifies(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """Beside a service that writes, the logs of a home verify, and what was just answered can be proven."""
    with serve(copy_home(demo_home, tmp_path)) as running:
        for _ in range(3):
            receipt = running.issue().json["trace"]
            place = f"{receipt['log']}:{receipt['index']}"
            proven = appliance("trace", "prove", "--home", running.home, place, "--out", tmp_path)
            assert proven.code == 0
            assert appliance("trace", "verify", "--home", running.home).code == 0


def test_witness_is_exported_and_checked(
    appliance: CommandLine, traced: Path, tmp_path: Path
) -> None:
    """An older copy of the home, or one without a log, fails against checkpoints kept elsewhere."""
    witness = tmp_path / "witness.json"
    witness.write_bytes(appliance("trace", "witness", "--home", traced).stdout)
    assert appliance("trace", "verify", "--home", traced, "--witness", witness).code == 0
    older = Path(shutil.copytree(traced, tmp_path / "older"))
    signer = SoftwareSigner()
    (gone,) = (older / "log").glob("worker-1*")
    shutil.rmtree(gone)
    ended = appliance("trace", "verify", "--home", older, "--witness", witness)
    assert ended.code == 1
    assert b"which is not among the logs" in ended.stdout
    assert signer.asked == 0


def test_home_taken_back_fails_against_what_its_lanes_signed(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """Logs and spools of an older copy, under the memory of the lanes that is there still, are named."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running:
        running.issue()
    for name in ("log", "spool"):
        shutil.copytree(home / name, tmp_path / "older" / name)
    with serve(home) as running:
        running.issue()
    assert appliance("trace", "verify", "--home", home).code == 0
    for name in ("log", "spool"):
        shutil.rmtree(home / name)
        shutil.copytree(tmp_path / "older" / name, home / name)
    ended = appliance("trace", "verify", "--home", home)
    assert ended.code == 1
    assert b"log and spool end behind" in ended.stdout


def test_what_is_wrong_beside_the_logs_is_named(
    appliance: CommandLine, traced: Path, tmp_path: Path
) -> None:
    """A spool that does not read, and a file that is no log."""
    home = Path(shutil.copytree(traced, tmp_path / "home"))
    (home / "log" / "notes.txt").write_text("foreign")
    ended = appliance("trace", "verify", "--home", home)
    assert ended.code == 1
    assert b"log/notes.txt is no log" in ended.stdout
    (home / "log" / "notes.txt").unlink()
    segment = max((home / "spool").glob("worker-*/*.segment"), key=lambda each: each.stat().st_size)
    octets = bytearray(segment.read_bytes())
    octets[60] ^= 1
    segment.write_bytes(octets)
    ended = appliance("trace", "verify", "--home", home)
    assert ended.code == 1
    assert f"log {segment.parent.name} is damaged at entry".encode() in ended.stdout


def test_witness_of_nothing_here_fails(
    appliance: CommandLine, traced: Path, tmp_path: Path
) -> None:
    """Checkpoints of other origins, whose logs have the same names, vouch for nothing, and an empty file is none."""
    own = json.loads(appliance("trace", "witness", "--home", traced).stdout)
    file, verify = tmp_path / "witness.json", ("trace", "verify", "--home", traced, "--witness")
    foreign = [note.replace("demo.example/", "other.example/") for note in own["checkpoints"]]
    for checkpoints in ([foreign[0]], [*own["checkpoints"], foreign[0]]):
        file.write_text(json.dumps(own | {"checkpoints": checkpoints}))
        ended = appliance(*verify, file)
        assert ended.code == 1
        assert b"the witness has seen other.example/" in ended.stdout
    file.write_text(json.dumps(own | {"checkpoints": []}))
    ended = appliance(*verify, file)
    assert ended.code == 1
    assert "without a checkpoint" in ended.stderr


def test_log_that_is_gone_is_named(appliance: CommandLine, traced: Path, tmp_path: Path) -> None:
    """Whichever log is deleted whole, what lanes remember included: `system` knows it, or a worker's log misses `system`."""
    for log in sorted((traced / "log").iterdir()):
        home = Path(shutil.copytree(traced, tmp_path / log.name))
        shutil.rmtree(home / "log" / log.name)
        by_lanes = appliance("trace", "verify", "--home", home)
        for memory in (home / "run").glob("**/checkpoints"):
            shutil.rmtree(memory)
        by_logs = appliance("trace", "verify", "--home", home, "--json")
        assert (by_lanes.code, by_logs.code) == (1, 1)
        assert f"log {log.name} is not here".encode() in by_lanes.stdout
        [gone] = [line for line in by_logs.lines if not line["ok"]]
        assert gone["log"] == log.name
        kept = appliance("trace", "verify", "--home", home, log)
        assert kept.code == 0, "a log that is kept elsewhere is not missed, nor are its vectors"


def test_nothing_to_verify_is_said(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """A home without a log ends with 2 and says so; one whose logs are all gone ends with 1 and names them."""
    home = copy_home(demo_home, tmp_path)
    ended = appliance("trace", "verify", "--home", home)
    assert ended.code == 2
    assert "nothing has been traced here" in ended.stderr
    words = ("--convention", "demo-client", "--pagm", "PAGM_GESTION")
    assert appliance("issue", "--home", home, *words).code == 0
    assert appliance("trace", "verify", "--home", home).code == 0
    shutil.rmtree(home / "log")
    shutil.rmtree(home / "spool")
    ended = appliance("trace", "verify", "--home", home)
    assert ended.code == 1
    assert b"a lane has signed for" in ended.stdout


def test_export_is_complete(appliance: CommandLine, traced: Path) -> None:
    """JSON lines hold every entry octet for octet; CSV the same facts, a column a field."""
    lines = appliance("trace", "export", "--home", traced).lines
    everything = entries_of_home(traced)
    assert {(line["log"], line["index"]) for line in lines} >= {
        (s.log, s.index) for s in everything
    }
    octets = appliance("trace", "export", "--home", traced, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(octets.decode())))
    assert len(rows) == len(lines)
    assert {row["version"] for row in rows} == {"1"}
    created = [row for row in rows if row["event"] == "created"]
    assert {row["subject"] for row in created} == {"agent-0042"}
    assert {row["pagms"] for row in created} == {"PAGM_CONSULTATION"}
    only = appliance("trace", "export", "--home", traced, "--verdict", "refused").lines
    assert [line["entry"]["reason"] for line in only] == ["pagm-not-granted"]


def test_index_may_be_deleted(appliance: CommandLine, traced: Path) -> None:
    """The search finds the same with the index, without it, and after it was spoilt and deleted."""
    search = (
        "trace",
        "search",
        "--home",
        traced,
        "--json",
        "--partner",
        "urn:interops:sp:73282932000074:demo",
    )
    first = appliance(*search).stdout
    assert first == appliance(*search).stdout != b""
    index = traced / "index" / "trace.sqlite"
    shutil.rmtree(traced / "index")
    assert appliance(*search).stdout == first
    for file in index.parent.iterdir():
        file.unlink()
    index.write_bytes(b"no database" * 100)
    spoilt = appliance(*search)
    assert spoilt.code == 2
    assert f"delete {index.parent}, and the next search rebuilds it" in spoilt.stderr
    shutil.rmtree(traced / "index")
    assert appliance(*search).stdout == first


def test_wrong_usage_is_said(appliance: CommandLine, traced: Path, tmp_path: Path) -> None:
    """No key, no log, a file that is none: exit 2 and what to give instead."""
    for words in (
        ("verify",),
        ("verify", traced / "log"),
        ("verify", "--key", traced / "appliance.toml", traced / "log"),
        ("verify", "--key", tmp_path / "absent", traced / "log"),
    ):
        assert appliance("trace", *words).code == 2


def test_unknown_retention_class_is_refused(
    appliance: CommandLine, traced: Path, tmp_path: Path
) -> None:
    """`convention check` names the file, the key, and the classes there are."""
    home = Path(shutil.copytree(traced, tmp_path / "home"))
    add(home / "appliance.toml", '[trace.retention]\n6y = "2196d"')
    file = home / "conventions" / "demo-client.toml"
    add(file, '[trace]\nretention = "1y"')
    ended = appliance("convention", "check", "--home", home)
    assert ended.code == 1
    assert b"trace.retention: expected a class of [trace.retention]" in ended.stdout
    edit(file, 'retention = "1y"', 'level = "pseudonymous"')
    (home / "secrets" / "pseudonyms").unlink()
    assert b"a key of pseudonyms" in appliance("convention", "check", "--home", home).stdout


def test_purge_drops_whole_old_bundles(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """What its class lets go of is dropped under a signed record; the rest verifies, and later proofs hold."""
    home = copy_home(demo_home, tmp_path)
    add(home / "appliance.toml", '[trace.retention]\n6y = "2s"')
    with serve(home) as running:
        log = issue_many(running, 300)
        live = appliance("trace", "purge", "--home", home)
        assert live.code in {0, 3}
        assert running.stop() == 0
    directory = home / "log" / log
    wait_until(
        lambda: bool(appliance("trace", "purge", "--home", home, "--dry-run").stdout), 20, "age"
    )
    assert (directory / "tile/entries/000").exists()
    proven = appliance("trace", "prove", "--home", home, f"{log}:280", "--out", tmp_path)
    assert proven.code == 0
    ended = appliance("trace", "purge", "--home", home, "--json")
    assert ended.code == 0
    assert {"log": log, "minimum_index": 256} in ended.lines
    assert not (directory / "tile/entries/000").exists()
    verified = appliance("trace", "verify", "--home", home, "--json")
    assert verified.code == 0
    assert {line["log"]: line["first"] for line in verified.lines if "log" in line}[log] == 256
    accounts = [line for line in verified.lines if "signing_key" in line]
    assert [(each["signatures"], each["unaccounted"]) for each in accounts] == [(0, 0)] * 2
    key = home / "pki" / "audit.pem"
    proof = (tmp_path / f"{log}-280.tlog-proof", "--entry", tmp_path / f"{log}-280.json")
    assert appliance("trace", "verify-proof", "--key", key, *proof).code == 0
    assert appliance("trace", "prove", "--home", home, f"{log}:280", "--out", tmp_path).code == 0
    events = [json.loads(line)["entry"]["event"] for line in appliance(
        "trace", "search", "--home", home, "--event", "entries-purged", "--json").stdout.splitlines()]  # fmt: skip
    assert "entries-purged" in events
    (directory / "tile/entries/001.p").rename(tmp_path / "hidden")
    assert appliance("trace", "verify", "--home", home).code == 1


def issue_many(running: RunningService, count: int) -> str:
    """Issue a batch; returns the log it stands in."""
    request = {"convention": "demo-client", "subject": "agent-0042", "pagms": ["PAGM_GESTION"]}
    left = count
    log = ""
    while left > 0:
        body = {"requests": [request] * min(50, left)}
        results = running.request("POST", "/v1/vectors/batch", body).json["results"]
        made = [result["vector"] for result in results if "vector" in result]
        left -= len(made)
        log = made[0]["trace"]["log"] if made else log
    return log


def test_missing_front_without_a_record_is_found(appliance: CommandLine, tmp_path: Path) -> None:
    """Bundles that are gone without a purge on record fail the log."""
    signer = SoftwareSigner()
    directory = write_shard(tmp_path, [numbered(300)], signer)
    (tmp_path / "key.pem").write_bytes(signer.pem)
    (directory / "tile/entries/000").unlink()
    ended = appliance("trace", "verify", "--key", tmp_path / "key.pem", directory)
    assert ended.code == 1
    assert b"no purge is on record" in ended.stdout
