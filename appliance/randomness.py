"""Random octets by the piece, many pieces of one look at the system's source: that is a call of the kernel which lets other threads go first."""

import os
from collections.abc import Iterator
from typing import Final

_AT_ONCE: Final = 256


def random_pieces(octets: int) -> Iterator[bytes]:
    """Yield pieces of so many octets without end; for one thread alone, in a process that does not fork."""
    while True:
        drawn = os.urandom(_AT_ONCE * octets)
        for at in range(0, len(drawn), octets):
            yield drawn[at : at + octets]
