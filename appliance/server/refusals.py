"""Tells everyone about a refusal or a failure at once: the peer by an answer, the operator by the log, the monitor by a count."""

from typing import Final

from appliance.errors import ApplianceError, Reason, RequestError, VectorRefused
from appliance.log import Log
from appliance.metrics import ERRORS
from appliance.server.answers import Answer, error_answer, status_of

_log: Final = Log("server")
_COUNTS: Final = {reason: ERRORS.labels(reason.value) for reason in Reason}


def answer_refusal(error: ApplianceError, request_id: str, peer: str, allow: bytes = b"") -> Answer:
    """Count and log `error`, and say it to the peer; `allow` lists the methods that the path does take."""
    note_refusal(error, request_id, peer)
    return error_answer(error, request_id, allow)


def note_refusal(error: ApplianceError, request_id: str, peer: str) -> None:
    """Count and log `error`: the peer's fault as news, ours or a part's as trouble."""
    count_refusal(error)
    status = status_of(error)
    if isinstance(error, RequestError | VectorRefused):
        write = _log.info
    elif status == 500:  # noqa: PLR2004 - the table's word for our own fault
        cause = error.__cause__ or error
        _log.error("request-failed", exc=cause, request_id=request_id, peer=peer)
        return
    else:
        write = _log.warning
    write(
        "request-refused",
        request_id=request_id,
        peer=peer,
        reason=error.reason.value,
        status=status,
        detail=error.detail,
    )


def count_refusal(error: ApplianceError) -> None:
    """Count `error` only."""
    _COUNTS[error.reason].inc()
