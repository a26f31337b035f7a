"""How busy a machine is before something is measured on it."""

import os
from pathlib import Path

from bench.machine import _describe_disk, busy_between, busy_share


def test_busy_is_what_the_cores_of_this_process_did() -> None:
    """Neither idling nor waiting for a disk; what the host took away counts, other cores and what stands twice in the file do not."""
    mine = min(os.sched_getaffinity(0))
    other = max(os.sched_getaffinity(0)) + 1
    before = f"cpu  9 9 9 9 9 9 9 9 9 9\ncpu{mine} 10 0 10 70 10 0 0 0 5 0\ncpu{other} 0 0 0 0 0 0 0 0 0 0"
    after = f"cpu  0 0 0 0 0 0 0 0 0 0\ncpu{mine} 12 0 11 100 75 0 0 2 7 0\ncpu{other} 900 0 0 0 0 0 0 0 0 0\nintr 5"
    assert busy_between(before, after) == 0.05
    assert busy_between(before, before) == 0


def test_the_machine_is_watched() -> None:
    """The kernel's own file is read, and gives a part of the whole."""
    assert 0 <= busy_share(0.02) <= 1


def test_the_disk_is_the_one_under_the_directory() -> None:
    """The file system mounted at the nearest parent, not that of the root alone."""
    assert _describe_disk(Path("/proc/self")).startswith("proc on ")
    assert " on " in _describe_disk(Path("/"))
