"""Reloads through real control pipes: workers that are late, that say something else, and that follow."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from appliance import generations
from appliance.child import Child
from appliance.errors import ServiceUnreachable

FOLLOWS = """import sys
for line in sys.stdin:
    order, generation = line.split()
    done = {"load": "loaded", "commit": "committed", "discard": "discarded"}[order]
    print(done, generation, flush=True)
"""
REFUSES = FOLLOWS.replace('"loaded"', '"no such key"')
SAYS_OTHERWISE = FOLLOWS.replace('"committed"', '"discarded"')
TURNS_TWICE = REFUSES.replace('"discarded"', '"committed"')
WAITS = """import pathlib, sys, time
for line in sys.stdin:
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
    print("loaded", line.split()[1], flush=True)
"""


async def begin(name: str, program: str, *arguments: str) -> Child:
    """Start a worker that is nothing but its end of the pipe."""
    return await Child.start(
        name, [sys.executable, "-c", program, *arguments], environment=dict(os.environ)
    )


@pytest.mark.parametrize(
    ("programs", "refusals", "is_committed"),
    [
        ([FOLLOWS, FOLLOWS], [], True),
        ([FOLLOWS, REFUSES], ["1: no such key 2"], False),
        ([FOLLOWS, SAYS_OTHERWISE], [], True),
        ([FOLLOWS, TURNS_TWICE], ["1: no such key 2"], False),
    ],
)
def test_all_follow_or_are_ended(
    programs: list[str], refusals: list[str], *, is_committed: bool
) -> None:
    """A worker that answers a verdict with anything but that it has followed does not go on with a set of its own."""

    async def run() -> None:
        workers = [await begin(str(at), program) for at, program in enumerate(programs)]
        committed: list[int] = []
        assert await generations.offer(workers, 2, lambda: committed.append(2)) == refusals
        assert bool(committed) == is_committed
        for worker, program in zip(workers, programs, strict=True):
            if program in {SAYS_OTHERWISE, TURNS_TWICE}:
                async with asyncio.timeout(10):
                    assert await worker.wait() < 0
            else:
                assert await generations.ask(worker, "load 3") in {"loaded 3", "no such key 3"}
                await worker.stop(20)

    asyncio.run(run())


def test_late_answer_is_never_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is late with its answer is ended, for the next load has the same number; the others take part in that."""

    async def run() -> None:
        go = tmp_path / "go"
        prompt, late = await begin("prompt", FOLLOWS), await begin("late", WAITS, str(go))
        monkeypatch.setattr(generations, "_WITHIN", 0.1)
        with pytest.raises(ServiceUnreachable, match="late said nothing"):
            await generations.ask(late, "load 2")
        go.touch()
        monkeypatch.undo()
        with pytest.raises(ServiceUnreachable, match="late ended"):
            await generations.offer([prompt, late], 2, lambda: None)
        assert await generations.offer([prompt], 2, lambda: None) == []
        await prompt.stop(20)

    asyncio.run(run())


def test_a_worker_that_reads_nothing_keeps_no_reload_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """News fills its pipe; the question behind it has the same deadline as any other."""

    async def run() -> None:
        deaf = await begin("deaf", "import time\ntime.sleep(60)")
        for _ in range(5000):
            deaf.tell(b"news of the token " * 4)
        monkeypatch.setattr(generations, "_WITHIN", 0.1)
        with pytest.raises(ServiceUnreachable, match="deaf said nothing"):
            async with asyncio.timeout(20):
                await generations.ask(deaf, "load 2")
        assert await deaf.wait() < 0

    asyncio.run(run())
