"""What processes count reaches the files they share, though not at every change."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from appliance.metricfiles import RoomyDict

_COUNTS = """
from appliance import metrics
for _ in range(3):
    metrics.REQUESTS.labels("/v1/vectors", "200").inc()
metrics.REQUEST_SECONDS.labels("/v1/vectors").observe(0.003)
"""


def test_process_that_ends_leaves_what_it_counted(tmp_path: Path) -> None:
    """What a process counts just before its end stands in the files that others add up."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", _COUNTS], env=environment, timeout=60, check=True)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=tmp_path)
    lines = generate_latest(registry).decode().splitlines()
    assert 'appliance_requests_total{route="/v1/vectors",status="200"} 3.0' in lines
    assert 'appliance_request_seconds_count{route="/v1/vectors"} 1.0' in lines


def test_change_is_written_soon(tmp_path: Path) -> None:
    """A value reaches the file while its process goes on and counts nothing more."""
    file = str(tmp_path / "counter_1.db")
    with contextlib.closing(RoomyDict(file)) as values:
        values.write_value("key", 2.0, 0.0)
        assert values.read_value("key") == (2.0, 0.0)
        _await(lambda: _read(Path(file)) == {"key": 2.0})


def test_writer_outlives_what_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure nobody foresaw is said once, and what is counted reaches the file as soon as it is over."""
    file = str(tmp_path / "counter_1.db")
    failed: list[RoomyDict] = []

    def fail(values: RoomyDict) -> bool:
        failed.append(values)
        raise ValueError("nobody knows why")

    with contextlib.closing(RoomyDict(file)) as values:
        with monkeypatch.context() as patched:
            patched.setattr(RoomyDict, "write_changed", fail)
            values.write_value("key", 2.0, 0.0)
            _await(lambda: len(failed) > 1)
        _await(lambda: _read(Path(file)) == {"key": 2.0})
    assert [each.message for each in caplog.records] == ["metrics-not-written"]


def _await(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not is_so() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert is_so()


def _read(file: Path) -> dict[str, float]:
    if not file.exists() or not file.stat().st_size:
        return {}
    return {
        key: value for key, value, *_ in RoomyDict.read_all_values_from_file(str(file)) if value
    }
