"""What changes on disk while the service runs: conventions, taken as a whole or not at all, and CRLs, seen without a reload."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from appliance import supervisor, wiring
from appliance.config import Config, load_config
from appliance.conventions.loader import ConventionChanges
from appliance.conventions.registry import Registry
from tests.homes import copy_home, edit
from tests.messages import Signing, make_vector
from tests.partners import write_provider
from tests.pki import Pki, make_crl, make_pki
from tests.service import RunningService, serve, wait_until


def test_changes_are_taken_once_they_rest(tmp_path: Path) -> None:
    """A change is reported once, when a second look sees the same; other files do not count."""
    changes = ConventionChanges(tmp_path)
    assert not changes.settled()
    (tmp_path / "a.toml").write_text("a")
    assert not changes.settled()
    (tmp_path / "b.toml").write_text("b")
    assert not changes.settled()
    assert changes.settled()
    assert not changes.settled()
    (tmp_path / "notes.txt").write_text("c")
    assert [changes.settled(), changes.settled()] == [False, False]
    (tmp_path / "a.toml").unlink()
    assert [changes.settled(), changes.settled(), changes.settled()] == [False, True, False]


@pytest.mark.hsm
@pytest.mark.slow
def test_changed_files_are_taken_under_load_without_a_failed_request(
    demo_home: Path, tmp_path: Path
) -> None:
    """Nobody sends a signal: changed files are taken by all workers; a broken one changes nothing; no request fails."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    client = home / "conventions" / "demo-client.toml"
    with serve(home) as running:
        stop = threading.Event()

        def issue_until_stopped() -> set[int]:
            statuses = set()
            while not stop.is_set():
                statuses.add(running.issue().status)
            return statuses

        with ThreadPoolExecutor(3) as pool:
            users = [pool.submit(issue_until_stopped) for _ in range(3)]
            try:
                edit(client, '"PAGM_GESTION"]', '"PAGM_GESTION", "PAGM_NEUF"]')
                _wait_for_all(running, "PAGM_NEUF", 200)
                edit(client, "role =", "rôle =")
                wait_until(lambda: "reload-refused" in running.errors.read_text(), 30, "a refusal")
                _wait_for_all(running, "PAGM_NEUF", 200)
                edit(client, "rôle =", "role =")
                edit(client, '# lifetime = "1h"', 'lifetime = "9999999999d"')
                wait_until(lambda: "31d at most" in running.errors.read_text(), 30, "a refusal")
                edit(client, 'lifetime = "9999999999d"', '# lifetime = "1h"')
                edit(client, ', "PAGM_NEUF"]', "]")
                _wait_for_all(running, "PAGM_NEUF", 403)
            finally:
                stop.set()
            assert set().union(*(user.result(30) for user in users)) == {200}


def _wait_for_all(running: RunningService, pagm: str, status: int) -> None:
    """Wait until twenty requests in a row, whichever worker they reach, are answered alike."""

    def agree() -> bool:
        return {running.issue(pagms=[pagm]).status for _ in range(20)} == {status}

    wait_until(agree, 40, f"{pagm} to be answered {status} by every worker")


def _write_trust(directory: Path, pki: Pki, now: datetime) -> None:
    pki.write(directory)
    for at, authority in enumerate(pki.authorities):
        _publish(directory / "crl" / f"{at}.crl", make_crl(authority, **_period(now)))


def _period(now: datetime) -> dict[str, datetime]:
    return {"begins": now - timedelta(hours=1), "ends": now + timedelta(days=2)}


def _publish(file: Path, crl: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(crl)
    new.replace(file)


@pytest.mark.hsm
@pytest.mark.slow
def test_crl_published_while_serving(demo_home: Path, tmp_path: Path) -> None:
    """A signer is accepted until its CA publishes that it is revoked; without a current CRL nobody is; nothing is restarted."""
    now, pki = datetime.now(UTC), make_pki("partner")
    home = copy_home(demo_home, tmp_path)
    _write_trust(home / "pki" / "partner", pki, now)
    write_provider(home, "partner", "pki/partner")
    crl = home / "pki" / "partner" / "crl" / "2.crl"
    vector = make_vector(
        Signing(pki.leaf),
        issue_instant=now.isoformat(),
        confirmation_not_on_or_after=(now + timedelta(hours=2)).isoformat(),
        not_before=(now - timedelta(minutes=5)).isoformat(),
        not_on_or_after=(now + timedelta(hours=2)).isoformat(),
    )
    with serve(home) as running:

        def reason() -> str:
            answer = running.verify(vector).json
            return "accepted" if answer["verdict"] == "accepted" else answer["fault"]["reason"]

        assert reason() == "accepted"
        _publish(crl, make_crl(pki.issuing, [pki.leaf], **_period(now)))
        wait_until(lambda: reason() == "certificate-revoked", 20, "the revocation")
        past = {"begins": now - timedelta(days=3), "ends": now - timedelta(days=1)}
        _publish(crl, make_crl(pki.issuing, **past))
        wait_until(lambda: reason() == "revocation-unknown", 20, "the stale CRL to count")
        _publish(crl, make_crl(pki.issuing, **_period(now)))
        wait_until(lambda: reason() == "accepted", 20, "the current CRL to count")
        assert "crl-runs-out" in running.errors.read_text()


@pytest.mark.hsm
@pytest.mark.slow
def test_vectors_are_given_again_as_the_file_says(demo_home: Path, tmp_path: Path) -> None:
    """`reuse.allowed` in a convention file: the second request for the same statement gets the same octets."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "conventions" / "demo-client.toml", "# allowed = false", "allowed = true")
    with serve(home) as running:
        answers = [running.issue() for _ in range(2)]
        assert [each.status for each in answers] == [200, 200]
        first, second = [each.json for each in answers]
    assert (first["reused"], second["reused"]) == (False, True)
    assert first["assertion"] == second["assertion"]


@pytest.mark.hsm
@pytest.mark.slow
def test_no_vector_outlives_its_convention(demo_home: Path, tmp_path: Path) -> None:
    """A file that is changed and changed back: a vector from before is not given out again, by any worker."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", "# workers = 1", "workers = 2")
    client = home / "conventions" / "demo-client.toml"
    edit(client, "# allowed = false", "allowed = true")
    with serve(home) as running:
        before = {running.issue().json["assertion"] for _ in range(10)}
        assert len(before) == 1
        edit(client, '"PAGM_CONSULTATION", ', "")
        _wait_for_all(running, "PAGM_CONSULTATION", 403)
        edit(client, '"PAGM_GESTION"', '"PAGM_CONSULTATION", "PAGM_GESTION"')
        _wait_for_all(running, "PAGM_CONSULTATION", 200)
        after = [running.issue().json for _ in range(10)]
        assert all(each["reused"] for each in after)
        assert not before & {each["assertion"] for each in after}


def test_reload_that_meets_a_defect_is_refused(
    demo_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong in a reload, its verdict is said: refused, and why."""

    def fail(_config: Config) -> Registry:
        raise ArithmeticError("beyond all bounds")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(supervisor, "build_registry", fail)
    served = supervisor._Supervisor(load_config(demo_home), "127.0.0.1:0")
    asyncio.run(served._reload())
    said = {record.message: record for record in caplog.records}
    assert "ArithmeticError: beyond all bounds" in str(vars(said["reload-refused"]))
    assert "reloaded" not in said


def test_worker_that_meets_a_defect_answers(
    demo_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot load, for whatever reason, says so, and follows the next order; what it had loaded before is no more."""

    def fail(_root: Path) -> Config:
        raise ArithmeticError("beyond all bounds")

    config = load_config(demo_home)
    monkeypatch.setattr(wiring, "load_config", fail)
    control = wiring._Control(config, None, None, None, None)  # type: ignore[arg-type]  # loading ends before it needs them
    control._loaded = cast("wiring._Loaded", "an earlier generation, which nobody committed")

    async def run() -> list[str]:
        return [await control._follow(order, "2") for order in ("load", "commit")]

    assert asyncio.run(run()) == ["a defect of ours: ArithmeticError", "discarded 2"]
