"""The jobs that the same tokens can sign, in the order in which they came.

Owns the tickets that wait, and the batch they leave in. Promises first in, first out, but for tickets that come back from a lane: those go first,
and let others pass to the lane that they shun. A line is bound by the queue that fills it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from appliance import metrics
from appliance.signing.circuit import Circuit
from appliance.signing.job import SigningResult, Ticket


class Line:
    """The tickets whose keys lie in exactly these tokens."""

    def __init__(self, circuits: Sequence[Circuit]) -> None:
        self.circuits: Final = tuple(circuits)
        self.waiting: Final[deque[Ticket]] = deque()
        self._tokens: Final = frozenset(circuit.token for circuit in circuits)
        self.depth: Final = metrics.QUEUE_DEPTH.labels(" ".join(sorted(self._tokens)))

    def __repr__(self) -> str:
        return f"Line({' '.join(sorted(self._tokens))}, {len(self.waiting)} waiting)"

    def is_served_by(self, token: str) -> bool:
        """Whether the token holds the line's keys."""
        return token in self._tokens

    def closed_by(self) -> Circuit | None:
        """The circuit to name when none of the tokens can be reached; None while one of them may."""
        open_circuits = [circuit for circuit in self.circuits if circuit.is_open()]
        return open_circuits[0] if len(open_circuits) == len(self.circuits) else None

    def first(self) -> Ticket | None:
        """The ticket that has waited longest."""
        return self.waiting[0] if self.waiting else None

    def refuse(self, result: SigningResult) -> None:
        """Settle every waiting ticket with the same refusal."""
        for ticket in self.waiting:
            ticket.settle(result)
        self.waiting.clear()

    def take(
        self, most: int, seconds: float, cost_of: Callable[[str], float], shunned: str | None
    ) -> Iterator[Ticket]:
        """Take tickets from the head: at most `most`, as many as fill `seconds` by their keys' cost, none that shuns the lane named."""
        waiting = self.waiting
        passed: list[Ticket] = []
        taken = 0
        while waiting and taken < most and seconds > 0:
            ticket = waiting.popleft()
            if ticket.shuns == shunned:
                passed.append(ticket)
            elif ticket.is_open():
                taken += 1
                seconds -= cost_of(ticket.job.key)
                yield ticket
        waiting.extendleft(reversed(passed))

    def has_for(self, lane: str) -> bool:
        """Whether a ticket waits that does not shun the lane; stops at the first, which is near the head."""
        return any(ticket.shuns != lane for ticket in self.waiting)

    def drop_settled(self) -> None:
        """Forget the tickets nobody waits for any more."""
        still = [ticket for ticket in self.waiting if ticket.is_open()]
        self.waiting.clear()
        self.waiting.extend(still)


class SigningBatch:
    """The tickets one frame carries, the line they came from, and what signing them is expected to cost in seconds."""

    __slots__ = ("expected_seconds", "line", "tickets")

    def __init__(self, line: Line, tickets: Sequence[Ticket], expected_seconds: float) -> None:
        self.line: Final = line
        self.tickets: Final = tickets
        self.expected_seconds: Final = expected_seconds
