"""What the routes need of the operations: narrow protocols, so that the wire knows no concrete operation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.conventions.model import Convention
from appliance.errors import ApplianceError
from appliance.native import SecuredMessage, SoapMessage
from appliance.vectors.model import (
    AcceptedVector,
    Caller,
    IssuedVector,
    Receipt,
    RequestContext,
    VectorRequest,
)


class Issuing(Protocol):
    """`operations.issue`."""

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Issue one vector, its trace durable."""

    async def issue_batch(
        self, requests: Sequence[VectorRequest], context: RequestContext
    ) -> Sequence[IssuedVector | ApplianceError]:
        """Issue many; each position holds its vector or why there is none."""


class Securing(Protocol):
    """`operations.secure`."""

    async def secure(
        self,
        message: SoapMessage,
        request: VectorRequest,
        context: RequestContext,
        existing: Literal["refuse", "keep", "replace"] = "refuse",
    ) -> "SecuredSoap":
        """Put a vector into a message, its trace durable."""


class SecuredSoap(Protocol):
    """A message with its vector."""

    @property
    def message(self) -> SecuredMessage:
        """The message, and what was done to it."""

    @property
    def issued(self) -> IssuedVector:
        """The vector in it."""


class Fault(Protocol):
    """The InterOPS fault of a refused vector (DOMAIN 7)."""

    @property
    def code(self) -> str:
        """The QName as usually written, `vi:InvalidService`."""

    @property
    def namespace(self) -> str:
        """What its prefix stands for."""

    @property
    def reason(self) -> str:
        """Our own closed cause."""

    @property
    def string(self) -> str:
        """The faultstring that the standard fixes."""


class Check(Protocol):
    """One check of the verification order."""

    @property
    def name(self) -> str:
        """What was checked."""

    @property
    def outcome(self) -> Literal["passed", "flagged", "failed", "not-run"]:
        """What came of it."""

    @property
    def detail(self) -> str | None:
        """What was found, where that helps."""


class Verdict(Protocol):
    """What a verification comes to: accepted, or a fault."""

    @property
    def accepted(self) -> AcceptedVector | None:
        """The vector, when the convention accepts it."""

    @property
    def fault(self) -> Fault | None:
        """Why not, otherwise."""

    @property
    def checks(self) -> Sequence[Check]:
        """Every check in order, those after the first failure not run."""

    @property
    def receipt(self) -> Receipt | None:
        """Where the decision stands in the trace; None for a diagnosis that leaves none."""


class Verifying(Protocol):
    """`operations.verify`."""

    async def verify(
        self, octets: bytes, context: RequestContext, convention: str | None, service: str | None
    ) -> Verdict:
        """Decide on a received vector, its trace durable."""


class Readiness(Protocol):
    """Whether requests would be served now."""

    @property
    def reasons(self) -> Sequence[str]:
        """What does not work; empty when all does."""


class Health(Protocol):
    """`operations.health`."""

    async def check(self) -> Readiness:
        """Look at every part; bounded in time."""


class Conventions(Protocol):
    """A registry of conventions."""

    def all(self) -> Sequence[Convention]:
        """List every convention."""


class ConventionCell(Protocol):
    """Where the conventions in force are found; a reload changes `current`."""

    @property
    def current(self) -> Conventions:
        """The registry in force."""


class LogResource(Protocol):
    """One resource of a trace log."""

    @property
    def octets(self) -> bytes:
        """What it holds."""

    @property
    def is_text(self) -> bool:
        """Whether it is text rather than octets."""

    @property
    def is_final(self) -> bool:
        """Whether it will never change."""


class LogReading(Protocol):
    """`operations.readlog`."""

    async def read(self, log: str, resource: str, caller: Caller) -> LogResource:
        """Return a resource of a log, if the caller may have it."""


@dataclass(frozen=True, slots=True)
class Operations:
    """All that the routes call."""

    issue: Issuing
    secure: Securing
    verify: Verifying
    health: Health
    conventions: ConventionCell
    logs: LogReading
    exposition: Callable[[], bytes]
