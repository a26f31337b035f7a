"""A short run of `python -m bench faults`: whatever the token does, nothing wrong leaves, nothing accepted is lost, no PIN is locked."""

from pathlib import Path

import pytest

from bench.faults import run_faults
from tests.homes import copy_home

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


def test_random_faults_under_load(demo_home: Path, tmp_path: Path) -> None:
    """Twelve faults drawn at random, one after the other, in one service: it signs again after each."""
    result = run_faults(copy_home(demo_home, tmp_path), cycles=12, clients=4, seed=634)
    assert result.vectors > 0
    assert {"every call hangs", "token gone", "wrong signature", "login fails"} <= set(
        result.faults
    )
    assert (result.wrong, result.lost, result.pins, result.not_recovered) == (0, 0, 0, 0), result
