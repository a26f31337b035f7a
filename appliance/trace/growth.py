"""What a log grows by until its next checkpoint, taken in portions as entries become durable: the tree over it, and its files.

Promises the files, the root and the proofs of a growth that was taken at once. Refuses an entry whose leaf hash is not the one the spool
holds beside it. Knows no disk.
"""

from collections.abc import Sequence
from typing import Final

from appliance.native import LogEdge, TreeRefused
from appliance.trace.store import File, is_partial
from appliance.trace.tree import HASH_OCTETS


class Growth:
    """A growth of one log.

    Attributes:
        stated: the edge of the log as the checkpoint that stands has it.
        edge: the one it has once every file is written.
    """

    def __init__(self, stated: LogEdge) -> None:
        self.stated: Final = stated
        self.edge = stated
        self._grown = stated.grow([])
        self._full: Final[list[File]] = []
        self._partial: list[File] = []

    def __repr__(self) -> str:
        return f"Growth({self.stated.size} to {self.size})"

    @property
    def size(self) -> int:
        """Entries the log then has."""
        return self.edge.size

    @property
    def full(self) -> Sequence[File]:
        """The tiles and bundles that are full: no further entry changes them."""
        return self._full

    @property
    def files(self) -> Sequence[File]:
        """All that has to be written."""
        return [*self._full, *self._partial]

    def add(self, entries: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        """Take further entries, each with the leaf hash that stands beside it in the spool.

        Raises:
            TreeRefused: a leaf hash is not the entry's; nothing has been taken.
        """
        before = self.size
        grown = self._grown.grow(entries)
        if grown.leaves[HASH_OCTETS * (before - self.stated.size) :] != b"".join(leaves):
            raise TreeRefused(
                f"an entry from {before} on is not the one its leaf hash in the spool is of"
            )
        files = grown.files
        self._full.extend((path, octets) for path, octets in files if not is_partial(path))
        self._partial = [(path, octets) for path, octets in files if is_partial(path)]
        self._grown, self.edge = grown, grown.edge

    def prove_from(self, first: int) -> list[bytes]:
        """Prove that the log of `first` entries, not fewer than were stated, is the beginning of the grown one."""
        return self._grown.prove_from(first)
