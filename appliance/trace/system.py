"""The supervisor's own events, in the log `system`: start, stop, reload, keys, their use, conventions, logs, failed logins, ended processes.

Promises that stating an event never waits and never raises: what cannot be traced is said in the diagnostic log.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from appliance.clock import Clock, format_instant
from appliance.errors import ApplianceError
from appliance.home import CONVENTION_FILES
from appliance.log import Log
from appliance.trace.logs import TraceLogs
from appliance.trace.reader import log_names
from appliance.trace.record import Event, Receipt, TraceEntry

_LOG: Final = Log("trace")
_LOOK_EVERY: Final = 1.0


class SystemLog:
    """States events of the appliance itself."""

    def __init__(self, logs: TraceLogs, clock: Clock) -> None:
        self._logs: Final = logs
        self._clock: Final = clock
        self._conventions: Mapping[str, str] = {}
        self._keys: Mapping[str, tuple[str, str]] = {}
        self._usage: Mapping[str, tuple[int, int]] = {}
        self._present: Final[set[str]] = set()
        self._is_blind = False

    def record(self, event: Event, **facts: str | int | None) -> None:
        """State an event with fields of `TraceEntry`."""
        blank = TraceEntry(event=event, time=format_instant(self._clock.now()))
        try:
            self._logs.append(msgspec.structs.replace(blank, **facts)).add_done_callback(_note_lost)
        except ApplianceError as exc:
            _LOG.error("event-not-traced", traced=event, detail=exc.detail)

    def record_keys(self, keys: Mapping[str, tuple[str, str]]) -> None:
        """State each signing key that is new or other than before: by name, fingerprints of certificate and public key."""
        for key, (certificate, public_key) in keys.items():
            if self._keys.get(key) != (certificate, public_key):
                facts = {"certificate_sha256": certificate, "key_sha256": public_key}
                self.record("key-in-service", key=key, **facts)
        self._keys = keys

    def record_usage(self, usage: Mapping[str, tuple[int, int]], *, whole: bool) -> None:
        """State how often keys have signed: `token/key` → signatures, and the proofs among them.

        Args:
            usage: the counts.
            whole: state those too that have not changed since.
        """
        now = format_instant(self._clock.now())
        for name, (signatures, proofs) in usage.items():
            if whole or self._usage.get(name) != (signatures, proofs):
                token, _, key = name.partition("/")
                counts = {"signatures": signatures, "proofs": proofs}
                self.record("key-usage", time=now, component=f"token {token}", key=key, **counts)
        self._usage = dict(usage)

    def record_conventions(self, directory: Path) -> None:
        """State each convention file that is new, other than before, or gone, by its digest."""
        found = {
            file.stem: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(directory.glob(CONVENTION_FILES))
        }
        for convention, digest in found.items():
            if self._conventions.get(convention) != digest:
                self.record("convention-in-force", convention=convention, sha256=digest)
        for convention in self._conventions.keys() - found.keys():
            self.record("convention-withdrawn", convention=convention)
        self._conventions = found

    def record_logs(self, directory: Path) -> None:
        """State each log that is new below `directory`: one that is stated and then gone is missed by `trace verify`."""
        try:
            names = log_names(directory)
        except OSError as exc:
            if not self._is_blind:
                _LOG.error("logs-not-listed", directory=str(directory), cause=str(exc))
            self._is_blind = True
            return
        self._is_blind = False
        for name in names:
            if name not in self._present:
                self.record("log-present", log=name)
                self._present.add(name)

    async def watch_logs(self, directory: Path) -> None:
        """State new logs within a second, until cancelled."""
        while True:
            self.record_logs(directory)
            await asyncio.sleep(_LOOK_EVERY)


def _note_lost(written: asyncio.Future[Receipt]) -> None:
    if not written.cancelled() and written.exception() is not None:
        _LOG.error("event-not-traced", detail=str(written.exception()))
