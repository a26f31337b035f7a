"""One peer that is refused without end fills neither the disk nor anybody else's share, and no refusal is forgotten (invariant 1)."""

import http.client
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.homes import copy_home, edit
from tests.logs import entries_of_home
from tests.service import RunningService, serve

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

BURST, LOUD, QUIET = 5, "127.0.0.1", "127.0.0.2"
FORBIDDEN = {"convention": "demo-client", "subject": "agent-0042", "pagms": ["PAGM_NONE"]}


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A home in which a peer gets five entries for its refusals, and another every hundred seconds."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", "# refusals_burst = 50", f"refusals_burst = {BURST}")
    edit(home / "appliance.toml", "# refusals_per_second = 5.0", "refusals_per_second = 0.01")
    return home


def ask(running: RunningService, peer: str, path: str, body: bytes) -> int:
    """Send one request from an address of this machine; returns the status."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", running.port, timeout=30, source_address=(peer, 0)
    )
    kind = "application/xml" if body.startswith(b"<") else "application/json"
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_loud_peer_gets_its_share_and_is_counted(home: Path) -> None:
    """Requests forbidden one by one and in batches, and vectors refused: each is answered, few are entries, the rest is a number."""
    batch = json.dumps({"requests": [FORBIDDEN] * 40}).encode()
    forbidden = json.dumps(FORBIDDEN).encode()
    with serve(home) as running:
        vector = running.issue().json["assertion"].encode()
        spoilt = vector.replace(b"PAGM_CONSULTATION", b"PAGM_GESTION")
        statuses = [ask(running, LOUD, "/v1/vectors", forbidden) for _ in range(30)]
        statuses += [ask(running, LOUD, "/v1/vectors/batch", batch)]
        statuses += [ask(running, LOUD, "/v1/verifications", spoilt) for _ in range(30)]
        assert statuses == [*[403] * 30, 200, *[200] * 30]
        assert [ask(running, QUIET, "/v1/vectors", forbidden) for _ in range(3)] == [403] * 3
        assert running.issue().status == 200
        assert running.stop() == 0
    entries = [each.entry for each in entries_of_home(home)]
    own = Counter(each.peer for each in entries if each.verdict == "refused")
    summed = Counter[str | None]()
    for each in entries:
        summed[each.peer] += each.count or 0
    assert own == {LOUD: BURST, QUIET: 3}
    assert own[LOUD] + summed[LOUD] == 30 + 40 + 30
    assert summed[QUIET] == 0
    assert sum(each.event == "created" for each in entries) == 2
