"""What several appliances share through a Valkey or Redis server: vectors to give out again, sealed, and vectors that came.

The server is not trusted: a vector is sealed (AES-256-GCM) with a key that only the appliances hold, and its cache key is associated
data, so that no entry can be read, changed, or put in another's place; what comes back is verified like any vector besides. Without an
answer a vector is signed anew; but nobody who must know whether a vector came before goes on without one, or with a server that may
forget: one that evicts keys when its memory is full is refused.
"""

import math
import os
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.cache.replay_guard import Received
from appliance.cache.valkey import Valkey, ValkeyUnavailable
from appliance.clock import Clock
from appliance.errors import Reason, ReplayGuardUnavailable
from appliance.log import Log
from appliance.vectors.conditions import LONGEST_SKEW

SEAL_KEY_OCTETS: Final = 32

_LOG: Final = Log("cache")
_NONCE: Final = 12
_REST: Final = 1.0  # seconds
_CLOCKS: Final = timedelta(minutes=5)
"""How far the clocks of two appliances may be apart."""


class SealedVectors:
    """Of `cache.vector_cache`'s kind `SharedVectors`."""

    def __init__(self, valkey: Valkey, seal_key: bytes, clock: Clock) -> None:
        self._valkey: Final = valkey
        self._seal: Final = AESGCM(seal_key)
        self._clock: Final = clock
        self._rests_until: float | None = None

    async def find(self, key: bytes) -> bytes | None:
        """Return what an appliance kept; None when it is not there, or not what one of us sealed."""
        if self._is_resting():
            return None
        try:
            sealed = await self._valkey.find(b"vector:" + key)
        except ValkeyUnavailable as exc:
            self._rest(exc)
            return None
        self._rests_until = None
        if sealed is None:
            return None
        try:
            return self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], key)
        except (InvalidTag, ValueError):
            _LOG.warning("shared-vector-forged", next="see who else writes to the server")
            return None

    async def keep(self, key: bytes, octets: bytes, ends: datetime) -> None:
        """Keep octets until `ends`; without the server they are not kept."""
        if self._is_resting():
            return
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._seal.encrypt(nonce, octets, key)
        try:
            await self._valkey.set(
                b"vector:" + key, sealed, _milliseconds(ends - self._clock.now())
            )
        except ValkeyUnavailable as exc:
            self._rest(exc)

    def _is_resting(self) -> bool:
        return self._rests_until is not None and self._clock.monotonic() < self._rests_until

    def _rest(self, cause: Exception) -> None:
        """Leave a server that does not answer alone for a second, so that no request waits for it; say so once."""
        if self._rests_until is None:
            _LOG.warning(
                "shared-vectors-lost", cause=str(cause), next="every appliance signs its own"
            )
        self._rests_until = self._clock.monotonic() + _REST


class SharedReplayGate:
    """The replay guard of several appliances; of `operations.verify`'s kind `ReplayGate`."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey: Final = valkey

    async def record(self, received: Received, now: datetime) -> bool:
        """Record a vector at once for every appliance; False when it came before.

        It stays for as long as the one with the slowest clock, under a convention that tolerates as much as any may, would take it: what
        conventions say now does not count, because another may come by then.

        Raises:
            ReplayGuardUnavailable: the server does not answer, or may forget what it was told.
        """
        lasts = _milliseconds(received.ends - now + LONGEST_SKEW + _CLOCKS)
        try:
            eviction = await self._valkey.eviction()
            if eviction == "noeviction":
                return await self._valkey.set_once(_replay_key(received), b"", lasts)
        except ValkeyUnavailable as exc:
            raise _no_answer(exc) from exc
        said = f"`{eviction}`" if eviction else "not to be seen (allow INFO)"
        raise ReplayGuardUnavailable(
            Reason.REPLAY_GUARD_UNAVAILABLE,
            f"the server of [shared] may forget vectors: its maxmemory-policy is {said}; set it to noeviction",
        )

    async def forget(self, received: Received) -> None:
        """Take a vector back, for every appliance.

        Raises:
            ReplayGuardUnavailable: the server does not answer.
        """
        try:
            await self._valkey.delete(_replay_key(received))
        except ValkeyUnavailable as exc:
            raise _no_answer(exc) from exc


def _no_answer(cause: ValkeyUnavailable) -> ReplayGuardUnavailable:
    return ReplayGuardUnavailable(
        Reason.REPLAY_GUARD_UNAVAILABLE,
        f"the server that the appliances share does not answer ({cause}): see [shared]",
    )


def _replay_key(received: Received) -> bytes:
    return b"replay:" + received.digest


def _milliseconds(lasts: timedelta) -> int:
    return math.ceil(lasts / timedelta(milliseconds=1))
