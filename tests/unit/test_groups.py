"""A group of tests that CI requires cannot vanish."""

import re
from pathlib import Path

import pytest

from tests.groups import GROUPS, leave_out


def test_left_out_or_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing skips a test; where the group is required it fails it, and says what is missing."""
    monkeypatch.delenv("REQUIRE_GROUPS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no JDK"):
        leave_out("java", "no JDK")
    monkeypatch.setenv("REQUIRE_GROUPS", "go java")
    with pytest.raises(pytest.fail.Exception, match=r"REQUIRE_GROUPS names `java`.*no JDK"):
        leave_out("java", "no JDK")
    with pytest.raises(pytest.skip.Exception):
        leave_out("valkey", "no server")


def test_ci_requires_every_group() -> None:
    """CI names every group there is; kryoptic once it is built, chromium where it is installed."""
    text = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    named = re.findall(r'REQUIRE_GROUPS\+?="([a-z ]*)"', text)
    assert sorted(" ".join(named).split()) == sorted(GROUPS)
