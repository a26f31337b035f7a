"""The hash tiles of a log directory, held against each other and against a root: from leaf hashes upwards.

Whoever calls has held the leaf hashes against the entries. Every function raises `LogDamaged` at the first thing that is not as it should be.
"""

from collections.abc import Sequence
from typing import Final

from appliance.native import TreeRefused, merkle_root, tile_path, tree_root
from appliance.trace.checkpoint import Checkpoint
from appliance.trace.directory import LogDirectory, first_difference
from appliance.trace.store import TILE_WIDTH
from appliance.trace.tree import HASH_OCTETS

_LEVEL_BITS: Final = 8


def read_leaf_tile(log: LogDirectory, index: int, size: int) -> bytes:
    """Read a tile of level 0 of a log of `size` entries: as wide as it must be."""
    start, path = index * TILE_WIDTH, tile_path(0, index, size)
    width = min(TILE_WIDTH, size - start)
    tile = log.read(path, start)
    if len(tile) != width * HASH_OCTETS:
        raise log.fault(start, f"{path} is not {width} hashes wide")
    return tile


def check_upper_tiles(log: LogDirectory, size: int, roots: Sequence[bytes]) -> None:
    """Hold every tile above level 0 against those below it.

    Args:
        log: the log.
        size: how many entries it has.
        roots: those of the full tiles of level 0, in order.
    """
    level, hashes = 1, roots
    while hashes:
        above: list[bytes] = []
        for index in range(-(-len(hashes) // TILE_WIDTH)):
            expected = b"".join(hashes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH])
            path = tile_path(level, index, size)
            start = index * TILE_WIDTH << (_LEVEL_BITS * level)
            tile = log.read(path, start)
            if tile != expected:
                within = start + (first_difference(tile, expected) << (_LEVEL_BITS * level))
                raise log.fault(within, f"{path}: it is not the tile over those below it")
            if len(expected) == TILE_WIDTH * HASH_OCTETS:
                above.append(merkle_root(expected))
        level, hashes = level + 1, above


def check_root(log: LogDirectory, checkpoint: Checkpoint, size: int, whose: str) -> None:
    """Hold the tree of the first `checkpoint.size` of `size` entries against a checkpoint."""
    if checkpoint.size > size:
        raise log.fault(
            size,
            f"{whose} has seen {checkpoint.size} entries, {size} are here: it is an older copy",
        )
    try:
        root = tree_root(checkpoint.size, lambda path: log.read_front(path, size))
    except TreeRefused as exc:
        raise log.fault(0, str(exc)) from exc
    if root != checkpoint.root:
        raise log.fault(
            0, f"the root over its first {checkpoint.size} entries is not that of {whose}"
        )
