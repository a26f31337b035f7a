"""A real writer process killed anywhere between an entry and its checkpoint; then it goes on, and the independent reader judges."""

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.trace.verify import verify_log
from tests.independent_log import read_independently
from tests.log_process import RememberingSigner
from tests.logs import NAME, open_shard

ROOT = Path(__file__).parents[2]
APPENDERS = 16

pytestmark = pytest.mark.slow


def run_and_kill(home: Path, acknowledged: int) -> dict[int, str]:
    """Let a writer run until so many entries are acknowledged, kill it, and return all that were."""
    told: dict[int, str] = {}
    command = [sys.executable, "-m", "tests.log_process", str(home), str(APPENDERS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            verb, index, assertion_id = line.split()
            assert verb == "acknowledged"
            told[int(index)] = assertion_id
            if len(told) == acknowledged:
                process.kill()
    return told


def check(home: Path, told: dict[int, str]) -> None:
    """Close the log in order, and hold it against what was acknowledged."""
    signer = RememberingSigner(home / "signed.json")

    async def close() -> bool:
        return await (await open_shard(home, signer)).aclose()

    assert asyncio.run(close())
    directory = home / "log" / str(NAME)
    entries = [json.loads(entry) for entry in read_independently(directory, signer.pem).entries]
    held = {at: entry.get("assertion_id") for at, entry in enumerate(entries)}
    assert told.items() <= held.items()
    verify_log(directory, [signer.key])


def kill_often(home: Path, times: int, most: int) -> None:
    """Kill so many times, at moments of its choosing and not ours."""
    moments = random.Random(9162)  # noqa: S311 - moments to kill at, not secrets
    told: dict[int, str] = {}
    for _ in range(times):
        told |= run_and_kill(home, moments.randrange(1, most))
        directory = home / "log" / str(NAME)
        if (directory / "checkpoint").exists():
            read_independently(directory, RememberingSigner(home / "signed.json").pem)
    check(home, told)


def test_kill_loses_nothing_and_publishes_nothing_wrong(tmp_path: Path) -> None:
    """Eight times over; after each kill what is published verifies, and in the end every acknowledged entry is in the tree."""
    kill_often(tmp_path, times=8, most=900)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kills_for_minutes(tmp_path: Path) -> None:
    """The same, two hundred times."""
    kill_often(tmp_path, times=200, most=3000)
