"""What it costs to give a vector out again, and to know whether one came before: microseconds, beside an RSA signature in software.

Blocks of each operation take turns, so that a neighbour on the machine troubles all alike; the median of the blocks counts.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.cache.replay_guard import Received, ReplayGuard, prepare_guard
from appliance.cache.shared_memory import SharedMemory, prepare_shared_memory
from appliance.cache.vector_cache import (
    CachedVector,
    CacheLimits,
    Creation,
    VectorCache,
    read_cached,
    reuse_key,
    write_cached,
)
from appliance.clock import FixedClock
from appliance.conventions.authorize import authorize_issue
from appliance.conventions.model import NAME_ID_UNSPECIFIED, ClientConvention
from appliance.conventions.registry import Registry
from appliance.native import SignatureProfile, prepare
from appliance.vectors.assertion import content_of
from appliance.vectors.model import (
    Caller,
    RequestContext,
    SignedVector,
    UnsignedVector,
    VectorRequest,
)
from bench.cache_growth import measure_growth

_RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
_NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_CONVENTION: Final = ClientConvention(
    id="bench",
    issuer="urn:interops:73282932000074:idp:demo:1",
    audience="http://service.demo.example/droits",
    recipient="urn:interops:sp:73282932000074:demo",
    levels=("urn:oasis:names:tc:SAML:2.0:ac:classes:Password",),
    pagms=frozenset({"PAGM_CONSULTATION"}),
    attributes=frozenset(),
    id_style="xs-id",
    name_id_format=NAME_ID_UNSPECIFIED,
    no_user="NON_RENSEIGNE",
    lifetime=3600.0,
    back_dating=10.0,
    key="bench",
    signature_algorithm=_RSA_SHA256,
    reuse=True,
)
_BLOCK: Final = 500
_CERTIFICATES: Final = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench cache`."""
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each (default 15)")
    parser.add_argument("--json", action="store_true", help="print a JSON object of results")
    parser.add_argument(
        "--growth",
        action="store_true",
        help="instead: how each cost grows up to a million vectors and ten thousand conventions",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.growth:
        return _run_growth(as_json=arguments.json)
    with tempfile.TemporaryDirectory(prefix="bench-cache-") as made:
        medians = asyncio.run(_measure(Path(made), arguments.rounds))
    if arguments.json:
        print(json.dumps(medians, indent=2))
        return 0
    print(f"{'operation':<44}{'µs':>10}")
    for name, seconds in medians.items():
        print(f"{name:<44}{seconds * 1e6:>10.1f}")
    return 0


def _run_growth(*, as_json: bool) -> int:
    found = asyncio.run(measure_growth(make_cached()))
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"{'operation':<44}{'size':>10}{'µs':>10}{'ratio':>8}")
    for name, sizes in found.items():
        least = next(iter(sizes.values()))
        for size, seconds in sizes.items():
            print(f"{name:<44}{size:>10,}{seconds * 1e6:>10.1f}{seconds / least:>8.2f}")
    return 0


async def _measure(directory: Path, rounds: int) -> dict[str, float]:
    bench = _Bench.make()
    prepare_guard(directory / "guard", 1_000_000, _NOW)
    prepare_shared_memory(directory / "shared", 64 * 1024**2)
    with ReplayGuard(directory / "guard") as guard, SharedMemory(directory / "shared") as shared:
        operations = await bench.operations(guard, shared)
        blocks: dict[str, list[float]] = {name: [] for name in operations}
        for _ in range(rounds):
            for name, operation in operations.items():
                began = time.perf_counter()
                for _ in range(_BLOCK):
                    operation()
                blocks[name].append((time.perf_counter() - began) / _BLOCK)
    return {name: statistics.median(taken[1:]) for name, taken in blocks.items()}


def make_cached() -> CachedVector:
    """A signed vector as the cache keeps it."""
    return _Bench.make().cached


@dataclass(slots=True)
class _Bench:
    """A signed vector with a chain of four certificates, and the key that made it."""

    key: rsa.RSAPrivateKey
    profile: SignatureProfile
    cached: CachedVector
    presented: int = 0

    @classmethod
    def make(cls) -> "_Bench":
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name.from_rfc4514_string("CN=bench")
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), 1, _NOW, _NOW + timedelta(1))
            .sign(key, hashes.SHA256())
            .public_bytes(Encoding.DER)
        )
        public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        profile = SignatureProfile(
            signature_algorithm=_RSA_SHA256,
            digest_algorithm=_SHA256,
            public_key=public_key,
            certificates=[certificate] * _CERTIFICATES,
        )
        unsigned = _unsigned()
        prepared = prepare(content_of(unsigned), profile)
        signed = SignedVector(unsigned, prepared.splice(_sign(key, prepared.digest)))
        return cls(key, profile, CachedVector.of(signed, Creation("bench", 0)))

    async def operations(
        self, guard: ReplayGuard, shared: SharedMemory
    ) -> dict[str, Callable[[], object]]:
        request, octets = self.cached.vector.unsigned.request, write_cached(self.cached)
        cache, key = VectorCache(CacheLimits(100_000, 2**30)), reuse_key(request, "0" * 64)
        await cache.land(key, self.cached, is_new=False)
        shared.write(key, octets)
        known = Received("urn:issuer", "known", _NOW + timedelta(hours=1))
        guard.record(known, _NOW)
        digest = bytes(32)
        return {
            "RSA-2048 signature in software": lambda: _sign(self.key, digest),
            "name of what a vector states": lambda: reuse_key(request, "0" * 64),
            "hit in the worker": lambda: cache.find(key, _NOW, 60.0),
            f"read from shared memory ({len(octets):,} octets)": lambda: shared.read(key),
            "and verified again": lambda: read_cached(octets, request, self.profile),
            "written to shared memory": lambda: shared.write(key, octets),
            "replay guard: a vector that is new": lambda: guard.record(self._next(), _NOW),
            "replay guard: one that came before": lambda: guard.record(known, _NOW),
        }

    def _next(self) -> Received:
        self.presented += 1
        return Received("urn:issuer", str(self.presented), _NOW + timedelta(hours=1))


def _sign(key: rsa.RSAPrivateKey, digest: bytes) -> bytes:
    return key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


def _unsigned() -> UnsignedVector:
    clock = FixedClock(_NOW)
    asked = VectorRequest(_CONVENTION.id, "agent-0042", ("PAGM_CONSULTATION",))
    context = RequestContext("bench", Caller("bench", "cli"), "uid:0")
    request = authorize_issue(Registry([_CONVENTION]), asked, context, clock)
    noon, ends = "2026-03-01T12:00:00.000Z", "2026-03-01T13:00:00.000Z"
    return UnsignedVector(request, "_bench", noon, noon, ends, noon)
