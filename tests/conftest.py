"""Fixtures that more than one folder uses, and hypothesis's profiles."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest

from tests.reached import home_of_two_users, reached_home  # noqa: F401 - fixtures
from tests.service import RunningService, make_demo_home, serve
from tests.softhsm import short_path, softhsm  # noqa: F401 - fixtures
from tests.tools import bench  # noqa: F401 - fixture
from tests.two_organisations import Organisations, two_organisations
from tests.wss4j import wss4j  # noqa: F401 - fixture

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
)

ROOMY = SimpleNamespace(total=2**40, used=2**38, free=2**40 - 2**38)
CORPORA = Path(__file__).parents[2] / "shared" / "corpora"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The independent test data that lies beside the project."""
    if not CORPORA.is_dir():
        pytest.skip(f"the independent test data is not at {CORPORA}")
    return CORPORA


@pytest.fixture
def roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room, as the command line sees it: how full this machine's is must not decide."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: ROOMY)


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo home that tests read and serve, but do not change."""
    return make_demo_home(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def service(demo_home: Path) -> RunningService:
    """One running service that tests share and leave as they found it."""
    with serve(demo_home) as running:
        yield running


@pytest.fixture(scope="session")
def both(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Organisations:
    """Two organisations, an appliance each, that tests share and leave as they found them."""
    with two_organisations(demo_home, tmp_path_factory.mktemp("two")) as running:
        yield running
