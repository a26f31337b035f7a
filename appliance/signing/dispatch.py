"""The jobs of one token, handed to its lanes.

Owns the waiting line of a token. Promises that no lane is idle while a job waits, that a frame holds a few milliseconds of signing by
the lane's own measure, that a job whose lane dies goes to another one or waits for the replacement, and that each job is answered
or refused by name no later than its deadline.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import Counter

from appliance import log, metrics
from appliance.clock import Clock
from appliance.errors import ApplianceError, HsmUnavailable, InternalError, QueueFull, Reason
from appliance.signing.job import SigningBatch, Ticket
from appliance.signing.lanes import LaneClient
from appliance.signing.settings import QueueSettings
from hsm.wire import KeyUse, SignedFrame, SignFailure

_LOG: Final = log.Log("signing")
_FRAME_SECONDS: Final = 0.008
"""Signing one frame should take: long against its transport (about 0.1 ms), short against a caller's patience."""

_ATTEMPTS: Final = 4
_OUTAGE_GRACE: Final = 1.0
"""Seconds without any lane after which jobs are refused at once; replacing a lane takes less."""


class Dispatcher:
    """One token: the line of tickets and the lanes that take from it."""

    def __init__(
        self, token: str, sockets: Sequence[Path], settings: QueueSettings, clock: Clock
    ) -> None:
        self.token: Final = token
        self._settings: Final = settings
        self._clock: Final = clock
        self._lanes: Final = [
            LaneClient(f"{token}/{index}", socket, self) for index, socket in enumerate(sockets)
        ]
        # tickets
        self._waiting: Final[deque[Ticket]] = deque()
        self._travelling = 0
        self._emptied: asyncio.Future[None] | None = None
        # timers
        self._is_woken = False
        self._company: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._expires_at = math.inf
        # what is known of the token
        self._down_since: float | None = None
        self._is_closing = False
        self._last_signed: Final[dict[str, float]] = {}
        self._figures: Final = _Figures(token)

    def __repr__(self) -> str:
        return (
            f"Dispatcher({self.token}, {len(self._waiting)} waiting, {self._travelling} travelling)"
        )

    @property
    def outstanding(self) -> int:
        """Jobs in the line or on the way to a lane."""
        return len(self._waiting) + self._travelling

    def last_signed(self, key: str) -> float | None:
        """When a lane last signed with the key (monotonic)."""
        return self._last_signed.get(key)

    def lanes_up(self) -> int:
        """How many lanes can be sent frames."""
        return sum(lane.is_up() for lane in self._lanes)

    def retry_after(self) -> int:
        """Seconds, at least 1, after which the line should have moved."""
        lanes = [lane for lane in self._lanes if lane.is_up()]
        if not lanes or not self._waiting:
            return 1
        each = max(lane.seconds_of(self._waiting[0].job.key) for lane in lanes)
        return math.ceil(self.outstanding * each / len(lanes))

    def start(self) -> None:
        """Begin to connect."""
        self._down_since = self._clock.monotonic()
        for lane in self._lanes:
            lane.start()

    async def drain(self) -> None:
        """Wait until nothing is outstanding; the caller sees to it that nothing new is accepted."""
        if self.outstanding:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    async def aclose(self) -> None:
        """Close the lanes and refuse what is left."""
        self._is_closing = True
        await asyncio.gather(*(lane.aclose() for lane in self._lanes))
        for timer in (self._company, self._expiry):
            if timer is not None:
                timer.cancel()
        for ticket in self._waiting:
            ticket.settle(QueueFull(Reason.DRAINING, "the service is stopping"))
        self._waiting.clear()

    def accept(self, tickets: Sequence[Ticket]) -> None:
        """Take tickets; they leave at the end of this turn of the loop if a lane is idle.

        When there has been no lane for longer than replacing one takes, they are refused at once.
        """
        down = self._down_since
        if down is not None and self._clock.monotonic() - down > _OUTAGE_GRACE:
            for ticket in tickets:
                ticket.settle(self._unavailable())
            return
        self._waiting.extend(tickets)
        self._expire_at(min(ticket.leave_by for ticket in tickets))
        self._wake()

    # What lanes report.

    def lane_opened(self, lane: LaneClient) -> None:
        """Put the lane to work."""
        _LOG.info("lane-up", lane=lane.name)
        self._down_since = None
        self._figures.lanes_up.set(self.lanes_up())
        self._dispatch()

    def lane_lost(self, lane: LaneClient, batches: list[SigningBatch]) -> None:
        """Put the lane's tickets back where they came from, at the head of the line."""
        if not self._is_closing:
            jobs = sum(len(batch.tickets) for batch in batches)
            _LOG.warning("lane-down", lane=lane.name, jobs=jobs)
        if not self.lanes_up():
            self._down_since = self._clock.monotonic()
        self._figures.lanes_up.set(self.lanes_up())
        for batch in reversed(batches):
            self._travelling -= len(batch.tickets)
            for ticket in reversed(batch.tickets):
                self._retry(ticket, "the lane ended")
        self._wake()

    def batch_signed(self, lane: LaneClient, batch: SigningBatch, signed: SignedFrame) -> None:
        """Answer the tickets and give the lane its next frame."""
        self._travelling -= len(batch.tickets)
        failures: list[tuple[Ticket, SignFailure]] = []
        for ticket, result in zip(batch.tickets, signed.results, strict=True):
            if isinstance(result, bytes):
                ticket.settle(result)
            else:
                failures.append((ticket, result))
        now = self._clock.monotonic()
        for key, use in signed.uses.items():
            self._last_signed[key] = now
            self._figures.count(lane.name, key, use)
        if failures:
            self._fail(lane, failures)
        self._dispatch()

    # From the line to the lanes.

    def _wake(self) -> None:
        """Dispatch at the end of this turn of the loop, so that the jobs of one turn travel together."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._is_woken = False
        while self._waiting:
            lane = self._choose_lane()
            if lane is None:
                break
            if not lane.is_idle() and not self._is_ripe(lane):
                self._await_company()
                break
            batch = self._take(lane)
            if batch.tickets:
                self._travelling += len(batch.tickets)
                lane.send(batch)
        outstanding = self.outstanding
        self._figures.jobs.set(outstanding)
        if self._emptied is not None and not outstanding and not self._emptied.done():
            self._emptied.set_result(None)

    def _choose_lane(self) -> LaneClient | None:
        """The lane with room that has the fewest seconds of signing before it."""
        rooms = [lane for lane in self._lanes if lane.has_room()]
        return min(rooms, key=lambda lane: lane.load) if rooms else None

    def _is_ripe(self, lane: LaneClient) -> bool:
        """Whether a busy lane should be given its next frame now: it would be full, or its first job has waited enough."""
        first = self._waiting[0]
        full = min(self._settings.batch_jobs, _FRAME_SECONDS / lane.seconds_of(first.job.key))
        waited = self._clock.monotonic() - first.accepted_at
        return len(self._waiting) >= full or waited >= self._settings.batch_age

    def _await_company(self) -> None:
        if self._company is None:
            loop = asyncio.get_running_loop()
            self._company = loop.call_later(self._settings.batch_age, self._end_company)

    def _end_company(self) -> None:
        self._company = None
        self._dispatch()

    def _take(self, lane: LaneClient) -> SigningBatch:
        """Take one frame from the line: a fair share among idle lanes, and a few milliseconds of signing at most."""
        idle = sum(each.is_up() and each.is_idle() for each in self._lanes)
        most = min(self._settings.batch_jobs, math.ceil(len(self._waiting) / max(idle, 1)))
        now = self._clock.monotonic()
        tickets: list[Ticket] = []
        seconds = 0.0
        while self._waiting and len(tickets) < most and seconds < _FRAME_SECONDS:
            ticket = self._waiting.popleft()
            if now >= ticket.leave_by:
                ticket.settle(self._too_late())
            if ticket.is_open():
                tickets.append(ticket)
                seconds += lane.seconds_of(ticket.job.key)
        if tickets:
            self._figures.queue_seconds.observe(now - tickets[0].accepted_at)
        return SigningBatch(tickets, seconds)

    # Failures.

    def _fail(self, lane: LaneClient, failures: list[tuple[Ticket, SignFailure]]) -> None:
        """Answer what no other lane would do better; put the rest back, and let go of a lane that cannot sign."""
        unfit: SignFailure | None = None
        for ticket, failure in reversed(failures):
            if failure.kind == "expired":
                ticket.settle(self._too_late())
            elif failure.kind == "request":
                ticket.settle(InternalError(Reason.INTERNAL, failure.detail))
            elif failure.kind == "human":
                ticket.settle(HsmUnavailable(Reason.HSM_UNAVAILABLE, failure.detail))
            else:
                unfit = failure
                self._retry(ticket, failure.detail)
        if unfit is not None:
            _LOG.error("lane-unfit", lane=lane.name, code=unfit.code, detail=unfit.detail)
            lane.abandon()

    def _retry(self, ticket: Ticket, detail: str) -> None:
        """Put a ticket back at the head; having left once it may now use all of its deadline."""
        ticket.attempts += 1
        ticket.leave_by = ticket.job.deadline
        if ticket.attempts < _ATTEMPTS:
            self._waiting.appendleft(ticket)
            self._expire_at(ticket.leave_by)
        else:
            detail = f"{_ATTEMPTS} attempts at signing failed, the last because {detail}"
            ticket.settle(HsmUnavailable(Reason.HSM_UNAVAILABLE, detail))

    def _too_late(self) -> ApplianceError:
        if not self.lanes_up():
            return self._unavailable()
        detail = "the signature was not made within its deadline"
        return QueueFull(Reason.QUEUE_TIMEOUT, detail, self.retry_after())

    def _unavailable(self) -> HsmUnavailable:
        detail = f"no lane of token `{self.token}` is up; `appliance doctor` says why"
        return HsmUnavailable(Reason.HSM_UNAVAILABLE, detail)

    # Deadlines.

    def _expire_at(self, instant: float) -> None:
        """Look for tickets past their time at `instant` or earlier; one timer serves them all."""
        if instant >= self._expires_at:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = instant
        delay = max(0.0, instant - self._clock.monotonic())
        self._expiry = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        """Refuse every ticket past its time; should one come back signed after all, that changes nothing."""
        self._expiry, self._expires_at = None, math.inf
        now, following = self._clock.monotonic(), math.inf
        for ticket, end in self._ends():
            if now >= end:
                ticket.settle(self._too_late())
            elif ticket.is_open():
                following = min(following, end)
        still = [ticket for ticket in self._waiting if ticket.is_open()]
        self._waiting.clear()
        self._waiting.extend(still)
        if following < math.inf:
            self._expire_at(following)
        self._wake()

    def _ends(self) -> list[tuple[Ticket, float]]:
        """Every outstanding ticket and the instant at which it must have been answered."""
        travelling = [
            (ticket, ticket.job.deadline)
            for lane in self._lanes
            for batch in lane.batches
            for ticket in batch.tickets
        ]
        return [(ticket, ticket.leave_by) for ticket in self._waiting] + travelling


class _Figures:
    """The metrics of one token, their children bound once."""

    def __init__(self, token: str) -> None:
        self.jobs: Final = metrics.QUEUE_DEPTH.labels(token)
        self.queue_seconds: Final = metrics.QUEUE_SECONDS.labels(token)
        self.lanes_up: Final = metrics.LANES_UP.labels(token)
        self._uses: Final[dict[tuple[str, str], tuple[Counter, Counter]]] = {}

    def count(self, lane: str, key: str, use: KeyUse) -> None:
        """Add what one frame took."""
        counters = self._uses.get((lane, key))
        if counters is None:
            counters = metrics.SIGNATURES.labels(lane, key), metrics.TOKEN_SECONDS.labels(lane, key)
            self._uses[lane, key] = counters
        counters[0].inc(use.signatures)
        counters[1].inc(use.seconds)
