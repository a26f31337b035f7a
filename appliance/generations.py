"""How a reload goes through the workers: each loads a generation, then all take it, or none.

Every question has a deadline. Promises that no worker is left with another set than the rest: one that does not follow a verdict any more
is ended, and its successor begins with what is in force.
"""

from collections.abc import Callable, Sequence
from typing import Final

from appliance.child import Child
from appliance.errors import Unavailable
from appliance.log import Log

_LOG: Final = Log("supervisor")
_WITHIN: Final = 30.0  # seconds; ten thousand conventions take some of them


async def offer(workers: Sequence[Child], generation: int, commit: Callable[[], None]) -> list[str]:
    """Have workers load a generation, then all commit, or all discard; returns why some could not load it.

    Args:
        workers: those that serve now; none begins meanwhile.
        generation: its number.
        commit: called once all have loaded it, before any takes it.

    Raises:
        Unavailable: a worker ended, or said nothing; the others discard it with their next.
    """
    refusals = [
        f"{worker.name}: {answer}"
        for worker in workers
        if (answer := await ask(worker, f"load {generation}")) != f"loaded {generation}"
    ]
    if not refusals:
        commit()
    verdict = "discard" if refusals else "commit"
    for worker in workers:
        try:
            await ask(worker, f"{verdict} {generation}")
        except Unavailable as exc:
            _LOG.warning("worker-does-not-follow", detail=exc.detail)
            await worker.stop(0)
    return refusals


async def ask(worker: Child, line: str) -> str:
    """Say one line to a worker, and return what it answers.

    Raises:
        Unavailable: it does not.
    """
    await worker.tell(line.encode())
    return (await worker.hear(_WITHIN)).decode().strip()
