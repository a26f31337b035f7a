"""Groups of tests that need something of the machine: skipped where it is missing, failed where `REQUIRE_GROUPS` names the group.

CI names those that its machine has (`.ci/run`), so that none of them vanishes there without anybody noticing.
"""

import os
from typing import Final, NoReturn

import pytest

GROUPS: Final = ("chromium", "go", "java", "kryoptic", "opencryptoki", "root", "valkey")


def leave_out(group: str, reason: str) -> NoReturn:
    """Skip a test of a group, or fail it where the group is required; the reason says what is missing."""
    assert group in GROUPS
    if group in os.environ.get("REQUIRE_GROUPS", "").split():
        pytest.fail(f"REQUIRE_GROUPS names `{group}`, and it cannot run here: {reason}")
    pytest.skip(reason)


def need_root(reason: str) -> None:
    """Leave a test out where it does not run as root."""
    if os.geteuid():
        leave_out("root", reason)
