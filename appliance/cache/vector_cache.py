"""Vectors that may be given out again: in this process's memory, and behind it in what workers or appliances share.

Promises that a vector is found only under the digest of everything it states (`reuse_key`), only within its life less the margin, only
if it was made under the conventions in force (`clear`), and that memory holds no more vectors and no more octets than it may. Of requests that miss together one signs (single flight); the others
wait for it. The hot path is one look into a dictionary of this process: no lock, no other process. Not thread-safe: one event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol

import msgspec

from appliance.native import (
    SignatureProfile,
    SignatureRefused,
    StructureRefused,
    XmlRefused,
    restore,
)
from appliance.vectors.conditions import read_instant
from appliance.vectors.model import AuthorizedRequest, SignedVector, UnsignedVector

_OVERHEAD: Final = 2048
"""Octets that an entry takes beside its assertion, as measured: strings, objects, its place in the dictionary."""

_EVER: Final = datetime.min.replace(tzinfo=UTC)


class Creation(msgspec.Struct, frozen=True):
    """Where the creation of a vector stands in the trace."""

    log: str
    index: int


@dataclass(frozen=True, slots=True)
class CachedVector:
    """A vector that was traced and left once."""

    vector: SignedVector
    creation: Creation
    issued: datetime
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, vector: SignedVector, creation: Creation) -> "CachedVector":
        """Take the instants from the vector itself."""
        unsigned = vector.unsigned
        return cls(
            vector,
            creation,
            read_instant(unsigned.issue_instant),
            read_instant(unsigned.not_before),
            read_instant(unsigned.not_on_or_after),
        )

    @property
    def octets(self) -> int:
        """What it takes in memory."""
        return len(self.vector.assertion.octets) + _OVERHEAD

    def serves(self, now: datetime, margin: float) -> bool:
        """Tell whether it may be given out: begun (a clock may have been set back), and not within the margin of its end."""
        return self.begins <= now < self.ends - timedelta(seconds=margin)


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """What leaves this process: octets, the facts that stand beside them, and the creation."""

    octets: bytes
    assertion_id: str
    issue_instant: str
    not_before: str
    not_on_or_after: str
    authn_instant: str
    creation: Creation


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Stored)


def reuse_key(request: AuthorizedRequest, certificate_sha256: str) -> bytes:
    """Name everything that a vector states, and whose certificate stands in it."""
    return sha256(_ENCODER.encode((request, certificate_sha256))).digest()


def write_cached(cached: CachedVector) -> bytes:
    """Write a vector for another process."""
    unsigned = cached.vector.unsigned
    return _ENCODER.encode(
        _Stored(
            cached.vector.assertion.octets,
            unsigned.assertion_id,
            unsigned.issue_instant,
            unsigned.not_before,
            unsigned.not_on_or_after,
            unsigned.authn_instant,
            cached.creation,
        )
    )


def read_cached(
    octets: bytes, request: AuthorizedRequest, profile: SignatureProfile
) -> CachedVector | None:
    """Read what another process wrote; None where it is damaged or not signed by our own key.

    The signature is verified again: what comes from outside this process is not believed.
    """
    try:
        stored = _DECODER.decode(octets)
        assertion = restore(stored.octets, profile)
    except (msgspec.MsgspecError, SignatureRefused, StructureRefused, XmlRefused):
        return None
    unsigned = UnsignedVector(
        request,
        stored.assertion_id,
        stored.issue_instant,
        stored.not_before,
        stored.not_on_or_after,
        stored.authn_instant,
    )
    return CachedVector.of(SignedVector(unsigned, assertion), stored.creation)


class SharedVectors(Protocol):
    """What several processes share; losing it costs signatures, never correctness."""

    async def find(self, key: bytes) -> bytes | None:
        """Return what was kept, None when it is not there, or not to be had now."""

    async def keep(self, key: bytes, octets: bytes, ends: datetime) -> None:
        """Keep octets, until `ends` at the latest; what cannot be kept is dropped."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What one process keeps: so many vectors, and so many octets of memory."""

    vectors: int
    octets: int


class VectorCache:
    """The cache of one process; bounded, the vectors used last stay."""

    def __init__(
        self,
        limits: CacheLimits,
        shared: tuple[SharedVectors, ...] = (),
        since: datetime = _EVER,
    ) -> None:
        """Give out nothing that was made before `since`, whoever kept it."""
        self._limits: Final = limits
        self._shared: Final = shared
        self._since = since
        self._held: OrderedDict[bytes, CachedVector] = OrderedDict()
        self._octets = 0
        self._flights: dict[bytes, asyncio.Future[CachedVector]] = {}

    def __repr__(self) -> str:
        return f"VectorCache({len(self._held)} vectors, {self._octets} octets)"

    def __len__(self) -> int:
        return len(self._held)

    @property
    def octets(self) -> int:
        """What it takes in memory."""
        return self._octets

    def find(self, key: bytes, now: datetime, margin: float) -> CachedVector | None:
        """Return a vector of this process that may be given out now."""
        cached = self._held.get(key)
        if cached is None:
            return None
        if not self.may_give(cached, now, margin):
            if cached.ends <= now:
                self._drop(key)
            return None
        self._held.move_to_end(key)
        return cached

    def may_give(self, cached: CachedVector, now: datetime, margin: float) -> bool:
        """Tell whether a vector may be given out now: in its life, and made under the conventions in force."""
        return cached.issued >= self._since and cached.serves(now, margin)

    def flight(self, key: bytes) -> "asyncio.Future[CachedVector] | None":
        """Return what others wait for; None for the first, who then must `land` or `crash`."""
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = asyncio.get_running_loop().create_future()
        return flight

    async def find_shared(
        self, key: bytes, read: Callable[[bytes], CachedVector | None]
    ) -> CachedVector | None:
        """Return what another process kept; `read` turns it into a vector or says that it is none."""
        for shared in self._shared:
            octets = await shared.find(key)
            cached = None if octets is None else read(octets)
            if cached is not None:
                return cached
        return None

    async def land(self, key: bytes, cached: CachedVector, *, is_new: bool) -> None:
        """Keep a vector, give it to those who wait, and share one that is new."""
        self._keep(key, cached)
        flight = self._flights.pop(key, None)
        if flight is not None and not flight.done():
            flight.set_result(cached)
        if is_new:
            octets = write_cached(cached)
            for shared in self._shared:
                await shared.keep(key, octets, cached.ends)

    def crash(self, key: bytes, cause: Exception) -> None:
        """Tell those who wait that there will be no vector, and why."""
        flight = self._flights.pop(key, None)
        if flight is not None and not flight.done():
            flight.set_exception(cause)
            flight.exception()  # nobody may be waiting: that is no error of ours

    def clear(self, since: datetime) -> None:
        """Forget everything held; after a reload, what the conventions before allowed is gone.

        What others keep is out of reach, and what is under way will still land: neither is given out if made before `since`.
        """
        self._held.clear()
        self._octets = 0
        self._since = since

    def _keep(self, key: bytes, cached: CachedVector) -> None:
        if cached.octets > self._limits.octets:
            return
        self._drop(key)
        self._held[key] = cached
        self._octets += cached.octets
        while len(self._held) > self._limits.vectors or self._octets > self._limits.octets:
            _, oldest = self._held.popitem(last=False)
            self._octets -= oldest.octets

    def _drop(self, key: bytes) -> None:
        cached = self._held.pop(key, None)
        if cached is not None:
            self._octets -= cached.octets
