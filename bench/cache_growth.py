"""How the cost of caches and registry grows: the same operations with ten times as much in them, as ratios of processor time.

Blocks of each size take turns; the median counts. Of the vectors only the places differ, not the octets, so that a million fits.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from appliance.cache.replay_guard import Received, ReplayGuard, prepare_guard
from appliance.cache.vector_cache import CachedVector, CacheLimits, VectorCache
from appliance.clock import FixedClock
from appliance.conventions.authorize import authorize_issue
from appliance.conventions.contradictions import Contradiction, find_contradictions
from appliance.conventions.loader import ConventionFiles, load_conventions
from appliance.conventions.model import Convention
from appliance.conventions.registry import Registry
from appliance.vectors.model import Caller, RequestContext, VectorRequest

Sizes = Sequence[int]

VECTORS: Final = (10_000, 100_000, 1_000_000)
CONVENTIONS: Final = (100, 1_000, 10_000)
_ROUNDS: Final = 9
_READINGS: Final = 3
_BLOCK: Final = 2_000

Measured = dict[int, float]
Result = TypeVar("Result")


async def measure_growth(
    cached: CachedVector, vectors: Sizes = VECTORS, conventions: Sizes = CONVENTIONS
) -> dict[str, Measured]:
    """Measure each operation at each size: seconds of the processor, of one operation or (registry) for one convention; the latter is the median of several, after one that does not count."""
    now = cached.issued
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as made:
        directory = Path(made)
        return {
            **await _grow_cache(cached, vectors),
            **_grow_guard(directory, cached, vectors),
            **_grow_registry(directory, FixedClock(now), conventions),
        }


async def _grow_cache(cached: CachedVector, sizes: Sizes) -> dict[str, Measured]:
    hits: dict[int, Callable[[int], object]] = {}
    keeps: Measured = {}
    for size in sizes:
        cache = VectorCache(CacheLimits(size, 2**50))
        names = [at.to_bytes(32, "big") for at in range(2 * size)]
        gc.collect()
        began = time.process_time()
        for name in names:  # the second half drops the first
            await cache.land(name, cached, is_new=False)
        keeps[size] = (time.process_time() - began) / len(names)
        assert len(cache) == size

        def hit(at: int, cache: VectorCache = cache, names: list[bytes] = names) -> object:
            return cache.find(names[-1 - at * 7919 % len(cache)], cached.issued, 60.0)

        hits[size] = hit
    return {
        "hit in the worker, so many vectors held": _take_turns(hits),
        "kept, up to the bound and beyond": keeps,
    }


def _grow_guard(directory: Path, cached: CachedVector, sizes: Sizes) -> dict[str, Measured]:
    now, ends = cached.issued, cached.issued + timedelta(hours=1)
    records: dict[int, Callable[[int], object]] = {}
    keeps: Measured = {}
    for size in sizes:
        file = directory / f"guard-{size}"
        prepare_guard(file, size, now)
        guard = ReplayGuard(file)
        gc.collect()
        began = time.process_time()
        for at in range(size):
            guard.record(Received("urn:held", str(at), ends), now)
        keeps[size] = (time.process_time() - began) / size

        def record(at: int, guard: ReplayGuard = guard, size: int = size) -> object:
            return guard.record(Received("urn:held", str(at * 7919 % size), ends), now)

        records[size] = record
    return {
        "replay guard: filled to its capacity": keeps,
        "replay guard, full: one that came before": _take_turns(records),
    }


def _grow_registry(directory: Path, clock: FixedClock, sizes: Sizes) -> dict[str, Measured]:
    context = RequestContext("bench", Caller("bench", "cli"), "uid:0")
    loads: Measured = {}
    reloads: Measured = {}
    builds: Measured = {}
    compares: Measured = {}
    grants: dict[int, Callable[[int], object]] = {}
    for size in sizes:
        home = directory / str(size)
        _write_conventions(home / "conventions", size)
        loads[size], _ = _time(partial(load_conventions, home / "conventions"), size, _READINGS)
        files = ConventionFiles(home / "conventions")
        reloads[size], conventions = _time(files.load, size)
        builds[size], registry = _time(partial(Registry, conventions), size)
        compares[size], _ = _time(partial(_compare, conventions), size)

        def grant(at: int, registry: Registry = registry, size: int = size) -> object:
            wanted = VectorRequest(f"c{at * 7919 % size}", "agent-0042", ("PAGM_A",))
            return authorize_issue(registry, wanted, context, clock)

        grants[size] = grant
    return {
        "a request authorized, so many conventions": _take_turns(grants),
        "conventions read, for each": loads,
        "read again unchanged, for each": reloads,
        "registry made of them, for each": builds,
        "compared with each other, for each": compares,
    }


def _compare(conventions: Iterable[Convention]) -> list[Contradiction]:
    return list(find_contradictions(conventions))


def _write_conventions(directory: Path, size: int) -> None:
    directory.mkdir(parents=True)
    for at in range(size):
        (directory / f"c{at}.toml").write_text(
            f'role = "client"\nissuer = "urn:us"\naudience = "http://service/{at}"\n'
            f'recipient = "urn:them:{at}"\nlevels = ["urn:level"]\npagms = ["PAGM_A"]\nkey = "k"\n'
        )


def _take_turns(operations: dict[int, Callable[[int], object]]) -> Measured:
    taken: dict[int, list[float]] = {size: [] for size in operations}
    done = 0
    for _ in range(_ROUNDS):
        for size, operation in operations.items():
            gc.collect()
            began = time.process_time()
            for at in range(done, done + _BLOCK):
                operation(at)
            taken[size].append((time.process_time() - began) / _BLOCK)
        done += _BLOCK
    return {size: statistics.median(each[1:]) for size, each in taken.items()}


def _time(
    operation: Callable[[], Result], size: int, rounds: int = _ROUNDS
) -> tuple[float, Result]:
    result = operation()
    taken = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        result = operation()
        taken.append((time.process_time() - began) / size)
    return statistics.median(taken), result
