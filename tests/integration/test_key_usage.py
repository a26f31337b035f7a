"""Signatures are counted by the lanes, kept by the supervisor, and compared with the trace."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.trace.reader import log_names, read_log
from appliance.usage import KeyUsage, read_usage, unaccounted
from hsm.wire import Hello
from tests.homes import CommandLine
from tests.lane_peer import Peer, make_job
from tests.service import make_demo_home, serve

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


def usage_of(home: Path) -> dict[str, KeyUsage]:
    """What the home's supervisor has kept."""
    return read_usage(home / "run" / "key-usage.json")


def created_in(home: Path) -> Mapping[str, int]:
    """How many vectors the trace says were made; the demo has one signing key."""
    logs = [home / "spool" / name for name in log_names(home / "spool")]
    created = [
        stored for log in logs for stored in read_log(log) if stored.entry.event == "created"
    ]
    return Counter({"demo-rsa": len(created)})


def test_signatures_no_entry_accounts_for(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Every vector accounts for one signature, across restarts; what somebody else has signed is left over."""
    home = make_demo_home(tmp_path)
    with serve(home) as running:
        assert [running.issue().status for _ in range(5)] == [200] * 5
    first = usage_of(home)["demo/demo-rsa"]
    assert first.proofs == 2
    probes = unaccounted(usage_of(home), created_in(home)).get("demo-rsa", 0)  # readiness signs too
    assert first.signatures - first.proofs == 5 + probes
    with serve(home) as running:
        assert running.issue().status == 200
        lane = Peer(home / "run" / "lane-demo-0.sock")
        assert isinstance(lane.receive(), Hello)
        lane.sign(*[make_job("demo-rsa")] * 3, make_job("demo-ec"))
        lane.channel.close()
    second = usage_of(home)["demo/demo-rsa"]
    surplus = unaccounted(usage_of(home), created_in(home))
    assert surplus["demo-rsa"] == second.signatures - second.proofs - 6
    assert surplus["demo-rsa"] >= probes + 3
    assert surplus["demo-ec"] == 1
    appliance = CommandLine(capsysbinary)
    [token] = appliance("hsm", "list", "--home", home, "--json").lines
    assert {key["label"]: key["signatures"] for key in token["keys"]} == {
        "demo-rsa": second.signatures,
        "demo-ec": usage_of(home)["demo/demo-ec"].signatures,
    }
