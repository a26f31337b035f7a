"""Looks at the CRL directories beside the event loop, so that no vector waits for one, and warns long before one runs out.

Promises one look a second, or fewer when there are so many directories that looking would take more than a tenth of a processor.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from appliance import metrics
from appliance.clock import Clock
from appliance.log import Log
from appliance.trust.revocation import CrlDirectory

_LOG: Final = Log("trust")
_PAUSE: Final = 1.0
_SHARE: Final = 9.0  # seconds of rest for each second of looking
_SAY_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class WatchedDirectory:
    """A directory, and how long before the end of one of its CRLs to warn (seconds)."""

    crls: CrlDirectory
    warning: float


class CrlWatch:
    """The watch of one worker."""

    def __init__(self, watched: Callable[[], Iterable[WatchedDirectory]], clock: Clock) -> None:
        """Watch what `watched` returns at the time of each look."""
        self._watched: Final = watched
        self._clock: Final = clock
        self._said: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Look until cancelled; a look that fails is said, and the next comes all the same: a watch that ended would miss every revocation."""
        while True:
            began = self._clock.monotonic()
            try:
                await asyncio.to_thread(self.look)
            except Exception as exc:  # noqa: BLE001 - a task of its own: nobody else would hear of it
                _LOG.error("crl-look-failed", exc)
            await asyncio.sleep(max(_PAUSE, _SHARE * (self._clock.monotonic() - began)))

    def look(self) -> None:
        """Look once at every directory."""
        for each in self._watched():
            ends = list(each.crls.look().ends())
            now = self._clock.now()
            if ends:
                left = min((end - now).total_seconds() for _, end in ends)
                metrics.CRL_SECONDS_LEFT.labels(str(each.crls.directory)).set(left)
            for issuer, end in ends:
                if (end - now).total_seconds() <= each.warning:
                    self._warn(each.crls, issuer, int((end - now).total_seconds()))

    def _warn(self, crls: CrlDirectory, issuer: str, left: int) -> None:
        key, now = (str(crls.directory), issuer), self._clock.monotonic()
        last = self._said.get(key)
        if last is not None and now - last < _SAY_EVERY.total_seconds():
            return
        self._said[key] = now
        _LOG.warning(
            "crl-runs-out",
            directory=crls.directory,
            issuer=issuer,
            seconds_left=left,
            next="fetch the CA's next CRL into the directory",
        )
