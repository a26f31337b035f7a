"""A process that appends to a log until it is killed, and prints what it was told: `python spool_process.py SPOOL LOG APPENDERS`.

Each line is `acknowledged INDEX ASSERTION_ID` or `refused REASON`, written at once and whole.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.clock import SystemClock
from appliance.errors import SpoolUnavailable
from appliance.trace.spool import Spool, SpoolSettings
from tests.trace_entries import make_entry

_PAUSE_AFTER_REFUSAL = 0.02


def tell(line: str) -> None:
    """Write a line in one system call: a kill leaves whole lines only."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def append_for_ever(spool: Spool, numbers: Iterator[int]) -> None:
    """Append one entry after the other."""
    while True:
        assertion_id = f"_{os.getpid()}-{next(numbers)}"
        try:
            receipt = await spool.append(make_entry(assertion_id=assertion_id))
        except SpoolUnavailable as exc:
            tell(f"refused {exc.reason.value}")
            await asyncio.sleep(_PAUSE_AFTER_REFUSAL)
        else:
            tell(f"acknowledged {receipt.index} {assertion_id}")


async def run(home: Path, log: str, appenders: int) -> None:
    """Open the log and let the appenders loose."""
    spool = Spool.open(home, log, SpoolSettings(segment=32 * 1024), SystemClock())
    numbers = itertools.count()
    await asyncio.gather(*(append_for_ever(spool, numbers) for _ in range(appenders)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
