"""The signing queue through its public interface, its lanes on real sockets: batches, bounds, deadlines, and lanes that fail."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from appliance.errors import HsmUnavailable, InternalError, QueueFull, Reason
from appliance.signing import lanes
from appliance.signing.job import SigningJob, SigningResult
from appliance.signing.news import TokenNews
from appliance.signing.queue import SigningQueue
from appliance.signing.settings import QueueSettings
from hsm.wire import Refused, SignedFrame, SignFailure, SignFrame, write_frame
from tests.fake_lane import FakeLane, fake_lane
from tests.pki import Holder, ec_key, make_pki
from tests.softhsm import verifies
from tests.virtual_time import run_virtually

HOLDER = Holder(ec_key("lane"), make_pki("partner").leaf.certificate, None)
HOLDERS = {"key": HOLDER}
FOREVER = 60.0
_numbers = count()


class AheadClock:
    """The machine's clock, moved ahead on command."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        """Never asked."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic() + self.ahead


@dataclass
class Bench:
    """A queue and the lanes it signs with."""

    queue: SigningQueue
    lanes: list[FakeLane]
    clock: AheadClock

    async def sign(self, job: SigningJob) -> bytes:
        """Sign one job."""
        return await self.queue.sign(job.key, job.hash_name, job.digest, job.deadline)

    async def check_signs(self) -> None:
        """Have a job signed."""
        job = make_job()
        assert is_signed(job, await self.sign(job))

    def submit(self, job: SigningJob) -> "asyncio.Task[bytes]":
        """Begin to sign one job."""
        return asyncio.create_task(self.sign(job))

    def submit_many(self, jobs: int) -> "asyncio.Task[Sequence[SigningResult]]":
        """Begin to sign so many jobs in one call."""
        return asyncio.create_task(self.queue.sign_many([make_job() for _ in range(jobs)]))

    async def occupy(self) -> "asyncio.Task[bytes]":
        """Give every lane a frame it does not answer, and return the call that waits for the first."""
        tasks = []
        for lane in self.lanes:
            lane.gate.clear()
            tasks.append(self.submit(make_job()))
            await asyncio.sleep(0.001)
        for lane in self.lanes:
            await lane.receive(1)
        return tasks[0]

    async def wait_for_lanes(self, up: int) -> None:
        """Wait until so many lanes can be sent frames."""
        async with asyncio.timeout(10):
            while self.queue.lanes_up()["main"] != up:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.005)

    async def wait_for_jobs(self, outstanding: int) -> None:
        """Wait until so many jobs are accepted and not answered."""
        async with asyncio.timeout(10):
            while self.queue.outstanding != outstanding:  # noqa: ASYNC110 - the queue has no event for it
                await asyncio.sleep(0.001)


def make_job(key: str = "key", **fields: object) -> SigningJob:
    """A job like no other."""
    digest = hashlib.sha256(str(next(_numbers)).encode()).digest()
    job = {"hash_name": "sha256", "digest": digest, "deadline": time.monotonic() + FOREVER}
    return SigningJob(key, **(job | fields))


def is_signed(job: SigningJob, signature: object) -> bool:
    """Whether the signature is that job's and no other's."""
    assert isinstance(signature, bytes), signature
    return verifies(HOLDER.public_key, job.hash_name, job.digest, signature)


@asynccontextmanager
async def open_bench(directory: Path, lanes: int = 1, **settings: object) -> AsyncIterator[Bench]:
    """Open a queue with lanes that are up."""
    clock = AheadClock()
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(fake_lane(directory / f"{at}.sock", HOLDERS))
            for at in range(lanes)
        ]
        sockets = [lane.socket for lane in running]
        queue = SigningQueue({"main": sockets}, {"key": ["main"]}, QueueSettings(**settings), clock)
        queue.start()
        bench = Bench(queue, running, clock)
        await bench.wait_for_lanes(lanes)
        yield bench
        for lane in running:
            lane.gate.set()
        await queue.aclose(0.2)


Scene = Callable[[Bench], Awaitable[None]]


def run(directory: Path, scene: Scene, lanes: int = 1, **settings: object) -> None:
    """Play a scene."""

    async def play() -> None:
        async with open_bench(directory, lanes, **settings) as bench:
            await scene(bench)

    asyncio.run(play())


def test_a_digest_is_signed(short_path: Path) -> None:
    """The answer is the signature of the digest; the queue is empty again and knows when the key last signed."""

    async def scene(bench: Bench) -> None:
        assert bench.queue.last_signed("key") is None
        job = make_job()
        assert is_signed(job, await bench.sign(job))
        assert bench.queue.outstanding == 0
        assert bench.queue.last_signed("key") is not None
        assert bench.lanes[0].jobs == [job]

    run(short_path, scene)


def test_many_are_answered_in_their_order(short_path: Path) -> None:
    """A call with many jobs has its results in order, whatever lane signed each; both lanes have worked."""

    async def scene(bench: Bench) -> None:
        jobs = [make_job() for _ in range(300)]
        results = await bench.queue.sign_many(jobs)
        assert all(is_signed(*pair) for pair in zip(jobs, results, strict=True))
        assert all(lane.frames for lane in bench.lanes)
        assert await bench.queue.sign_many([]) == []

    run(short_path, scene, lanes=2)


def test_a_job_alone_does_not_wait(short_path: Path) -> None:
    """An idle lane is given a single job at once, whatever the age a batch may reach."""

    async def scene(bench: Bench) -> None:
        job = make_job()
        assert is_signed(job, await asyncio.wait_for(bench.sign(job), 10))
        assert [len(frame.jobs) for frame in bench.lanes[0].frames] == [1]

    run(short_path, scene, batch_age=3600.0)


def test_jobs_of_one_moment_travel_together(short_path: Path) -> None:
    """Callers that come in the same turn of the loop share a frame."""

    async def scene(bench: Bench) -> None:
        jobs = [make_job() for _ in range(4)]
        await asyncio.gather(*(bench.sign(job) for job in jobs))
        assert [len(frame.jobs) for frame in bench.lanes[0].frames] == [4]

    run(short_path, scene)


def test_a_busy_lane_gathers_by_age(short_path: Path) -> None:
    """While the lane is busy jobs wait for company until the first is old enough, then leave together."""

    async def scene(bench: Bench) -> None:
        await bench.occupy()
        tasks = []
        for at in range(3):
            tasks.append(bench.submit(make_job()))
            await bench.wait_for_jobs(at + 2)
        assert len(bench.lanes[0].frames) == 1
        await bench.lanes[0].receive(2)
        assert [len(frame.jobs) for frame in bench.lanes[0].frames] == [1, 3]
        bench.lanes[0].gate.set()
        await asyncio.gather(*tasks)

    run(short_path, scene, batch_age=0.5)


def test_a_batch_has_a_size(short_path: Path) -> None:
    """No frame holds more jobs than the configuration says, and a full one does not wait to grow old."""

    async def scene(bench: Bench) -> None:
        await bench.occupy()
        jobs = [make_job() for _ in range(9)]
        call = asyncio.create_task(bench.queue.sign_many(jobs))
        await bench.lanes[0].receive(2)
        bench.lanes[0].gate.set()
        assert all(is_signed(*pair) for pair in zip(jobs, await call, strict=True))
        assert max(len(frame.jobs) for frame in bench.lanes[0].frames) == 3

    run(short_path, scene, batch_jobs=3, batch_age=0.05)


def test_a_full_queue_refuses_by_name(short_path: Path) -> None:
    """With its number of jobs accepted the queue refuses the next at once, says when to come back, and recovers."""

    async def scene(bench: Bench) -> None:
        await bench.occupy()
        waiting = [bench.submit(make_job()) for _ in range(2)]
        await bench.wait_for_jobs(3)
        with pytest.raises(QueueFull, match="3 jobs") as raised:
            await bench.sign(make_job())
        assert raised.value.reason is Reason.QUEUE_FULL
        assert raised.value.retry_after >= 1
        assert bench.queue.outstanding == 3
        bench.lanes[0].gate.set()
        await asyncio.gather(*waiting)
        await bench.check_signs()

    run(short_path, scene, jobs=3)


def test_a_long_call_is_signed_as_far_as_there_is_room(short_path: Path) -> None:
    """What fits is signed, the rest is refused job by job, at its place."""

    async def scene(bench: Bench) -> None:
        jobs = [make_job() for _ in range(8)]
        results = await bench.queue.sign_many(jobs)
        assert all(is_signed(*pair) for pair in zip(jobs[:5], results[:5], strict=True))
        assert [result.reason for result in results[5:]] == [Reason.QUEUE_FULL] * 3

    run(short_path, scene, jobs=5)


def test_a_job_grows_too_old_in_the_line(short_path: Path) -> None:
    """A job that no lane has taken when it reaches its age is refused by name, and never signed later."""

    async def scene(bench: Bench) -> None:
        await bench.occupy()
        crowd = [bench.submit(make_job()) for _ in range(2)]
        await bench.lanes[0].receive(2)
        late = make_job()
        with pytest.raises(QueueFull) as raised:
            await bench.sign(late)
        assert raised.value.reason is Reason.QUEUE_TIMEOUT
        bench.lanes[0].gate.set()
        await asyncio.gather(*crowd)
        await bench.wait_for_jobs(0)
        assert late not in bench.lanes[0].jobs

    run(short_path, scene, age=0.2, batch_jobs=2)


def test_a_call_ends_by_its_deadline(short_path: Path) -> None:
    """A job on the way to a lane that does not answer is refused at its deadline; the late answer changes nothing."""

    async def scene(bench: Bench) -> None:
        first = await bench.occupy()
        with pytest.raises(QueueFull) as raised:
            await bench.sign(make_job(deadline=bench.clock.monotonic() + 0.1))
        assert raised.value.reason is Reason.QUEUE_TIMEOUT
        bench.lanes[0].gate.set()
        assert isinstance(await first, bytes)
        await bench.wait_for_jobs(0)
        await bench.check_signs()

    run(short_path, scene)


def test_a_deadline_travels_with_its_job(short_path: Path) -> None:
    """The lane is told the very deadline of each job, so that it spends no HSM time after it."""

    async def scene(bench: Bench) -> None:
        job = make_job(deadline=time.monotonic() + 12.5)
        await bench.sign(job)
        assert bench.lanes[0].jobs[0].deadline == job.deadline

    run(short_path, scene)


def test_a_caller_that_goes_away_harms_nobody(short_path: Path) -> None:
    """A cancelled call gives its place back, and the others are answered."""

    async def scene(bench: Bench) -> None:
        first = await bench.occupy()
        gone, stays = bench.submit(make_job()), bench.submit(make_job())
        await bench.wait_for_jobs(3)
        gone.cancel()
        bench.lanes[0].gate.set()
        assert isinstance(await first, bytes)
        assert isinstance(await stays, bytes)
        await bench.wait_for_jobs(0)

    run(short_path, scene)


def test_an_unknown_key_is_our_fault(short_path: Path) -> None:
    """A key no token holds is an internal error, and its neighbours in the call are signed."""

    async def scene(bench: Bench) -> None:
        known = make_job()
        unknown, signed = await bench.queue.sign_many([make_job("other"), known])
        assert isinstance(unknown, InternalError)
        assert is_signed(known, signed)
        assert bench.queue.last_signed("other") is None

    run(short_path, scene)


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("request", InternalError, Reason.INTERNAL),
        ("human", HsmUnavailable, Reason.HSM_UNAVAILABLE),
        ("expired", QueueFull, Reason.QUEUE_TIMEOUT),
    ],
)
def test_what_no_other_lane_would_do_better_is_answered(
    short_path: Path, kind: str, error: type[Exception], reason: Reason
) -> None:
    """A failure that is the job's or needs a person is answered at once, by blame, and the lane goes on."""

    async def scene(bench: Bench) -> None:
        bench.lanes[0].failure = SignFailure("CODE", kind, "in words")
        with pytest.raises(error) as raised:
            await bench.sign(make_job())
        assert raised.value.reason is reason
        assert len(bench.lanes[0].jobs) == 1
        bench.lanes[0].failure = None
        await bench.check_signs()

    run(short_path, scene)


@pytest.mark.parametrize("kind", ["session", "object", "login", "device", "capacity"])
def test_what_another_lane_may_do_better_is_tried_there(short_path: Path, kind: str) -> None:
    """A job that a failing lane could not sign is signed by the other one; its caller notices nothing."""

    async def scene(bench: Bench) -> None:
        bench.lanes[0].failure = SignFailure("CKR_DEVICE_ERROR", kind, "in words")
        jobs = [make_job() for _ in range(20)]
        results = await bench.queue.sign_many(jobs)
        assert all(is_signed(*pair) for pair in zip(jobs, results, strict=True))

    run(short_path, scene, lanes=2)


def test_what_a_lane_cannot_sign_waits_for_the_other_one(short_path: Path) -> None:
    """A job goes back to the lane that could not sign it only when no other is up, however long that one is busy; others pass."""

    async def scene() -> None:
        async with open_bench(short_path, lanes=2, age=FOREVER) as bench:
            full, busy = bench.lanes
            full.failure = SignFailure("CKR_HOST_MEMORY", "capacity", "in words")
            busy.gate.clear()
            jobs = [make_job() for _ in range(40)]
            call = asyncio.create_task(bench.queue.sign_many(jobs))
            await asyncio.sleep(0.5)
            bench.clock.ahead += 0.5  # the lane has rested
            await asyncio.sleep(0.5)
            assert len(busy.frames) == lanes.WINDOW
            tried = [job.digest for job in full.jobs]
            assert tried
            assert len(tried) == len(set(tried))
            full.failure = None
            async with asyncio.timeout(5):
                await bench.check_signs()  # behind those that wait
            assert not call.done()
            busy.gate.set()
            assert all(is_signed(*pair) for pair in zip(jobs, await call, strict=True))

    run_virtually(scene())


def test_a_job_that_fails_everywhere_is_given_up(short_path: Path) -> None:
    """After a few attempts the token is said to be unavailable, with what the lane said last."""

    async def scene(bench: Bench) -> None:
        bench.lanes[0].failure = SignFailure("CKR_DEVICE_ERROR", "device", "the HSM is on fire")
        with pytest.raises(HsmUnavailable, match="the HSM is on fire"):
            await bench.sign(make_job())
        assert 1 < len(bench.lanes[0].jobs) < 10

    run(short_path, scene)


def test_a_lane_that_dies_costs_no_job(short_path: Path) -> None:
    """Jobs on the way to a lane that dies are signed by the other one."""

    async def scene(bench: Bench) -> None:
        bench.lanes[0].gate.clear()
        jobs = [make_job() for _ in range(60)]
        call = asyncio.create_task(bench.queue.sign_many(jobs))
        await bench.lanes[0].receive(1)
        await bench.lanes[0].die()
        assert all(is_signed(*pair) for pair in zip(jobs, await call, strict=True))
        assert bench.queue.lanes_up() == {"main": 1}

    run(short_path, scene, lanes=2)


def test_a_lane_that_falls_silent_costs_no_job(short_path: Path) -> None:
    """Jobs on the way to a lane that answers nothing, and does not die either, are signed by the other one."""

    async def scene(bench: Bench) -> None:
        silent = bench.lanes[0]
        silent.call_timeout = 0.05
        await silent.die()
        await bench.wait_for_lanes(1)
        await silent.start()
        await bench.wait_for_lanes(2)
        silent.gate.clear()
        jobs = [make_job() for _ in range(60)]
        async with asyncio.timeout(FOREVER):
            signatures = await bench.queue.sign_many(jobs)
        assert silent.frames
        assert all(is_signed(*pair) for pair in zip(jobs, signatures, strict=True))

    run(short_path, scene, lanes=2)


def test_jobs_wait_for_the_replacement(short_path: Path) -> None:
    """With the only lane dead, jobs in flight and new ones wait, and the next lane on the socket signs them."""

    async def scene(bench: Bench) -> None:
        [lane] = bench.lanes
        lane.gate.clear()
        first = make_job()
        waiting = bench.submit(first)
        await lane.receive(1)
        await lane.die()
        await bench.wait_for_lanes(0)
        second = make_job()
        later = bench.submit(second)
        lane.gate.set()
        await lane.start()
        assert is_signed(first, await waiting)
        assert is_signed(second, await later)

    run(short_path, scene, age=10.0)


def test_without_lanes_jobs_are_refused_at_once(short_path: Path) -> None:
    """When no lane has been there for longer than a replacement takes, a job does not wait to be refused."""

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        bench.clock.ahead += 5
        with pytest.raises(HsmUnavailable, match="no lane of token `main` is up"):
            await bench.sign(make_job(deadline=bench.clock.monotonic() + FOREVER))

    run(short_path, scene)


def test_a_job_that_waits_is_refused_when_no_lane_comes(short_path: Path) -> None:
    """Once no lane has come for longer than a replacement takes, what already waits is refused too, however old it may grow."""

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        async with asyncio.timeout(FOREVER / 2):
            with pytest.raises(HsmUnavailable, match="no lane of token `main` is up"):
                await bench.sign(make_job())

    run(short_path, scene, age=FOREVER)


def test_what_the_supervisor_knows_refuses_the_whole_line(short_path: Path) -> None:
    """Told why no lane can be opened, the circuit opens and every waiting job is refused in the same turn of the loop, by that name."""
    gone = Refused("TOKEN_NOT_FOUND", "TOKEN_NOT_FOUND at token `main`: it is gone", "device")

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        call = bench.submit_many(100)
        await bench.wait_for_jobs(100)
        bench.queue.learn(TokenNews("main", gone))
        assert bench.queue.outstanding == 0
        results = await call
        assert {(type(each), each.detail) for each in results} == {(HsmUnavailable, gone.detail)}
        with pytest.raises(HsmUnavailable, match="it is gone"):
            await bench.sign(make_job())
        await bench.lanes[0].start()
        await bench.wait_for_lanes(1)
        await bench.check_signs()

    run(short_path, scene, age=FOREVER)


def test_circuit_that_opens_leaves_no_job_behind(short_path: Path) -> None:
    """When the last lane says that the device is lost, what travels on it and what waits is refused before anything else happens."""

    async def scene(bench: Bench) -> None:
        [lane] = bench.lanes
        travelling = await bench.occupy()
        call = bench.submit_many(100)
        await bench.wait_for_jobs(101)
        turns = 0
        seen: list[tuple[bool, int]] = []

        def look() -> None:
            nonlocal turns
            turns += 1
            is_open = bench.queue.lanes_up()["main"] == 0
            seen.append((is_open, bench.queue.outstanding))
            if not is_open:
                asyncio.get_running_loop().call_soon(look)

        look()
        await lane.say(Refused("CKR_DEVICE_REMOVED", "the device is gone", "device"))
        await lane.die()
        results = [*await call, *await asyncio.gather(travelling, return_exceptions=True)]
        assert all(isinstance(each, HsmUnavailable) for each in results)
        assert seen[-1] == (True, 0)
        assert {outstanding for is_open, outstanding in seen if not is_open} == {101}

    run(short_path, scene, age=FOREVER)


def test_open_circuit_refuses_before_anything_happens(short_path: Path) -> None:
    """Once it is known that a token is gone a job is refused in the very step in which it comes: no turn of the loop, no timer, no lane."""

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        bench.queue.learn(TokenNews("main", Refused("CODE", "it is gone", "device")))
        before = len(asyncio.all_tasks())
        for _ in range(3):
            with pytest.raises(HsmUnavailable, match="it is gone"):
                bench.sign(make_job()).send(None)
        results = finish_at_once(bench.queue.sign_many([make_job() for _ in range(100)]))
        assert {type(each) for each in results} == {HsmUnavailable}
        assert bench.queue.outstanding == 0
        assert len(asyncio.all_tasks()) == before
        assert bench.lanes[0].frames == []

    run(short_path, scene, age=FOREVER)


def finish_at_once(call: Coroutine[object, None, Sequence[SigningResult]]) -> object:
    """Take the first step of a call, which must be its last."""
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    return ended.value.value


@pytest.mark.parametrize("kind", ["session", "login", "object", "request"])
def test_what_a_new_lane_may_mend_closes_nothing(short_path: Path, kind: str) -> None:
    """Told of a failure that another lane is likely not to have, jobs wait for it; of one while a lane is up, they go there."""

    async def scene(bench: Bench) -> None:
        bench.queue.learn(TokenNews("main", Refused("CODE", "detail", "device")))
        bench.queue.learn(TokenNews("other", Refused("CODE", "detail", "device")))
        await bench.check_signs()
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        waiting = bench.submit(job := make_job())
        await bench.wait_for_jobs(1)
        bench.queue.learn(TokenNews("main", Refused("CODE", "detail", kind)))
        assert bench.queue.outstanding == 1
        await bench.lanes[0].start()
        assert is_signed(job, await waiting)

    run(short_path, scene, age=FOREVER)


def test_lane_that_is_said_to_be_up_is_looked_for_at_once(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause between two attempts to connect ends when the supervisor says that there is a lane."""
    for pause in ("_FIRST_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(lanes, pause, 1000.0)

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        await bench.lanes[0].start()
        bench.queue.learn(TokenNews("main"))
        await bench.wait_for_lanes(1)
        await bench.check_signs()

    run(short_path, scene, age=FOREVER)


def test_a_lane_that_dies_owing_an_answer_has_hung(short_path: Path) -> None:
    """The end of the only lane after its call timeout opens the circuit with that cause; nothing waits for a replacement."""

    async def scene(bench: Bench) -> None:
        [lane] = bench.lanes
        lane.call_timeout = 0.05
        await lane.die()
        await bench.wait_for_lanes(0)
        await lane.start()
        await bench.wait_for_lanes(1)
        await bench.check_signs()
        lane.gate.clear()
        travelling = bench.submit(make_job())
        await lane.receive(2)
        await asyncio.sleep(lane.call_timeout)
        await lane.die()
        with pytest.raises(HsmUnavailable, match="CALL_TIMEOUT at token `main`"):
            await travelling
        with pytest.raises(HsmUnavailable, match="CALL_TIMEOUT at token `main`"):
            await bench.sign(make_job())

    run(short_path, scene, age=FOREVER)


def test_without_lanes_a_waiting_job_ends_by_its_age(short_path: Path) -> None:
    """A job that came just before is refused as unavailable, not as a full queue: waiting would not help."""

    async def scene(bench: Bench) -> None:
        await bench.lanes[0].die()
        await bench.wait_for_lanes(0)
        with pytest.raises(HsmUnavailable):
            await bench.sign(make_job())

    run(short_path, scene, age=0.05)


def nonsense(_signed: SignedFrame) -> bytes:
    """Octets that are no reply."""
    return b"\0\0\0\1\xc1"


def too_large(_signed: SignedFrame) -> bytes:
    """A frame beyond the limit."""
    return b"\xff\xff\xff\xff"


def another_batch(signed: SignedFrame) -> bytes:
    """The answer to a frame that was not sent."""
    return write_frame(SignedFrame(signed.batch + 7, signed.results, signed.uses))


def too_few(signed: SignedFrame) -> bytes:
    """One result less than jobs."""
    return write_frame(SignedFrame(signed.batch, signed.results[:-1], signed.uses))


def refusal(_signed: SignedFrame) -> bytes:
    """A goodbye."""
    return write_frame(Refused("TOO_MANY_PEERS", "no room"))


def a_request(signed: SignedFrame) -> bytes:
    """What only a worker sends."""
    return write_frame(SignFrame(signed.batch, []))


@pytest.mark.parametrize(
    "rewrite", [nonsense, too_large, another_batch, too_few, refusal, a_request]
)
def test_a_lane_that_breaks_the_protocol_is_let_go(
    short_path: Path, rewrite: Callable[[SignedFrame], bytes]
) -> None:
    """No answer of a lane that speaks otherwise is taken; its jobs are signed by the other lane."""

    async def scene(bench: Bench) -> None:
        bench.lanes[0].rewrite = rewrite
        jobs = [make_job() for _ in range(20)]
        results = await bench.queue.sign_many(jobs)
        assert all(is_signed(*pair) for pair in zip(jobs, results, strict=True))

    run(short_path, scene, lanes=2)


def test_a_lane_that_refuses_us_is_not_up(short_path: Path) -> None:
    """A lane that greets with a refusal is knocked at again until it takes us."""

    async def scene(bench: Bench) -> None:
        [lane] = bench.lanes
        lane.greeting = Refused("PEER_NOT_ALLOWED", "not for this uid")
        await lane.die()
        await bench.wait_for_lanes(0)
        await lane.start()
        job = make_job()
        waiting = bench.submit(job)
        lane.greeting = None
        assert is_signed(job, await waiting)

    run(short_path, scene, age=10.0)


def test_stopping_answers_what_was_accepted(short_path: Path) -> None:
    """A stopping queue refuses new jobs by name and signs those it has."""

    async def scene(bench: Bench) -> None:
        first = await bench.occupy()
        closing = asyncio.create_task(bench.queue.aclose())
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as raised:
            await bench.sign(make_job())
        assert raised.value.reason is Reason.DRAINING
        bench.lanes[0].gate.set()
        assert isinstance(await first, bytes)
        await closing

    run(short_path, scene)


def test_stopping_has_an_end(short_path: Path) -> None:
    """What lanes do not answer in time is refused by name, so that no caller waits for ever."""

    async def scene(bench: Bench) -> None:
        first = await bench.occupy()
        second = bench.submit(make_job())
        await bench.wait_for_jobs(2)
        await bench.queue.aclose(0.05)
        for task in (first, second):
            with pytest.raises(QueueFull) as raised:
                await task
            assert raised.value.reason is Reason.DRAINING

    run(short_path, scene)


@pytest.mark.parametrize("seed", range(3))
def test_every_job_is_answered_once(short_path: Path, seed: int) -> None:
    """With lanes that die and come back at random, every call ends, each signature with the digest it belongs to."""
    chance = random.Random(seed)  # noqa: S311 - a scene that can be played again

    async def scene(bench: Bench) -> None:
        async def call(size: int) -> None:
            await asyncio.sleep(chance.random() / 10)
            jobs = [make_job() for _ in range(size)]
            results = await bench.queue.sign_many(jobs)
            assert all(is_signed(*pair) for pair in zip(jobs, results, strict=True))

        async def disturb() -> None:
            for _ in range(2):
                lane = chance.choice(bench.lanes)
                await asyncio.sleep(chance.random() / 20)
                await lane.die()
                await asyncio.sleep(chance.random() / 20)
                await lane.start()

        calls = [call(chance.randint(1, 20)) for _ in range(20)]
        await asyncio.gather(disturb(), *calls)
        assert bench.queue.outstanding == 0

    run(short_path, scene, lanes=2, age=20.0)


def test_the_queue_shows_its_state(short_path: Path) -> None:
    """`repr` tells how full it is."""

    async def scene(bench: Bench) -> None:
        await bench.occupy()
        assert repr(bench.queue) == "SigningQueue(1 of 4096 jobs)"

    run(short_path, scene)
