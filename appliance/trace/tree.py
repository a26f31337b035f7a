"""The hashing of RFC 6962 section 2.1 (SHA-256): leaves, nodes, and the root over a sequence of leaves. No input, no output."""

import hashlib
from collections.abc import Iterable
from typing import Final

HASH_OCTETS: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaves: Iterable[bytes]) -> bytes:
    """Return the root of the tree over leaf hashes in order, in the memory of one hash per level."""
    complete: list[tuple[int, bytes]] = []  # (height, hash) of complete subtrees, heights falling
    for leaf in leaves:
        height, root = 0, leaf
        while complete and complete[-1][0] == height:
            root = node_hash(complete.pop()[1], root)
            height += 1
        complete.append((height, root))
    if not complete:
        return EMPTY_ROOT
    root = complete.pop()[1]
    while complete:
        root = node_hash(complete.pop()[1], root)
    return root
