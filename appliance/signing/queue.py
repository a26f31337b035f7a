"""The signing queue of a worker: from a digest to its signature, or to a refusal by name.

Owns admission. Promises a bound on accepted jobs (`QueueFull`), one future per call however many jobs it brings, and that a call ends
by its deadline. Which tokens hold a key is given; which lane signs is the dispatcher's business.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.clock import Clock
from appliance.errors import InternalError, QueueFull, Reason
from appliance.signing.dispatch import Dispatcher
from appliance.signing.job import SigningJob, SigningOrder, SigningResult, Ticket
from appliance.signing.line import Line
from appliance.signing.news import TokenNews
from appliance.signing.settings import QueueSettings


class SigningQueue:
    """Signs digests with the lanes of any number of tokens; belongs to one event loop."""

    def __init__(
        self,
        lanes: Mapping[str, Sequence[Path]],
        keys: Mapping[str, Sequence[str]],
        settings: QueueSettings,
        clock: Clock,
    ) -> None:
        """Make the queue.

        Args:
            lanes: token name → the sockets of its lanes.
            keys: KeyRef → names of the tokens that hold it.
            settings: bounds.
            clock: deadlines are instants of its monotonic time.
        """
        self._settings: Final = settings
        self._clock: Final = clock
        self._dispatcher: Final = Dispatcher(lanes, settings, clock)
        self._by_key: Mapping[str, Line] = {}
        self._is_draining = False
        self.serve_keys(keys)

    def __repr__(self) -> str:
        return f"SigningQueue({self.outstanding} of {self._settings.jobs} jobs)"

    @property
    def outstanding(self) -> int:
        """Jobs accepted and not yet answered."""
        return self._dispatcher.outstanding

    def serve_keys(self, keys: Mapping[str, Sequence[str]]) -> None:
        """Take these keys from now on, and no others (KeyRef → names of the tokens that hold it)."""
        self._by_key = {
            key: self._dispatcher.line_of(frozenset(tokens)) for key, tokens in keys.items()
        }

    def start(self) -> None:
        """Begin to connect to the lanes; jobs are accepted at once and wait for the first of them."""
        self._dispatcher.start()

    async def aclose(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - how long to drain, after which jobs are refused
        """Refuse new jobs, wait for the accepted ones, then let go of the lanes."""
        self._is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._dispatcher.drain()
        await self._dispatcher.aclose()

    async def sign(
        self, key: str, hash_name: str, digest: bytes, deadline: float, octets: bytes = b""
    ) -> bytes:
        """Sign one digest; the signature as XMLDSig carries it (RSA: modulus length; EC: r‖s).

        `octets`, which the digest is of, are wanted only by keys whose token hashes itself.

        Raises:
            QueueFull: no room (QUEUE_FULL), or not signed by the deadline (QUEUE_TIMEOUT).
            HsmUnavailable: no lane can sign with the key.
            InternalError: no token holds the key, or the digest does not fit the hash.
        """
        [result] = await self.sign_many([SigningJob(key, hash_name, digest, deadline, octets)])
        if isinstance(result, bytes):
            return result
        try:
            raise result
        finally:
            del result  # `ApplianceError.as_value` says why

    def check_room(self) -> None:
        """See that one more job would be taken now, before work is spent on it.

        Raises:
            QueueFull: it would not: the queue is full, or the service is stopping.
        """
        if self._is_draining:
            raise QueueFull(Reason.DRAINING, "the service is stopping")
        if self.outstanding >= self._settings.jobs:
            raise self._full()

    async def sign_many(self, jobs: Sequence[SigningJob]) -> Sequence[SigningResult]:
        """Sign many digests, each by its own deadline; results in the order of the jobs, one wake-up for all.

        What does not fit into the queue is refused one by one, so that a long call may still be partly signed.

        Raises:
            QueueFull: there is room for none of them, or the service is stopping.
        """
        if jobs:
            self.check_room()
        room = self._settings.jobs - self.outstanding
        order = SigningOrder(len(jobs), asyncio.get_running_loop().create_future())
        self._admit(jobs[:room], order)
        for position in range(room, len(jobs)):
            order.settle(position, self._full())
        return await order.future

    def last_signed(self, key: str) -> float | None:
        """When any lane last signed with the key (monotonic seconds); None before the first time."""
        return self._dispatcher.last_signed(key)

    def doubt(self, key: str) -> None:
        """Say that a signature of the key does not verify: the lanes that may have made it prove their keys before they go on."""
        self._dispatcher.doubt(self._by_key[key])

    def learn(self, news: TokenNews) -> None:
        """Take what the supervisor has found out about a token."""
        self._dispatcher.learn(news)

    def lanes_up(self) -> Mapping[str, int]:
        """Token name → how many of its lanes can sign."""
        return {token: each.lanes_up for token, each in self._dispatcher.circuits.items()}

    def _admit(self, jobs: Sequence[SigningJob], order: SigningOrder) -> None:
        now = self._clock.monotonic()
        lines: dict[Line, list[Ticket]] = {}
        for position, job in enumerate(jobs):
            line = self._by_key.get(job.key)
            if line is None:
                unknown = InternalError(Reason.INTERNAL, f"no token holds a key `{job.key}`")
                order.settle(position, unknown)
                continue
            leave_by = min(job.deadline, now + self._settings.age)
            lines.setdefault(line, []).append(Ticket(job, order, position, now, leave_by))
        for line, tickets in lines.items():
            self._dispatcher.accept(line, tickets)

    def _full(self) -> QueueFull:
        detail = f"the signing queue holds its {self._settings.jobs} jobs"
        return QueueFull(Reason.QUEUE_FULL, detail, self._dispatcher.retry_after())
