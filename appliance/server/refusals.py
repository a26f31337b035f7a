"""Tells everyone about a refusal or a failure at once: the peer by an answer, the operator by the log, the monitor by a count.

Promises that the log stays readable, and the disk under it in use for better things, when refusals come by the thousand: a line stands
for all items of a batch that failed alike, and of a reason only so many lines are written in a second, the rest summed up in one. The
counters count every one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.errors import ApplianceError, Reason, RequestError, VectorRefused
from appliance.log import Log
from appliance.metrics import ERRORS
from appliance.server.answers import Answer, error_answer, status_of

LINES_A_SECOND: Final = 10
"""Lines written of one reason before the rest of a second is summed up."""

_SECOND: Final = 1.0
_log: Final = Log("server")
_COUNTS: Final = {reason: ERRORS.labels(reason.value) for reason in Reason}


@dataclass(slots=True)
class _Second:
    """What was written of one reason in the second that ends at an instant of the loop's time, and what was not."""

    ends: float
    lines: int = 0
    unwritten: int = 0


_seconds: Final[dict[Reason, _Second]] = {}


def answer_refusal(error: ApplianceError, request_id: str, peer: str, allow: bytes = b"") -> Answer:
    """Count and log `error`, and say it to the peer; `allow` lists the methods that the path does take."""
    note_refusals([error], request_id, peer)
    return error_answer(error, request_id, allow)


def note_refusals(errors: Iterable[ApplianceError], request_id: str, peer: str) -> None:
    """Count all errors of one request, and log them a line a reason: the peer's fault as news, ours or a part's as trouble."""
    alike: defaultdict[Reason, list[ApplianceError]] = defaultdict(list)
    for error in errors:
        alike[error.reason].append(error)
    for reason, same in alike.items():
        _COUNTS[reason].inc(len(same))
        if _may_write(reason, len(same)):
            _write(same[0], len(same), request_id, peer)


def _may_write(reason: Reason, count: int) -> bool:
    loop = asyncio.get_running_loop()
    second = _seconds.get(reason)
    if second is None or second.ends <= loop.time():
        _sum_up(reason)
        second = _seconds[reason] = _Second(loop.time() + _SECOND)
    if second.lines < LINES_A_SECOND:
        second.lines += 1
        return True
    if not second.unwritten:
        loop.call_at(second.ends, _sum_up, reason)
    second.unwritten += count
    return False


def _sum_up(reason: Reason) -> None:
    second = _seconds.pop(reason, None)
    if second is not None and second.unwritten:
        _log.warning("refusals-unwritten", reason=reason.value, count=second.unwritten)


def _write(error: ApplianceError, count: int, request_id: str, peer: str) -> None:
    status = status_of(error)
    if isinstance(error, RequestError | VectorRefused):
        write = _log.info
    elif status == 500:  # noqa: PLR2004 - the table's word for our own fault
        cause = error.__cause__ or error
        _log.error("request-failed", exc=cause, request_id=request_id, peer=peer, count=count)
        return
    else:
        write = _log.warning
    write(
        "request-refused",
        request_id=request_id,
        peer=peer,
        reason=error.reason.value,
        status=status,
        count=count,
        detail=error.detail,
    )
