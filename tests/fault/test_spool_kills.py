"""A real writer process that is killed, or whose file system refuses it, at moments of its choosing and not ours."""

import contextlib
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.trace.reader import read_log

ROOT = Path(__file__).parents[2]
APPENDERS = 16

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def appending(spool: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that appends to log `log` as fast as it can; killed at the end."""
    command = [sys.executable, "-m", "tests.spool_process", str(spool), "log", str(APPENDERS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """What the process tells, word by word, until it is dead."""
    assert process.stdout is not None
    return (line.split() for line in process.stdout)


def held(spool: Path) -> dict[int, str | None]:
    """What the independent reader finds: assertion ID by index."""
    return {stored.index: stored.entry.assertion_id for stored in read_log(spool / "log")}


def test_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Six times over, SIGKILL strikes in full flight; each time all that was acknowledged so far is read back."""
    told: dict[int, str] = {}
    moments = random.Random(6962)  # noqa: S311 - moments to kill at, not secrets
    for _ in range(6):
        with appending(tmp_path) as process:
            lines = lines_of(process)
            for _ in range(moments.randrange(1, 1500)):
                _, index, assertion_id = next(lines)
                told[int(index)] = assertion_id
            process.kill()
            told |= {int(index): assertion_id for _, index, assertion_id in lines}
        found = held(tmp_path)
        assert told.items() <= found.items()
        assert sorted(found) == list(range(len(found)))
    assert len(list((tmp_path / "log").glob("*.segment"))) > 6


def test_file_system_that_refuses_and_relents(tmp_path: Path) -> None:
    """The kernel itself cuts writes short and refuses; entries are refused by name, and accepted again once it relents."""
    told: dict[int, str] = {}
    with appending(tmp_path) as process:
        lines = lines_of(process)
        next(lines)
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (9_001, limits[1]))
        refusals = 0
        while refusals < 3 * APPENDERS:
            verb, *words = next(lines)
            if verb == "refused":
                assert words == ["spool-unavailable"]
                refusals += 1
            else:
                told[int(words[0])] = words[1]
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
        after = 0
        while after < 200:
            verb, *words = next(lines)
            if verb == "acknowledged":
                told[int(words[0])] = words[1]
                after += 1
    assert told.items() <= held(tmp_path).items()
