"""A signature on its way: what is asked for, and who waits for it.

Owns the promise that each job is answered exactly once: a late answer to a job already settled is dropped.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeAlias
from uuid import UUID

from appliance.errors import ApplianceError
from hsm.wire import READINESS_PROBE, SignJob

SigningJob: TypeAlias = SignJob
"""One signature wanted: KeyRef, hash name, digest, deadline (monotonic). It goes over the wire as it is."""

SigningResult: TypeAlias = bytes | ApplianceError


def write_probe(nonce: UUID) -> bytes:
    """Write what a readiness probe signs: lanes count it apart from what could be a vector."""
    return READINESS_PROBE + nonce.bytes


class SigningOrder:
    """What one caller waits for: one or many jobs, and a single future for all of them."""

    __slots__ = ("_missing", "_results", "future")

    def __init__(self, jobs: int, future: "asyncio.Future[Sequence[SigningResult]]") -> None:
        self.future: Final = future
        self._results: Final[list[SigningResult | None]] = [None] * jobs
        self._missing = jobs
        if not jobs:
            future.set_result([])

    def is_open(self, position: int) -> bool:
        """Whether somebody still waits for this job."""
        return self._results[position] is None and not self.future.done()

    def settle(self, position: int, result: SigningResult) -> None:
        """Answer one job; the last one wakes the caller. Nothing happens to a job that is no longer open."""
        if not self.is_open(position):
            return
        self._results[position] = result
        self._missing -= 1
        if not self._missing:
            self.future.set_result([answer for answer in self._results if answer is not None])


class Ticket:
    """One job in the queue, from acceptance to its answer.

    Attributes:
        accepted_at: when it was accepted (monotonic).
        leave_by: when it must have left the line; its deadline, or earlier.
        tries: how many of its tries lanes have used up.
        shuns: name of the lane that could not sign it, which is not asked again while another one is up.
    """

    __slots__ = ("accepted_at", "job", "leave_by", "order", "position", "shuns", "tries")

    def __init__(
        self,
        job: SigningJob,
        order: SigningOrder,
        position: int,
        accepted_at: float,
        leave_by: float,
    ) -> None:
        self.job: Final = job
        self.order: Final = order
        self.position: Final = position
        self.accepted_at: Final = accepted_at
        self.leave_by = leave_by
        self.tries = 0
        self.shuns = ""

    def is_open(self) -> bool:
        """Whether somebody still waits for it."""
        return self.order.is_open(self.position)

    def settle(self, result: SigningResult) -> None:
        """Answer it, once."""
        self.order.settle(self.position, result)
