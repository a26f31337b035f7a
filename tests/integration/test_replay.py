"""A vector that comes twice: off, log, refuse; under concurrency, restarts and full tables."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.cache.replay_guard import LocalReplayGate, Received, ReplayGuard, prepare_guard
from appliance.clock import FixedClock
from appliance.conventions.model import Period
from appliance.errors import ReplayGuardFull, SpoolUnavailable
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, VerifyOperation, verdict_of
from tests.fault_disk import FaultDisk
from tests.homes import copy_home, edit
from tests.integration.test_reuse import MovingClock
from tests.issuing import Room, make_room
from tests.messages import Signing, make_vector
from tests.partners import CONTEXT, make_provider, make_registry
from tests.pki import NOW, Pki, make_pki
from tests.service import serve, wait_until


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


async def present(room: Room, *messages: bytes) -> list[Verdict]:
    """Present messages one after the other."""
    return [await room.verify.verify(message, CONTEXT, None, None) for message in messages]


def code(verdict: Verdict) -> str:
    """What came of it."""
    return "accepted" if verdict.fault is None else verdict.fault.reason.value


@pytest.mark.parametrize(
    ("policy", "second", "is_flagged"),
    [("off", "accepted", False), ("log", "accepted", True), ("refuse", "replayed", True)],
)
def test_policies(pki: Pki, tmp_path: Path, policy: str, second: str, *, is_flagged: bool) -> None:
    """The second time is accepted, accepted and flagged in the trace, or refused with vi:InvalidVI, the last of all checks."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))

    async def run() -> tuple[list[Verdict], list[bool]]:
        async with make_room(tmp_path, {}, make_provider(tmp_path, replay=policy)) as room:
            verdicts = await present(room, message, message)
            return verdicts, [entry.replayed for entry in room.entries()]

    verdicts, flags = asyncio.run(run())
    assert [code(verdict) for verdict in verdicts] == ["accepted", second]
    assert flags == [False, is_flagged]
    if policy == "refuse":
        fault = verdicts[1].fault
        assert fault is not None
        assert (fault.code, fault.string) == ("vi:InvalidVI", "Le VI est invalide")
        *before, last = verdicts[1].checks
        assert (last.name, last.outcome) == ("replay", "failed")
        assert {check.outcome for check in before} == {"passed", "not-run"}


def test_refused_vectors_are_not_remembered(pki: Pki, tmp_path: Path) -> None:
    """Only an accepted vector uses its ID up: one that is refused for anything else may come again."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))
    forged = message.replace(b"agent-0042", b"agent-0043")
    convention = make_provider(tmp_path, replay="refuse")

    async def run() -> list[str]:
        async with make_room(tmp_path, {}, convention) as room:
            return [code(each) for each in await present(room, forged, message, message, forged)]

    assert asyncio.run(run()) == ["digest-mismatch", "accepted", "replayed", "digest-mismatch"]


@pytest.mark.parametrize("policy", ["log", "refuse"])
def test_vector_whose_trace_fails_may_come_again(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """The trace's disk fails after the guard has recorded: no decision is given, and the retry is accepted, traced once and not as a replay."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))
    disk = FaultDisk()
    monkeypatch.setattr("appliance.trace.shard.Disk", lambda: disk)

    async def run() -> list[tuple[str, bool]]:
        convention = make_provider(tmp_path, replay=policy)
        async with make_room(tmp_path, {}, convention) as room:
            await _until_traced(room, pki)
            disk.is_ill = True
            for _ in range(2):
                with pytest.raises(SpoolUnavailable):
                    await room.verify.verify(message, CONTEXT, None, None)
            disk.is_ill = False
            await _until_traced(room, pki)
            [retried, again] = await present(room, message, message)
            assert code(retried) == "accepted"
            assert code(again) == ("replayed" if policy == "refuse" else "accepted")
            [first, second] = [e for e in room.entries() if e.assertion_sha256 == _sha256(message)]
            return [(str(each.verdict), each.replayed) for each in (first, second)]

    second = "refused" if policy == "refuse" else "accepted"
    assert asyncio.run(run()) == [("accepted", False), (second, True)]


async def _until_traced(room: Room, pki: Pki) -> None:
    """Present other vectors until the trace takes one again."""
    for _ in range(100):
        with contextlib.suppress(SpoolUnavailable):
            await room.verify.verify(make_vector(Signing(pki.leaf)), CONTEXT, None, None)
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the trace stays away")


def _sha256(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()


def test_process_killed_before_its_trace_uses_the_vector_up(pki: Pki, tmp_path: Path) -> None:
    """What the guard recorded before the end of a process stays recorded: the retry is refused by name, never accepted twice."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))
    convention = make_provider(tmp_path, replay="refuse")

    async def run() -> tuple[str, int]:
        async with make_room(tmp_path, {}, convention) as room:
            accepted = judge(Question(message), room.cell.current, NOW).accepted
            assert accepted is not None
            vector = accepted.vector
            came = Received(vector.issuer, vector.assertion_id, vector.not_on_or_after)
            with ReplayGuard(tmp_path / "replay.guard") as of_the_dead:
                of_the_dead.record(came, NOW)
            [retried] = await present(room, message)
            return code(retried), len(room.entries())

    assert asyncio.run(run()) == ("replayed", 1)


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [
        ("off", ["not-run", "not-run"]),
        ("log", ["passed", "flagged"]),
        ("refuse", ["passed", "failed"]),
    ],
)
def test_outcome_of_the_replay_check(
    pki: Pki, tmp_path: Path, policy: str, outcomes: list[str]
) -> None:
    """A vector that came before is never reported as having passed; nor is one that nobody asked about."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))

    async def run() -> list[Verdict]:
        async with make_room(tmp_path, {}, make_provider(tmp_path, replay=policy)) as room:
            return await present(room, message, message)

    checks = [verdict.checks[-1] for verdict in asyncio.run(run())]
    assert [check.name for check in checks] == ["replay", "replay"]
    assert [check.outcome for check in checks] == outcomes
    assert (checks[1].detail is not None) == (policy != "off")


def test_full_guard_refuses_where_once_is_the_rule(pki: Pki, tmp_path: Path) -> None:
    """With a full guard nothing is accepted that may come once only; where replays are merely logged, life goes on."""
    pki.write(tmp_path)
    messages = [make_vector(Signing(pki.leaf)) for _ in range(128)]

    async def run(policy: str) -> list[Verdict]:
        prepare_guard(tmp_path / f"{policy}.guard", 1, NOW)
        async with make_room(tmp_path, {}, make_provider(tmp_path, replay=policy)) as room:
            with ReplayGuard(tmp_path / f"{policy}.guard") as guard:
                verify = VerifyOperation(
                    room.cell, room.trace, FixedClock(NOW), LocalReplayGate(guard)
                )
                return [await verify.verify(each, CONTEXT, None, None) for each in messages]

    assert {code(verdict) for verdict in asyncio.run(run("log"))} == {"accepted"}
    with pytest.raises(ReplayGuardFull, match=r"replay\.capacity"):
        asyncio.run(run("refuse"))


def test_diagnosis_asks_nobody(pki: Pki, tmp_path: Path) -> None:
    """`appliance verify` leaves the guard alone, and says that this check was not run."""
    pki.write(tmp_path)
    registry = make_registry(make_provider(tmp_path, replay="refuse"))
    verdict = verdict_of(judge(Question(make_vector(Signing(pki.leaf))), registry, NOW))
    assert verdict.accepted is not None
    assert (verdict.checks[-1].name, verdict.checks[-1].outcome) == ("replay", "not-run")


@pytest.mark.hsm
@pytest.mark.slow
def test_one_vector_to_every_worker_at_the_same_instant(
    demo_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Of sixteen connections that present the same vector to four workers at once, one is accepted; a restart forgets nothing."""
    home = copy_home(demo_home, tmp_path_factory.mktemp("replay"))
    edit(home / "appliance.toml", "# workers = 1", "workers = 4")
    edit(home / "conventions" / "demo-provider.toml", '# replay = "log"', 'replay = "refuse"')
    with serve(home) as running:
        vectors = [_issue(running.port) for _ in range(5)]
        for vector in vectors:
            verdicts = _present_at_once(running.port, vector, 16)
            assert sorted(verdicts) == ["accepted", *["replayed"] * 15]
    with serve(home) as running:
        assert _verify(running.port, vectors[0]) == "replayed"


def _issue(port: int) -> bytes:
    body = json.dumps({"convention": "demo-client", "pagms": ["PAGM_GESTION"]})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/v1/vectors", body, {"Accept": "application/samlassertion+xml"})
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()


def _verify(port: int, vector: bytes, barrier: threading.Barrier | None = None) -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.connect()
        if barrier is not None:
            barrier.wait(20)
        connection.request("POST", "/v1/verifications", vector)
        verdict = json.loads(connection.getresponse().read())
    return verdict["fault"]["reason"] if verdict["verdict"] == "refused" else "accepted"


def _present_at_once(port: int, vector: bytes, times: int) -> list[str]:
    barrier = threading.Barrier(times)
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: _verify(port, vector, barrier), range(times)))


def test_judgement_knows_the_policy(pki: Pki, tmp_path: Path) -> None:
    """What is accepted carries its convention's policy; the registry knows how long after its end anybody would still take it."""
    pki.write(tmp_path)
    convention = replace(make_provider(tmp_path), replay="refuse", skew=5.0)
    registry = make_registry(convention, replace(convention, id="other", skew=7.0))
    accepted = judge(Question(make_vector(Signing(pki.leaf))), registry, NOW).accepted
    assert accepted is not None
    assert accepted.replay == "refuse"
    assert registry.longest_skew == timedelta(seconds=7)
    assert make_registry().longest_skew == timedelta(0)


@pytest.mark.parametrize("is_reloaded", [False, True])
def test_next_convention_that_tolerates_more(
    pki: Pki, tmp_path: Path, *, is_reloaded: bool
) -> None:
    """A vector accepted under a convention, and expired there, is refused as a replay by the one that follows and tolerates more; a reload in between changes nothing."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf))
    change = NOW + timedelta(hours=2, seconds=30)
    first = replace(
        make_provider(tmp_path), id="first", replay="refuse", skew=1.0, period=Period(None, change)
    )
    second = replace(first, id="second", skew=300.0, period=Period(change, None))
    before = (first,) if is_reloaded else (first, second)
    clock = MovingClock()

    async def run() -> list[str]:
        async with make_room(tmp_path, {}, *before, clock=clock) as room:
            found = await present(room, message, message)
            for clock.instant in (change - timedelta(seconds=1), change):
                room.cell.current = make_registry(first, second)
                found += await present(room, message)
            return [code(each) for each in found]

    codes = asyncio.run(run())
    assert codes == ["accepted", "replayed", codes[2], "replayed"]
    assert codes[2] != "accepted"


@pytest.mark.hsm
@pytest.mark.slow
def test_reload_that_tolerates_more_opens_no_gap(demo_home: Path, tmp_path: Path) -> None:
    """A vector accepted, replayed and expired stays a replay when a reload raises `skew`: the running service never takes it twice."""
    home = copy_home(demo_home, tmp_path)
    provider = home / "conventions" / "demo-provider.toml"
    edit(home / "conventions" / "demo-client.toml", '# lifetime = "1h"', 'lifetime = "2s"')
    edit(provider, '# replay = "log"', 'replay = "refuse"')
    edit(provider, '# skew = "60s"', 'skew = "0s"')
    with serve(home) as running:
        accepted: list[bytes] = []

        def is_accepted() -> bool:
            accepted.append(_issue(running.port))
            return _verify(running.port, accepted[-1]) == "accepted"

        wait_until(is_accepted, 60, "a vector to be accepted before it expires")
        wait_until(
            lambda: _verify(running.port, accepted[-1]) == "expired", 60, "the vector to expire"
        )
        edit(provider, 'skew = "0s"', 'skew = "5m"')
        running.process.send_signal(signal.SIGHUP)
        found: list[str] = []

        def is_taken_in() -> bool:
            found.append(_verify(running.port, accepted[-1]))
            return found[-1] != "expired"

        wait_until(is_taken_in, 60, "the reload")
        assert found[-1] == "replayed"


@pytest.mark.parametrize("policy", ["off", "log", "refuse"])
@pytest.mark.parametrize("end", ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:00Z"])
def test_vector_that_ends_with_the_calendar(
    pki: Pki, tmp_path: Path, policy: str, end: str
) -> None:
    """A vector that ends in the last minute there is, with the tolerance of the clocks beyond it, is decided on and traced like any other."""
    pki.write(tmp_path)
    message = make_vector(Signing(pki.leaf), not_on_or_after=end)

    async def run() -> tuple[list[str], int]:
        async with make_room(tmp_path, {}, make_provider(tmp_path, replay=policy)) as room:
            codes = [code(each) for each in await present(room, message, message)]
            return codes, len(room.entries())

    second = "replayed" if policy == "refuse" else "accepted"
    assert asyncio.run(run()) == (["accepted", second], 2)
