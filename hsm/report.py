"""What a lane tells its parent on standard output, one line of JSON each: ready or why not, its life, why it ends."""

import msgspec

from hsm.errors import Finding, Target
from hsm.wire import KeyFacts


class LaneReady(msgspec.Struct, frozen=True, tag_field="lane", tag="ready"):
    """Every key is proven and the socket listens."""

    token_serial: str
    keys: list[KeyFacts]
    pid: int


class LaneFailed(msgspec.Struct, frozen=True, tag_field="lane", tag="failed"):
    """The lane cannot sign; the fields of an `HsmError`."""

    target: Target
    finding: Finding


class LaneAlive(msgspec.Struct, frozen=True, tag_field="lane", tag="alive"):
    """The loop turns: the answer to each line that comes on standard input after the settings."""


class LaneEnded(msgspec.Struct, frozen=True, tag_field="lane", tag="ended"):
    """The lane stops.

    Attributes:
        signatures: how many it has made, per key, proofs included.
        finding: why it can sign no longer; None when it was told to stop.
        proofs: per key, those of them with which the lane, or a readiness probe, has proven the key.
    """

    signatures: dict[str, int]
    finding: Finding | None = None
    proofs: dict[str, int] = {}


LaneReport = LaneReady | LaneFailed | LaneAlive | LaneEnded
