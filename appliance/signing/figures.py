"""The metrics of signing, their children bound once: what a lane took, what waited, what failed."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from appliance import metrics
from appliance.signing.job import Ticket
from hsm.wire import KeyUse

_signatures: Final = cache(metrics.SIGNATURES.labels)
_token_total: Final = cache(metrics.TOKEN_SECONDS.labels)
_token_seconds: Final = cache(metrics.SIGN_SECONDS.labels)
_queue_seconds: Final = cache(metrics.QUEUE_SECONDS.labels)
_last_success: Final = cache(metrics.LAST_SIGNATURE.labels)
_failures: Final = cache(metrics.HSM_ERRORS.labels)


def count_frame(lane: str, tickets: Sequence[Ticket], now: float) -> None:
    """Observe how long the jobs of a frame have waited: the first of each key, which is the oldest."""
    seen = set[str]()
    for ticket in tickets:
        key = ticket.job.key
        if key not in seen:
            seen.add(key)
            _queue_seconds(lane, key).observe(now - ticket.accepted_at)


def count_use(token: str, lane: str, key: str, use: KeyUse, wall: float) -> None:
    """Add what one frame took with one key: its signatures, their seconds, and the mean as one observation."""
    _signatures(lane, key).inc(use.signatures)
    _token_total(lane, key).inc(use.seconds)
    _token_seconds(lane, key).observe(use.seconds / use.signatures)
    _last_success(token, key).set(wall)


def count_failure(lane: str, kind: str) -> None:
    """Count one job that a lane could not sign, by the class of the failure."""
    _failures(lane, kind).inc()
