"""What a writer finds when it opens a log: the tree rebuilt from its entries, and held against the checkpoint."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.errors import SpoolUnavailable
from appliance.trace import rebuild as rebuild_module
from appliance.trace.logs import close_log
from appliance.trace.purge import purge_log
from tests.independent_log import covered_by
from tests.logs import NAME, SoftwareSigner, make_settings, numbered, open_shard, until, write_shard
from tests.trace_entries import make_entry, segments_of

Damage = Callable[[Path], None]


def flip(path: str, at: int) -> Damage:
    """Flip one bit of a file."""

    def damage(directory: Path) -> None:
        octets = bytearray((directory / path).read_bytes())
        octets[at] ^= 1
        (directory / path).write_bytes(octets)

    return damage


def remove(path: str) -> Damage:
    """Remove a file."""
    return lambda directory: (directory / path).unlink()


DAMAGES = [
    pytest.param(flip("tile/entries/000", 200), "entry 0: tile/entries/000", id="first entry"),
    pytest.param(flip("tile/entries/001", -1), "entry 511: tile/entries/001", id="inner entry"),
    pytest.param(remove("tile/entries/001"), "tile/entries/001 is missing", id="no bundle"),
    pytest.param(remove("tile/entries/000"), "no purge is on record", id="no first bundle"),
    pytest.param(flip("tile/0/001", 64), "entry 258: tile/entries/001", id="leaf hash"),
    pytest.param(remove("tile/0/000"), "tile/0/000 is missing", id="no tile"),
    pytest.param(flip("tile/1/000.p/2", 33), "another root", id="node hash"),
]


@pytest.fixture
def signer() -> SoftwareSigner:
    """An audit key."""
    return SoftwareSigner()


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_damaged_log_is_not_opened(
    tmp_path: Path, signer: SoftwareSigner, damage: Damage, said: str
) -> None:
    """Whatever of it is damaged is named, and the spool keeps what it holds."""
    damage(write_shard(tmp_path, [numbered(600)], signer))
    segments = segments_of(tmp_path / "spool" / str(NAME))

    async def run() -> None:
        with pytest.raises(SpoolUnavailable, match=said):
            await open_shard(tmp_path, signer)

    asyncio.run(run())
    assert segments_of(tmp_path / "spool" / str(NAME)) == segments


@pytest.mark.parametrize(("damage", "said"), DAMAGES[:4])
def test_large_damaged_log_stands_still_once_it_is_found_out(
    tmp_path: Path,
    signer: SoftwareSigner,
    monkeypatch: pytest.MonkeyPatch,
    damage: Damage,
    said: str,
) -> None:
    """One too large to be rebuilt at once is opened, then refuses by name; every entry it accepted stays in the spool."""
    damage(write_shard(tmp_path, [numbered(600)], signer))
    monkeypatch.setattr(rebuild_module, "_AT_ONCE", 600)
    segments = segments_of(tmp_path / "spool" / str(NAME))

    async def run() -> None:
        shard = await open_shard(tmp_path, signer)
        await shard.rebuilt()
        with pytest.raises(SpoolUnavailable, match=said):
            shard.append(make_entry())
        assert shard.is_overdue
        await shard.aclose()

    asyncio.run(run())
    assert set(segments) <= set(segments_of(tmp_path / "spool" / str(NAME)))


def test_large_log_drops_nothing_before_it_is_rebuilt(
    tmp_path: Path, signer: SoftwareSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the rebuild lasts entries are accepted and covered; segments go only afterwards."""
    write_shard(tmp_path, [numbered(600)], signer)
    monkeypatch.setattr(rebuild_module, "_AT_ONCE", 600)
    spool = tmp_path / "spool" / str(NAME)
    first = segments_of(spool)[0]

    async def run() -> None:
        with monkeypatch.context() as slow:
            slow.setattr(rebuild_module.Rebuild, "run", lambda _: None)
            shard = await open_shard(tmp_path, signer)
            await shard.append_many(numbered(300))
            await until(lambda: shard.covered == 902)
            await shard.aclose()
        assert first in segments_of(spool)
        shard = await open_shard(tmp_path, signer)
        await shard.rebuilt()
        await shard.append_many(numbered(1))
        await until(lambda: first not in segments_of(spool))
        await shard.aclose()

    asyncio.run(run())
    assert len(covered_by(tmp_path / "log" / str(NAME), signer.pem)) == 904


def test_purged_log_is_rebuilt_from_what_is_kept(tmp_path: Path, signer: SoftwareSigner) -> None:
    """Bundles that a purge has dropped are not missed; one more is."""
    directory = write_shard(tmp_path, [numbered(600)], signer)
    settings = make_settings(tmp_path, signer)
    asyncio.run(purge_log(NAME, 256, settings, signer, SystemClock()))
    write_shard(tmp_path, [numbered(1)], signer)
    shutil.rmtree(directory / "tile/entries/001.p", ignore_errors=True)
    (directory / "tile/entries/001").unlink()

    async def run() -> None:
        with pytest.raises(SpoolUnavailable, match="entries before 512 are missing"):
            await open_shard(tmp_path, signer)

    asyncio.run(run())


def test_damaged_log_is_not_closed(
    tmp_path: Path, signer: SoftwareSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log is closed for good, and its spool removed, only once it is rebuilt."""
    flip("tile/entries/000", 200)(write_shard(tmp_path, [numbered(600)], signer))
    monkeypatch.setattr(rebuild_module, "_AT_ONCE", 600)

    async def run() -> bool:
        return await close_log(await open_shard(tmp_path, signer), SystemClock())

    assert not asyncio.run(run())
    assert segments_of(tmp_path / "spool" / str(NAME))
