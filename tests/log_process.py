"""A process that appends to a whole log until it is killed, and prints what it was told: `python log_process.py HOME APPENDERS`.

Each line is `acknowledged INDEX ASSERTION_ID` or `refused REASON`, written at once and whole. Its signer remembers on disk, before it
signs, as a lane does.
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import Pushback, SpoolUnavailable
from appliance.trace.shard import Shard
from hsm.heads import SignedHead
from tests.logs import SoftwareSigner, open_shard
from tests.trace_entries import make_entry

_PAUSE_AFTER_REFUSAL = 0.02


class RememberingSigner(SoftwareSigner):
    """A signer whose memory outlives the process."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        if file.exists():
            for origin, (size, root) in json.loads(file.read_text()).items():
                self.heads[origin] = SignedHead(origin, size, bytes.fromhex(root))

    def sign_text(self, text: bytes) -> bytes:
        heads = {origin: (head.size, head.root.hex()) for origin, head in self.heads.items()}
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(heads))
        beside.replace(self._file)
        return super().sign_text(text)


def tell(line: str) -> None:
    """Write a line in one system call: a kill leaves whole lines only."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


async def append_for_ever(shard: Shard, numbers: Iterator[int]) -> None:
    """Append one entry after the other."""
    while True:
        assertion_id = f"_{os.getpid()}-{next(numbers)}"
        try:
            receipt = await shard.append(make_entry(assertion_id=assertion_id))
        except (SpoolUnavailable, Pushback) as exc:
            tell(f"refused {exc.reason.value}")
            await asyncio.sleep(_PAUSE_AFTER_REFUSAL)
        else:
            tell(f"acknowledged {receipt.index} {assertion_id}")


async def run(home: Path, appenders: int) -> None:
    """Open the log and let the appenders loose."""
    shard = await open_shard(home, RememberingSigner(home / "signed.json"), every=0.02, entries=300)
    numbers = itertools.count()
    await asyncio.gather(*(append_for_ever(shard, numbers) for _ in range(appenders)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
