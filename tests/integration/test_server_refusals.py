"""What refusals leave in the log and in the counters when they come by the hundred."""

import asyncio
import io
import json
from collections import Counter

from prometheus_client import REGISTRY

from appliance.errors import ApplianceError, ConventionViolation, QueueFull, Reason
from appliance.log import configure_log
from appliance.server.refusals import LINES_A_SECOND, note_refusals
from tests.api_server import running_api
from tests.software_operations import SoftwareIssuer, make_operations

FULL = QueueFull(Reason.QUEUE_FULL, "4096 jobs wait")
SLOW = QueueFull(Reason.QUEUE_TIMEOUT, "the signature was not made within its deadline")
FORBIDDEN = ConventionViolation(Reason.PAGM_NOT_GRANTED, "ask for PAGM_CONSULTATION")


def counted(error: ApplianceError) -> float:
    """How often the error was counted, by any test."""
    return REGISTRY.get_sample_value("appliance_errors_total", {"reason": error.reason.value}) or 0


def read_lines(stream: io.StringIO) -> list[dict]:
    """The lines written so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_batch_is_logged_a_line_a_reason() -> None:
    """However many items of a batch fail, each reason has one line with their number; the counters count every item."""
    configure_log("info", stream := io.StringIO())
    full, forbidden = counted(FULL), counted(FORBIDDEN)
    requests = [{"convention": "demo-client", "subject": "full"}] * 40
    requests += [{"convention": "demo-client", "subject": "forbidden"}] * 5
    issuer = SoftwareIssuer(failures={"full": FULL, "forbidden": FORBIDDEN})
    with running_api(make_operations(issuer)) as api:
        answer = api.request("POST", "/v1/vectors/batch", {"requests": requests})
    assert len(answer.json["results"]) == 45
    refused = [line for line in read_lines(stream) if line["event"] == "request-refused"]
    assert [(line["reason"], line["level"], line["count"]) for line in refused] == [
        ("queue-full", "warning", 40),
        ("pagm-not-granted", "info", 5),
    ]
    assert (counted(FULL) - full, counted(FORBIDDEN) - forbidden) == (40, 5)


def test_repeated_refusals_are_summed_up() -> None:
    """Of one reason so many lines are written in a second; the rest are one line with their number, and other reasons have theirs."""
    configure_log("info", stream := io.StringIO())
    slow = counted(SLOW)

    async def run() -> None:
        for at in range(LINES_A_SECOND + 7):
            note_refusals([SLOW], f"request-{at}", "127.0.0.1")
        note_refusals([FORBIDDEN], "request", "127.0.0.1")
        async with asyncio.timeout(30):
            while "refusals-unwritten" not in stream.getvalue():  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)

    asyncio.run(run())
    lines = read_lines(stream)
    assert Counter(line["reason"] for line in lines if line["event"] == "request-refused") == {
        "queue-timeout": LINES_A_SECOND,
        "pagm-not-granted": 1,
    }
    [rest] = [line for line in lines if line["event"] == "refusals-unwritten"]
    assert (rest["reason"], rest["count"]) == ("queue-timeout", 7)
    assert counted(SLOW) - slow == LINES_A_SECOND + 7
