"""Reading logs over the network: checkpoint, tiles, bundles and proofs, as C2SP tlog-tiles names them, for those who may.

Promises that a name from outside reaches the disk only when it is one a log can have. Entries tell of persons, so who may call the API may
not therefore read the log: the readers are named one by one.
"""

import asyncio
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.errors import ConventionViolation, Reason, ResourceUnknown
from appliance.native import TreeRefused
from appliance.trace.checkpoint import CheckpointInvalid
from appliance.trace.names import read_log_name
from appliance.trace.proofs import prove_entry
from appliance.trace.store import CHECKPOINT_FILE, read_resource
from appliance.vectors.model import Caller

_TILE: Final = re.compile(
    r"tile/(?:entries|[0-9]|[1-5][0-9]|6[0-3])/(?:x[0-9]{3}/){0,5}[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?"
)
_PROOF: Final = re.compile(r"proof/(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class LogResource:
    """One resource of a log; `is_final` when it will never change."""

    octets: bytes
    is_text: bool
    is_final: bool


class ReadLogOperation:
    """Serves the files below one directory of logs."""

    def __init__(self, logs: Path, readers: Collection[str]) -> None:
        self._logs: Final = logs
        self._readers: Final = frozenset(readers)

    async def read(self, log: str, resource: str, caller: Caller) -> LogResource:
        """Return a resource of a log.

        Raises:
            ConventionViolation: the caller may not read logs.
            ResourceUnknown: there is no such log, or it has no such resource, or not any more.
        """
        if self._readers.isdisjoint((caller.name, caller.kind)):
            raise ConventionViolation(
                Reason.CALLER_NOT_ALLOWED,
                f"`{caller.name}` may not read the log; `trace.readers` in appliance.toml lists who may",
            )
        directory = self._logs / log
        if read_log_name(log) is None or not directory.is_dir():
            raise _unknown(f"there is no log `{log[:64]}`")
        try:
            return await asyncio.to_thread(_read, directory, resource)
        except FileNotFoundError:
            raise _unknown(f"log {log} has no such resource, or has let go of it") from None


def _read(directory: Path, resource: str) -> LogResource:
    if resource == CHECKPOINT_FILE:
        octets = (directory / CHECKPOINT_FILE).read_bytes()
        return LogResource(octets, is_text=True, is_final=False)
    proof = _PROOF.fullmatch(resource)
    if proof is not None:
        try:
            octets = prove_entry(directory, int(proof[1]))
        except (TreeRefused, CheckpointInvalid) as exc:
            raise _unknown(f"entry {proof[1]} cannot be proven: {exc}") from exc
        return LogResource(octets, is_text=True, is_final=False)
    if _TILE.fullmatch(resource) is None:
        raise _unknown("a log has `checkpoint`, `tile/…` and `proof/INDEX`")
    return LogResource(read_resource(directory, resource), is_text=False, is_final=True)


def _unknown(detail: str) -> ResourceUnknown:
    return ResourceUnknown(Reason.NOT_FOUND, detail)
