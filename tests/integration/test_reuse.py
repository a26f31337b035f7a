"""One vector for several calls: when, for whom, and never past what it states."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from appliance.cache.shared_memory import SharedMemory, prepare_shared_memory
from appliance.cache.vector_cache import CacheLimits, VectorCache
from appliance.conventions.registry import Registry
from appliance.errors import ApplianceError, HsmUnavailable, Reason
from appliance.signing.keyring import Keyring
from appliance.vectors.model import IssuedVector, RequestContext, VectorRequest
from tests.issuing import KeyRef, Room, make_room
from tests.partners import CLIENT, CONTEXT
from tests.pki import NOW, make_pki, rsa_key, write_pem

PKI = make_pki("partner")
HOLDERS = {"signer": PKI.leaf, "next": PKI.certify_leaf("next", rsa_key("next"))}
REUSING = replace(CLIENT, reuse=True, reuse_margin=60.0)
REQUEST = VectorRequest("client", subject="agent-0042", pagms=("PAGM_CONSULTATION",))


@dataclass
class MovingClock:
    """A wall clock that a test moves."""

    instant: datetime = NOW

    def now(self) -> datetime:
        """The wall time."""
        return self.instant

    def monotonic(self) -> float:
        """Seconds since 1970, which never go back in these tests' deadlines."""
        return time.monotonic()


def run(
    directory: Path,
    script: Callable[[Room, MovingClock], Awaitable[object]],
    *conventions: object,
    vectors: VectorCache | None = None,
) -> object:
    """Run a script in a room."""
    clock = MovingClock()
    directory.mkdir(exist_ok=True)

    async def main() -> object:
        wanted = conventions or (REUSING,)
        async with make_room(directory, HOLDERS, *wanted, vectors=vectors, clock=clock) as room:
            return await script(room, clock)

    return asyncio.run(main())


def test_same_statement_same_vector(tmp_path: Path) -> None:
    """A second request for the same statement gets the same octets, flagged, with a brief trace that leads to the creation."""

    async def script(room: Room, clock: MovingClock) -> list[IssuedVector]:
        clock.instant += timedelta(minutes=1)
        other = RequestContext("request-2", CONTEXT.caller, CONTEXT.peer)
        first, second = [await room.issue.issue(REQUEST, each) for each in (CONTEXT, other)]
        assert len(room.signer.calls) == 1
        created, reused = room.entries()
        assert (reused.event, reused.request_id) == ("reused", "request-2")
        place = first.receipt.log, first.receipt.index
        assert (reused.creation_log, reused.creation_index) == place
        assert (reused.issuer, reused.assertion_id) == (created.issuer, created.assertion_id)
        assert (reused.subject, reused.pagms, reused.assertion_sha256) == (None, (), None)
        return [first, second]

    first, second = run(tmp_path, script)
    assert (first.reused, second.reused) == (False, True)
    assert first.vector.assertion.octets == second.vector.assertion.octets
    assert second.receipt.index == first.receipt.index + 1


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "agent-0043"},
        {"subject": None},
        {"pagms": ("PAGM_GESTION",)},
        {"pagms": ("PAGM_CONSULTATION", "PAGM_GESTION")},
        {"authn_context": CLIENT.levels[1]},
        {"authn_instant": "2026-03-02T09:00:00Z"},
        {"attributes": {"service": ("a",)}},
        {"reuse": False},
    ],
)
def test_anything_else_is_another_vector(tmp_path: Path, change: dict[str, object]) -> None:
    """Whatever a vector states besides, or a request that declines reuse, needs a vector of its own."""

    async def script(room: Room, _clock: MovingClock) -> list[bytes]:
        wanted = [REQUEST, msgspec.structs.replace(REQUEST, **change)]
        return [(await room.issue.issue(each, CONTEXT)).vector.assertion.octets for each in wanted]

    first, second = run(tmp_path, script)
    assert first != second


def test_never_within_the_margin_of_its_end(tmp_path: Path) -> None:
    """The last second before the margin it is given out, from the margin on a new one is made; so is it when the clock goes back."""

    async def script(room: Room, clock: MovingClock) -> list[bool]:
        reused = []
        for seconds in (0, 3539.999, 3540, 3540 + 3539, 0):
            clock.instant = NOW + timedelta(seconds=seconds)
            reused.append((await room.issue.issue(REQUEST, CONTEXT)).reused)
        return reused

    assert run(tmp_path, script) == [False, True, False, True, False]


def test_convention_without_reuse(tmp_path: Path) -> None:
    """Without the convention's leave every request is signed."""

    async def script(room: Room, _clock: MovingClock) -> int:
        for _ in range(3):
            assert not (await room.issue.issue(REQUEST, CONTEXT)).reused
        return len(room.signer.calls)

    assert run(tmp_path, script, CLIENT) == 3


def test_changed_convention_or_key_ends_reuse(tmp_path: Path) -> None:
    """A vector made under another wording of the convention, or with another key, is not given out any more."""

    async def script(room: Room, _clock: MovingClock) -> list[bool]:
        reused = []
        for convention in (
            REUSING,
            REUSING,
            replace(REUSING, lifetime=1800.0),
            replace(REUSING, pagms=REUSING.pagms | {"PAGM_NEUF"}),
            replace(REUSING, key="next"),
            replace(REUSING, key_info="leaf"),
        ):
            room.cell.current = Registry([convention])
            reused.append((await room.issue.issue(REQUEST, CONTEXT)).reused)
        return reused

    assert run(tmp_path, script) == [False, True, *[False] * 4]


def test_renewed_certificate_ends_reuse(tmp_path: Path) -> None:
    """The certificate stands in the vector: with another one for the same key, no earlier vector will do."""
    renewed = PKI.certify_leaf("application", PKI.leaf.key)

    async def script(room: Room, _clock: MovingClock) -> list[bool]:
        found = [await room.issue.issue(REQUEST, CONTEXT) for _ in range(2)]
        write_pem(room.directory / "signer.pem", renewed, *reversed(PKI.authorities))
        room.keyring.adopt(Keyring.load([KeyRef("signer", room.directory / "signer.pem")]))
        found += [await room.issue.issue(REQUEST, CONTEXT) for _ in range(2)]
        return [each.reused for each in found]

    assert run(tmp_path, script) == [False, True, False, True]


def test_requests_that_miss_together_are_signed_once(tmp_path: Path) -> None:
    """Single flight: of a hundred requests at once, in batches and alone, one is signed; each is traced."""

    async def script(room: Room, _clock: MovingClock) -> None:
        batches = [room.issue.issue_batch([REQUEST] * 10, CONTEXT) for _ in range(9)]
        singles = [room.issue.issue_batch([REQUEST], CONTEXT) for _ in range(10)]
        found = [one for many in await asyncio.gather(*batches, *singles) for one in many]
        assert len(found) == 100
        assert len({each.vector.assertion.octets for each in found}) == 1
        assert sum(not each.reused for each in found) == 1
        assert sum(map(len, room.signer.calls)) == 1
        assert len(room.entries()) == 100

    run(tmp_path, script)


def test_those_who_wait_hear_of_a_failure(tmp_path: Path) -> None:
    """When the signature cannot be made, all who waited are told why, and the next request tries again."""

    async def script(room: Room, _clock: MovingClock) -> None:
        room.signer.failure = HsmUnavailable(Reason.HSM_UNAVAILABLE, "the token is away")
        found = await room.issue.issue_batch([REQUEST] * 3, CONTEXT)
        assert all(isinstance(each, ApplianceError) for each in found)
        assert {str(each) for each in found} == {"the token is away"}
        room.signer.failure = None
        assert not (await room.issue.issue(REQUEST, CONTEXT)).reused

    run(tmp_path, script)


def test_cancelled_leader_leaves_nobody_waiting(tmp_path: Path) -> None:
    """When the request that signs is given up, those who wait get an answer, and the next one signs."""

    async def script(room: Room, _clock: MovingClock) -> None:
        gate = asyncio.Event()
        sign_many = room.signer.sign_many

        async def slow(jobs):
            await gate.wait()
            return await sign_many(jobs)

        room.signer.sign_many = slow
        leader = asyncio.create_task(room.issue.issue(REQUEST, CONTEXT))
        await asyncio.sleep(0)
        follower = asyncio.create_task(room.issue.issue(REQUEST, CONTEXT))
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(HsmUnavailable, match="given up"):
            await follower
        gate.set()
        assert not (await room.issue.issue(REQUEST, CONTEXT)).reused

    run(tmp_path, script)


def test_memory_is_bounded_by_count_and_octets(tmp_path: Path) -> None:
    """The vectors used last stay; neither bound is passed, and a bound too small for one vector keeps none."""

    async def fill(room: Room, _clock: MovingClock) -> None:
        wanted = [msgspec.structs.replace(REQUEST, subject=f"agent-{at}") for at in range(20)]
        await room.issue.issue_batch(wanted, CONTEXT)
        await room.issue.issue(wanted[0], CONTEXT)

    for limits, held in (
        (CacheLimits(5, 10**9), 5),
        (CacheLimits(100, 50_000), 6),
        (CacheLimits(5, 100), 0),
    ):
        vectors = VectorCache(limits)
        run(tmp_path / str(limits.vectors + limits.octets), fill, vectors=vectors)
        assert len(vectors) <= held
        assert vectors.octets <= limits.octets
        assert (len(vectors) == 0) == (held == 0)


def test_workers_share(tmp_path: Path) -> None:
    """A vector made by one worker is given out by another, verified again first; its trace leads to where it was made."""
    prepare_shared_memory(tmp_path / "shared", 1024**2)

    async def script(room: Room, _clock: MovingClock) -> IssuedVector:
        return await room.issue.issue(REQUEST, CONTEXT)

    found = []
    for worker in range(3):
        with SharedMemory(tmp_path / "shared") as shared:
            vectors = VectorCache(CacheLimits(10, 10**7), (shared,))
            found.append(run(tmp_path / str(worker), script, vectors=vectors))
    assert [each.reused for each in found] == [False, True, True]
    assert len({each.vector.assertion.octets for each in found}) == 1


def test_what_is_damaged_is_signed_anew(tmp_path: Path) -> None:
    """Shared octets that were changed, or signed by another key, are no vector of ours."""
    prepare_shared_memory(tmp_path / "shared", 1024**2)

    async def script(room: Room, _clock: MovingClock) -> IssuedVector:
        return await room.issue.issue(REQUEST, CONTEXT)

    class Forger(SharedMemory):
        async def find(self, key: bytes) -> bytes | None:
            octets = await super().find(key)
            return None if octets is None else octets.replace(b"agent-0042", b"agent-0043")

    found = []
    for worker, kind in enumerate((SharedMemory, Forger)):
        with kind(tmp_path / "shared") as shared:
            vectors = VectorCache(CacheLimits(10, 10**7), (shared,))
            found.append(run(tmp_path / str(worker), script, vectors=vectors))
    assert [each.reused for each in found] == [False, False]
    assert b"agent-0043" not in found[1].vector.assertion.octets


SUBJECTS = ("agent-1", "agent-2", None)
moves = st.lists(
    st.tuples(
        st.sampled_from(SUBJECTS),
        st.sampled_from((("PAGM_CONSULTATION",), ("PAGM_GESTION",))),
        st.sampled_from(("client", "other")),
        st.sampled_from(("signer", "next")),
        st.integers(-600, 4000),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(moves)
def test_no_vector_crosses_a_boundary(
    tmp_path_factory: pytest.TempPathFactory,
    moves: list[tuple[str | None, tuple[str, ...], str, str, int]],
) -> None:
    """Whatever was asked before, under whatever reload and clock: a vector states this user, PAGM, partner, key, and is alive."""
    tmp_path = tmp_path_factory.mktemp("room")
    other = replace(REUSING, id="other", audience="http://autre", issuer="urn:nous:autre")

    async def script(room: Room, clock: MovingClock) -> None:
        for subject, pagms, convention, key, seconds in moves:
            clock.instant = NOW + timedelta(seconds=seconds)
            room.cell.current = Registry([replace(each, key=key) for each in (REUSING, other)])
            request = VectorRequest(convention, subject=subject, pagms=pagms)
            issued = await room.issue.issue(request, CONTEXT)
            stated = issued.vector.unsigned
            assert (stated.request.subject, stated.request.pagms) == (subject, pagms)
            assert (stated.request.convention, stated.request.key) == (convention, key)
            text = issued.vector.assertion.octets.decode()
            assert f">{subject or 'NON_RENSEIGNE'}<" in text
            assert f">{pagms[0]}<" in text
            assert (">http://autre<" in text) == (convention == "other")
            ends = datetime.fromisoformat(stated.not_on_or_after)
            begins = datetime.fromisoformat(stated.not_before)
            assert begins <= clock.instant
            assert clock.instant < ends - timedelta(seconds=60)

    run(tmp_path, script)


def test_nothing_made_before_a_reload_is_given_out(tmp_path: Path) -> None:
    """A convention that is changed and changed back: what this process, others, or a request under way hold from before is past."""
    prepare_shared_memory(tmp_path / "shared", 1024**2)

    async def script(room: Room, clock: MovingClock) -> list[bool]:
        found = [await room.issue.issue(REQUEST, CONTEXT) for _ in range(2)]
        clock.instant += timedelta(seconds=1)
        vectors.clear(clock.instant)
        found += [await room.issue.issue(REQUEST, CONTEXT) for _ in range(2)]
        return [each.reused for each in found]

    with SharedMemory(tmp_path / "shared") as shared:
        vectors = VectorCache(CacheLimits(10, 10**7), (shared,))
        assert run(tmp_path / "room", script, vectors=vectors) == [False, True, False, True]


@pytest.mark.parametrize("reloads", [False, True])
def test_those_who_waited_too_long_get_their_own(tmp_path: Path, *, reloads: bool) -> None:
    """A vector that came within its margin, or before a reload, while others waited for it is for the first alone."""

    async def script(room: Room, clock: MovingClock) -> None:
        gate = asyncio.Event()
        sign_many = room.signer.sign_many

        async def slow(jobs):
            await gate.wait()
            return await sign_many(jobs)

        room.signer.sign_many = slow
        waiting = [asyncio.create_task(room.issue.issue(REQUEST, CONTEXT)) for _ in range(3)]
        await asyncio.sleep(0)
        clock.instant += timedelta(seconds=1 if reloads else 3540)
        if reloads:
            vectors.clear(clock.instant)
        gate.set()
        found = await asyncio.gather(*waiting)
        assert [each.reused for each in found] == [False] * 3
        assert len({each.vector.unsigned.assertion_id for each in found}) == 3
        assert len(room.entries()) == 3

    vectors = VectorCache(CacheLimits(10, 10**7))
    run(tmp_path, script, vectors=vectors)
