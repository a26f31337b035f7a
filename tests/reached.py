"""A demo home where other users get to, for tests in which root gives lanes and workers users of their own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.users import WORKER, find_barrier
from tests.groups import leave_out, need_root
from tests.homes import copy_home
from tests.service import make_demo_home


@pytest.fixture(scope="session")
def reached_home() -> Iterator[Path]:
    """A demo home that root has made where other users get to, with the owners that `init` gives it; to be copied, not served."""
    need_root("only root can give processes other users")
    with tempfile.TemporaryDirectory(prefix="reached-") as made:
        directory = Path(made)
        directory.chmod(0o711)
        barrier = find_barrier(WORKER, directory / "home")
        if barrier is not None:
            leave_out("root", f"{barrier} is closed to other users")
        yield make_demo_home(directory)


@pytest.fixture
def home_of_two_users(reached_home: Path, short_path: Path) -> Path:
    """A copy of that home, as reachable, for a test to spoil."""
    short_path.chmod(0o711)
    return copy_home(reached_home, short_path)
