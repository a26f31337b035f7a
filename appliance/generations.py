"""How a reload goes through the workers: each loads a generation, then all take it, or none.

Every question has a deadline. Promises that no worker is left with another set than the rest: one that does not answer, or that does not
follow a verdict, is ended, and its successor begins with what is in force; and that no answer is taken for that to a later question.
"""

from collections.abc import Callable, Sequence
from typing import Final

from appliance.child import Child
from appliance.errors import Reason, ServiceUnreachable, Unavailable
from appliance.log import Log

_LOG: Final = Log("supervisor")
_WITHIN: Final = 30.0  # seconds; ten thousand conventions take some of them
_DONE: Final = {"commit": "committed", "discard": "discarded"}


async def offer(workers: Sequence[Child], generation: int, commit: Callable[[], None]) -> list[str]:
    """Have workers load a generation, then all commit, or all discard; returns why some could not load it.

    Args:
        workers: those that serve now; none begins meanwhile.
        generation: its number.
        commit: called once all have loaded it, before any takes it.

    Raises:
        Unavailable: a worker ended, or said nothing and is ended; the others discard it with their next.
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
            await _have_follow(worker, verdict, generation)
        except Unavailable as exc:
            _LOG.warning("worker-does-not-follow", detail=exc.detail)
    return refusals


async def ask(worker: Child, line: str) -> str:
    """Say one line to a worker, and return what it answers.

    Raises:
        Unavailable: it does not, and is ended: its answer would be heard as that to the next question.
    """
    worker.tell(line.encode())
    try:
        return (await worker.hear(_WITHIN)).decode().strip()
    except Unavailable:
        await worker.stop(0)
        raise


async def _have_follow(worker: Child, verdict: str, generation: int) -> None:
    """Tell a worker a verdict.

    Raises:
        Unavailable: it does not answer, or has done something else, and is ended.
    """
    answer = await ask(worker, f"{verdict} {generation}")
    if answer != f"{_DONE[verdict]} {generation}":
        await worker.stop(0)
        raise ServiceUnreachable(
            Reason.SERVICE_UNREACHABLE,
            f"{worker.name} was told `{verdict} {generation}` and said `{answer}`",
        )
