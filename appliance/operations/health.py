"""Whether requests would be served now: every key really signs, the trace can be written, there are conventions.

A probe is a real signature over octets that only a probe has, so that lanes count it apart; it is verified with the certified key, and
made only when nobody else has had one with that key in the last second; readers that come together share one look.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from appliance.clock import Clock
from appliance.conventions.registry import RegistryCell
from appliance.errors import ApplianceError
from appliance.native import SignatureProfile, SignatureRefused, verify_digest
from appliance.signing.job import write_probe

_FRESH: Final = 1.0  # seconds; CONTRACT 3, `/readyz`
_PROBE_WITHIN: Final = 1.5


class ProbedSigner(Protocol):
    """What the probe needs of the signing queue."""

    async def sign(
        self, key: str, hash_name: str, digest: bytes, deadline: float, octets: bytes = b""
    ) -> bytes:
        """Sign one digest, that of `octets`, by `deadline` (monotonic)."""

    def last_signed(self, key: str) -> float | None:
        """Return when a lane last signed with the key (monotonic)."""


class ProbedKeys(Protocol):
    """What the probe needs of the keyring."""

    def profile(self, key: str, signature_algorithm: str) -> SignatureProfile:
        """Return how a key signs."""

    def public_key(self, key: str) -> bytes:
        """Return the certified key, DER SubjectPublicKeyInfo."""


class ProbedTrace(Protocol):
    """What the probe needs of the trace."""

    @property
    def is_writable(self) -> bool:
        """Whether an entry would be accepted."""

    @property
    def overdue(self) -> Sequence[str]:
        """Logs for which a checkpoint has been missing for too long."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests would be served; `reasons` says what is in the way, and is empty when ready."""

    reasons: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way."""
        return not self.reasons


class ReadyProbe:
    """Looks at every part a request needs."""

    def __init__(
        self,
        *,
        registry: RegistryCell,
        keys: ProbedKeys,
        signer: ProbedSigner,
        trace: ProbedTrace,
        clock: Clock,
        new_uuid: Callable[[], UUID],
    ) -> None:
        self._registry: Final = registry
        self._keys: Final = keys
        self._signer: Final = signer
        self._trace: Final = trace
        self._clock: Final = clock
        self._new_uuid: Final = new_uuid
        self._look: asyncio.Task[Readiness] | None = None

    async def check(self) -> Readiness:
        """Look at every part; ends within two seconds."""
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._check())
        return await asyncio.shield(self._look)

    async def _check(self) -> Readiness:
        registry = self._registry.current
        probes = await asyncio.gather(*(self._probe(*each) for each in registry.signing_uses))
        reasons = [reason for reason in probes if reason is not None]
        if not registry.all():
            reasons.append("no convention is loaded")
        if not self._trace.is_writable:
            reasons.append("the trace spool cannot be written")
        reasons += [f"log {log}: its checkpoint is overdue" for log in self._trace.overdue]
        return Readiness(tuple(reasons))

    async def _probe(self, key: str, signature_algorithm: str) -> str | None:
        """Return why the key cannot be relied on, None when it can."""
        now = self._clock.monotonic()
        last = self._signer.last_signed(key)
        if last is not None and now - last <= _FRESH:
            return None
        try:
            profile = self._keys.profile(key, signature_algorithm)
            octets = write_probe(self._new_uuid())
            digest = hashlib.new(profile.hash_name, octets).digest()
            signature = await self._signer.sign(
                key, profile.hash_name, digest, now + _PROBE_WITHIN, octets
            )
            verify_digest(self._keys.public_key(key), signature_algorithm, digest, signature)
        except ApplianceError as exc:
            return f"key {key}: {exc.detail}"
        except SignatureRefused:
            return f"key {key}: its signatures do not verify with its certificate"
        return None
