"""Where the entries of a log begin, told from names alone, whatever lies among them."""

from pathlib import Path

import pytest

from appliance.native import bundle_path
from appliance.trace.directory import first_kept

FAR = 300_000_000_000
"""Entries of a log whose bundles take four groups of digits."""


@pytest.mark.parametrize(
    "bundles",
    [[0, 1], [7, 12, 1000], [999, 1000, 1001], [1000, 9999], [2000, 12_000], [999_999, 1_000_000],
     [12_345_678, 100_000_000], [1_000_000_000, 1_000_000_001]],
)  # fmt: skip
def test_first_kept_is_the_lowest_number(tmp_path: Path, bundles: list[int]) -> None:
    """Bundles are in the order of their numbers, not of their names: `x001/000` comes behind `999`."""
    for bundle in bundles:
        file = tmp_path / bundle_path(bundle, FAR)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert first_kept(tmp_path, FAR) == 256 * bundles[0]


def test_foreign_names_are_passed_over(tmp_path: Path) -> None:
    """What is no bundle neither begins a log nor breaks the look for it."""
    entries = tmp_path / "tile" / "entries"
    assert first_kept(tmp_path, 5) == 5
    for name in ("x00a", "000.p", "x001/foo", "x002", "12", "0001"):
        (entries / name).mkdir(parents=True)
    (entries / "x003").touch()
    (entries / "readme").touch()
    assert first_kept(tmp_path, 5) == 5
    (entries / "004.p").mkdir()
    (entries / "004.p" / "3").touch()
    assert first_kept(tmp_path, 2000) == 1024
