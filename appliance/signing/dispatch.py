"""The jobs of a worker, handed to the lanes of every token.

Owns the choice of lane. Promises that no lane is idle while a job waits that it could sign, that a frame holds a few milliseconds of
signing by the lane's own measure, that load goes where it is soonest done, that a job whose lane fails is tried once elsewhere, and
that each job is answered or refused by name no later than its deadline.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance import log, metrics
from appliance.clock import Clock
from appliance.errors import ApplianceError, HsmUnavailable, InternalError, QueueFull, Reason
from appliance.signing import figures
from appliance.signing.circuit import Circuit
from appliance.signing.expiry import Expiry
from appliance.signing.job import Ticket
from appliance.signing.lanes import LaneClient
from appliance.signing.line import Line, SigningBatch
from appliance.signing.news import TokenNews
from appliance.signing.settings import QueueSettings
from hsm.wire import Refused, SignedFrame, SignFailure

_LOG: Final = log.Log("signing")
_FRAME_SECONDS: Final = 0.008
"""Signing one frame should take: long against its transport (about 0.1 ms), short against a caller's patience."""

_LONGEST_FRAME: Final = 0.032
"""What it may take when so much waits that the last job waits longer anyway: the transport of a frame is shared by more jobs."""

_SHARES: Final = 4
"""A lane's share of what waits leaves in so many frames at least, so that the lanes end together."""

_TRIES: Final = 6
_FAILURE: Final = 2
"""A failure that a lane names costs two of a job's six tries, so that a job is retried once elsewhere and, should every session have
been lost at once, once more in one that was opened anew. The end of a lane that was sent it costs one: it may be innocent."""

_REST: Final = 0.1
"""Seconds for which a lane that has lost its session is chosen last: opening it anew takes less."""


class Dispatcher:
    """The lines of tickets, and the lanes that take from them."""

    def __init__(
        self,
        lanes: Mapping[str, Sequence[Path]],
        settings: QueueSettings,
        clock: Clock,
    ) -> None:
        """Make the dispatcher; its lines come with the keys.

        Args:
            lanes: token name → the sockets of its lanes.
            settings: bounds.
            clock: deadlines are instants of its monotonic time.
        """
        self._settings: Final = settings
        self._clock: Final = clock
        self.circuits: Final = {token: Circuit(token) for token in lanes}
        self.lines: Final[list[Line]] = []
        self._lanes: Final = [
            LaneClient(token, index, socket, self)
            for token, sockets in lanes.items()
            for index, socket in enumerate(sockets)
        ]
        # tickets
        self._travelling = 0
        self._emptied: asyncio.Future[None] | None = None
        # timers
        self._is_woken = False
        self._company: asyncio.TimerHandle | None = None
        self._expiry: Final = Expiry(clock, self._expire)
        # what is known of the keys
        self._is_closing = False
        self._last_signed: Final[dict[str, float]] = {}

    def __repr__(self) -> str:
        return f"Dispatcher({self.lines}, {self._travelling} travelling)"

    @property
    def outstanding(self) -> int:
        """Jobs in the lines or on the way to a lane."""
        return self._travelling + sum(len(line.waiting) for line in self.lines)

    def line_of(self, tokens: frozenset[str]) -> Line:
        """Return the line of the keys that lie in exactly these tokens; there is one from the first time it is asked for."""
        circuits = [circuit for name, circuit in self.circuits.items() if name in tokens]
        for line in self.lines:
            if line.circuits == tuple(circuits):
                return line
        self.lines.append(Line(circuits))
        return self.lines[-1]

    def last_signed(self, key: str) -> float | None:
        """When a lane last signed with the key (monotonic)."""
        return self._last_signed.get(key)

    def retry_after(self) -> int:
        """Seconds, at least 1, after which the lines should have moved."""
        lanes = [lane for lane in self._lanes if lane.is_up()]
        if not lanes:
            return 1
        return math.ceil(max(1.0, self.outstanding * max(lane.pace for lane in lanes) / len(lanes)))

    def start(self) -> None:
        """Begin to connect."""
        now = self._clock.monotonic()
        for circuit in self.circuits.values():
            circuit.start(now)
            self._expiry.at(circuit.look(now))
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
        self._expiry.cancel()
        if self._company is not None:
            self._company.cancel()
        for line in self.lines:
            line.refuse(QueueFull(Reason.DRAINING, "the service is stopping"))

    def accept(self, line: Line, tickets: Sequence[Ticket]) -> None:
        """Take tickets; they leave at the end of this turn of the loop if a lane is idle.

        While none of the line's tokens can be reached they are refused at once.
        """
        for circuit in line.circuits:
            circuit.look(self._clock.monotonic())
        closed = line.closed_by()
        if closed is not None:
            for ticket in tickets:
                ticket.settle(closed.refusal())
            return
        line.waiting.extend(tickets)
        self._expiry.at(min(ticket.leave_by for ticket in tickets))
        self._wake()

    def doubt(self, line: Line) -> None:
        """Have every lane that serves the line prove its keys again: one of them has made a signature that does not verify."""
        for lane in self._lanes:
            if line.is_served_by(lane.token):
                lane.doubt(self._clock.monotonic())

    def learn(self, news: TokenNews) -> None:
        """Take what the supervisor has found out: refuse at once what waits in vain, and look at once for a lane that has opened."""
        circuit = self.circuits.get(news.token)
        if circuit is None:
            return
        if news.failure is None:
            for lane in self._lanes:
                if lane.token == news.token:
                    lane.knock()
        elif circuit.blame(news.failure):
            self._refuse_closed()

    # What lanes report.

    def lane_opened(self, lane: LaneClient) -> None:
        """Put the lane to work."""
        _LOG.info("lane-up", lane=lane.name)
        circuit = self.circuits[lane.token]
        circuit.lane_opened()
        metrics.LANES_UP.labels(lane.token).set(circuit.lanes_up)
        self._dispatch()

    def lane_lost(
        self, lane: LaneClient, batches: list[SigningBatch], cause: Refused | None
    ) -> None:
        """Put the lane's tickets back where they came from, at the head of their lines."""
        if not self._is_closing:
            jobs = sum(len(batch.tickets) for batch in batches)
            _LOG.warning("lane-down", lane=lane.name, jobs=jobs)
        now = self._clock.monotonic()
        circuit = self.circuits[lane.token]
        circuit.lane_lost(cause, now)
        self._expiry.at(circuit.look(now))
        metrics.LANES_UP.labels(lane.token).set(circuit.lanes_up)
        for batch in reversed(batches):
            self._travelling -= len(batch.tickets)
            for ticket in reversed(batch.tickets):
                self._retry(batch.line, ticket, 1, "the lane ended")
        self._refuse_closed()
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
        if signed.uses:
            now, wall = self._clock.monotonic(), self._clock.now().timestamp()
            for key, use in signed.uses.items():
                self._last_signed[key] = now
                figures.count_use(lane.token, lane.name, key, use, wall)
        for ticket, failure in reversed(failures):
            self._fail(lane, batch.line, ticket, failure)
        self._dispatch()

    # From the lines to the lanes.

    def _wake(self) -> None:
        """Dispatch at the end of this turn of the loop, so that the jobs of one turn travel together."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._is_woken = False
        for line in self.lines if len(self.lines) == 1 else sorted(self.lines, key=_since):
            self._empty(line)
            line.depth.set(len(line.waiting))
        if self._emptied is not None and not self.outstanding and not self._emptied.done():
            self._emptied.set_result(None)

    def _empty(self, line: Line) -> None:
        """Send frames of a line for as long as a lane has room for one that is worth sending."""
        while line.waiting:
            lane = self._choose_lane(line)
            if lane is None:
                return
            if not lane.is_idle() and not self._is_ripe(line.waiting, lane):
                self._await_company()
                return
            batch = self._take(line, lane)
            if batch.tickets:
                self._travelling += len(batch.tickets)
                lane.send(batch)

    def _choose_lane(self, line: Line) -> LaneClient | None:
        """The lane with room that has the fewest seconds of signing before it; one that is being mended only for want of another.

        The one that the first ticket shuns comes last while another is up, and for the tickets behind: that one waits for room elsewhere.
        """
        shunned = line.waiting[0].shuns
        rooms = [
            lane
            for lane in self._lanes
            if lane.has_room()
            and line.is_served_by(lane.token)
            and (lane.name != shunned or not self._has_other(line, lane))
        ]
        if not rooms:
            return self._lane_for_others(line)
        now = self._clock.monotonic()
        return min(rooms, key=lambda lane: (now < lane.rests_until, lane.load))

    def _lane_for_others(self, line: Line) -> LaneClient | None:
        """The lane that the first ticket shuns, where it has room and a ticket behind does not shun it."""
        shunned = line.waiting[0].shuns
        for lane in self._lanes:
            if lane.name == shunned and lane.has_room() and line.has_for(shunned):
                return lane
        return None

    def _is_ripe(self, waiting: Sequence[Ticket], lane: LaneClient) -> bool:
        """Whether a busy lane should be given its next frame now: it would be full, or its first job has waited enough."""
        first = waiting[0]
        full = min(self._settings.batch_jobs, _FRAME_SECONDS / lane.seconds_of(first.job.key))
        waited = self._clock.monotonic() - first.accepted_at
        return len(waiting) >= full or waited >= self._settings.batch_age

    def _await_company(self) -> None:
        if self._company is None:
            loop = asyncio.get_running_loop()
            self._company = loop.call_later(self._settings.batch_age, self._end_company)

    def _end_company(self) -> None:
        self._company = None
        self._dispatch()

    def _take(self, line: Line, lane: LaneClient) -> SigningBatch:
        """Take one frame from the line: a fair share among idle lanes, and a few milliseconds of signing at most."""
        idle = sum(
            each.is_up() and each.is_idle() and line.is_served_by(each.token)
            for each in self._lanes
        )
        most = min(self._settings.batch_jobs, math.ceil(len(line.waiting) / max(idle, 1)))
        backlog = len(line.waiting) * lane.seconds_of(line.waiting[0].job.key) / len(self._lanes)
        longest = min(_LONGEST_FRAME, max(_FRAME_SECONDS, backlog / _SHARES))
        now = self._clock.monotonic()
        tickets: list[Ticket] = []
        seconds = 0.0
        shunned = lane.name if self._has_other(line, lane) else None
        for ticket in line.take(most, longest, lane.seconds_of, shunned):
            if now >= ticket.leave_by:
                ticket.settle(self._too_late(line))
            else:
                tickets.append(ticket)
                seconds += lane.seconds_of(ticket.job.key)
        figures.count_frame(lane.name, tickets, now)
        return SigningBatch(line, tickets, seconds)

    # Failures.

    def _fail(self, lane: LaneClient, line: Line, ticket: Ticket, failure: SignFailure) -> None:
        """Answer what no other lane would do better, and put the rest back (`hsm.errors.Kind`)."""
        figures.count_failure(lane.name, failure.kind)
        if failure.kind == "expired":
            ticket.settle(self._too_late(line))
        elif failure.kind == "request":
            _LOG.error("job-refused", lane=lane.name, code=failure.code, detail=failure.detail)
            ticket.settle(InternalError(Reason.INTERNAL, failure.detail))
        elif failure.kind == "human" and not self._has_other(line, lane, lane.token):
            ticket.settle(HsmUnavailable(Reason.HSM_UNAVAILABLE, failure.detail))
        elif failure.kind == "capacity" and (ticket.tries or not self._has_other(line, lane)):
            ticket.settle(QueueFull(Reason.HSM_BUSY, failure.detail, self.retry_after()))
        else:
            lane.rests_until = self._clock.monotonic() + _REST
            ticket.shuns = lane.name
            self._retry(line, ticket, _FAILURE, failure.detail)

    def _has_other(self, line: Line, lane: LaneClient, token: str | None = None) -> bool:
        """Whether another lane could sign the line's jobs, one of another token if `token` is named."""
        return any(
            each.is_up() and line.is_served_by(each.token) and each.token != token
            for each in self._lanes
            if each is not lane
        )

    def _retry(self, line: Line, ticket: Ticket, cost: int, detail: str) -> None:
        """Put a ticket back at the head; having left once it may now use all of its deadline."""
        ticket.tries += cost
        ticket.leave_by = ticket.job.deadline
        if ticket.tries < _TRIES:
            line.waiting.appendleft(ticket)
            self._expiry.at(ticket.leave_by)
        else:
            detail = f"signing failed on every attempt, the last because {detail}"
            ticket.settle(HsmUnavailable(Reason.HSM_UNAVAILABLE, detail))

    def _too_late(self, line: Line) -> ApplianceError:
        down = [circuit for circuit in line.circuits if not circuit.lanes_up]
        if len(down) == len(line.circuits):
            return down[0].refusal()
        detail = "the signature was not made within its deadline"
        return QueueFull(Reason.QUEUE_TIMEOUT, detail, self.retry_after())

    # Deadlines.

    def _expire(self, now: float) -> float:
        """Refuse every ticket past its time, and those of tokens for whose lanes there was no longer to wait.

        Should one come back signed after all, that changes nothing. Returns the next instant at which there may be one.
        """
        following = min((each.look(now) for each in self.circuits.values()), default=math.inf)
        self._refuse_closed()
        for line, ticket, end in self._ends():
            if now >= end:
                ticket.settle(self._too_late(line))
            elif ticket.is_open():
                following = min(following, end)
        for line in self.lines:
            line.drop_settled()
        self._wake()
        return following

    def _refuse_closed(self) -> None:
        """Refuse what waits for tokens of which none can be reached."""
        for line in self.lines:
            closed = line.closed_by()
            if closed is not None:
                line.refuse(closed.refusal())

    def _ends(self) -> list[tuple[Line, Ticket, float]]:
        """Every outstanding ticket and the instant at which it must have been answered."""
        travelling = [
            (batch.line, ticket, ticket.job.deadline)
            for lane in self._lanes
            for batch in lane.batches
            for ticket in batch.tickets
        ]
        waiting = [
            (line, ticket, ticket.leave_by) for line in self.lines for ticket in line.waiting
        ]
        return waiting + travelling


def _since(line: Line) -> float:
    first = line.first()
    return math.inf if first is None else first.accepted_at
