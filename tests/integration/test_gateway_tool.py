"""The benchmark of the gateway: two appliances and an application, set up by itself, and every way through answers."""

import json

import pytest

from bench import gateway
from tests.tools import Bench

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


def test_every_way_is_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight, through one appliance and through two, with vectors reused and fresh; the processor's time is somebody's."""
    monkeypatch.setattr(gateway, "_WARM_UP", 0.2)
    done = bench(
        "gateway",
        "--seconds",
        "0.3",
        "--connections",
        "2",
        "--rate",
        "20",
        "--workers",
        "2",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [(one["way"], one["vector"]) for one in results] == [
        ("straight", ""),
        ("one", "reused"),
        ("one", "fresh"),
        ("two", "reused"),
        ("two", "fresh"),
    ]
    for one in results:
        assert one["errors"] == {}
        assert one["rate"] > 0
        assert 0 < one["p50"] <= one["p99"]
        assert one["processor"]["client"] > 0
    straight, *_, fresh = results
    assert straight["added_p50"] == 0
    assert {"A worker", "B worker"} <= set(fresh["processor"])
