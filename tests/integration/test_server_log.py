"""The log over HTTP: what a partner's monitor fetches verifies, and nobody else's file is ever served."""

import asyncio
from pathlib import Path

import pytest

from appliance.errors import ConventionViolation, ResourceUnknown
from appliance.operations.readlog import ReadLogOperation
from appliance.trace.checkpoint import read_audit_key, read_checkpoint
from appliance.trace.proofs import read_proof, verify_proof
from appliance.vectors.model import Caller
from tests.independent_log import path_of, read_independently
from tests.logs import SoftwareSigner, entries_of_home, numbered, write_shard
from tests.service import RunningService, wait_until

UNIX = Caller("uid:0", "unix")


@pytest.mark.hsm
@pytest.mark.slow
def test_log_can_be_mirrored_over_http(service: RunningService, tmp_path: Path) -> None:
    """A client that knows C2SP tlog-tiles fetches checkpoint, tiles and bundles; the copy verifies by itself."""
    receipt = service.issue().json["trace"]
    prefix = f"/v1/log/{receipt['log']}"

    def covered() -> bool:
        checkpoint = service.request("GET", f"{prefix}/checkpoint")
        if checkpoint.status != 200:
            return False
        return read_checkpoint(checkpoint.body).checkpoint.size > receipt["index"]

    wait_until(covered, 10, "a checkpoint over the entry")
    answer = service.request("GET", f"{prefix}/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    size = read_checkpoint(answer.body).checkpoint.size
    mirror = tmp_path / receipt["log"]
    wanted = {"checkpoint": answer.body}
    for kind in ("entries", "0"):
        for start in range(0, size, 256):
            path = path_of(kind, start // 256, min(256, size - start))
            tile = service.request("GET", f"{prefix}/{path}")
            assert tile.headers["content-type"] == "application/octet-stream"
            assert "immutable" in tile.headers["cache-control"]
            wanted[path] = tile.body
    if size >= 256:
        path = path_of("1", 0, size // 256)
        wanted[path] = service.request("GET", f"{prefix}/{path}").body
    for path, octets in wanted.items():
        (mirror / path).parent.mkdir(parents=True, exist_ok=True)
        (mirror / path).write_bytes(octets)
    pem = (service.home / "pki" / "audit.pem").read_bytes()
    assert read_independently(mirror, pem).size == size
    proof = service.request("GET", f"{prefix}/proof/{receipt['index']}")
    entry = next(
        stored.octets
        for stored in entries_of_home(service.home)
        if (stored.log, stored.index) == (receipt["log"], receipt["index"])
    )
    verify_proof(read_proof(proof.body), entry, read_audit_key(pem))


@pytest.mark.hsm
@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/v1/log/absent.6y.2026/checkpoint",
        "/v1/log/../pki/audit.pem",
        "/v1/log/%2e%2e/secrets/pin",
        "/v1/log/{log}/../../secrets/pin",
        "/v1/log/{log}/tile/0/../../checkpoint",
        "/v1/log/{log}/tile/64/000",
        "/v1/log/{log}/tile/00/000",
        "/v1/log/{log}/tile/0/0",
        "/v1/log/{log}/tile/entries/999",
        "/v1/log/{log}/proof/01",
        "/v1/log/{log}/proof/999999999",
        "/v1/log/{log}",
        "/v1/log/",
    ],
)
def test_what_no_log_has_is_not_found(service: RunningService, path: str) -> None:
    """A name that leads elsewhere, or to nothing, is 404, whatever it looks like."""
    log = service.issue().json["trace"]["log"]
    answer = service.request("GET", path.format(log=log))
    assert answer.status == 404
    assert answer.json["error"]["reason"] == "not-found"


def test_readers_are_named(tmp_path: Path) -> None:
    """Who may call the API may not therefore read the log: kinds and names are listed."""
    directory = write_shard(tmp_path, [numbered(3)], SoftwareSigner())
    reading = ReadLogOperation(tmp_path / "log", ("unix", "auditor"))

    async def read(caller: Caller) -> bytes:
        return (await reading.read(directory.name, "checkpoint", caller)).octets

    for caller in (UNIX, Caller("auditor", "key")):
        assert asyncio.run(read(caller)) == (directory / "checkpoint").read_bytes()
    for caller in (Caller("portal", "key"), Caller("loopback", "loopback")):
        with pytest.raises(ConventionViolation, match=r"trace\.readers"):
            asyncio.run(read(caller))


def test_purged_bundle_is_not_found_and_its_tile_is(tmp_path: Path) -> None:
    """What was let go of is 404; hash tiles stay, so that proofs of later entries still come."""
    directory = write_shard(tmp_path, [numbered(300)], SoftwareSigner())
    (directory / "tile/entries/000").unlink()
    reading = ReadLogOperation(tmp_path / "log", ("unix",))

    async def read(resource: str) -> bytes:
        return (await reading.read(directory.name, resource, UNIX)).octets

    with pytest.raises(ResourceUnknown, match="let go"):
        asyncio.run(read("tile/entries/000"))
    assert len(asyncio.run(read("tile/0/000"))) == 8192
    assert asyncio.run(read("proof/280")).startswith(b"c2sp.org/tlog-proof@v1\nindex 280\n")
