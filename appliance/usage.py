"""How often each key has signed, by the lanes' own count, since the home was made.

Owns `run/key-usage.json` and the lines `key-usage` of the log; the supervisor states the same counts in the trace, where
`appliance.trace.accounts` compares them with the vectors created. A worker cannot make them smaller. Promises to lose nothing
that was answered when a lane is killed, a second's worth at most when the supervisor is, and never to count twice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from appliance import log, metrics
from hsm.process import LaneProcess

_LOG: Final = log.Log("keys")


class KeyUsage(msgspec.Struct):
    """One key of one token.

    Attributes:
        signatures: all of them, proofs included.
        proofs: those over octets that can be no vector: with which lanes have proven the key, and readiness probes.
    """

    signatures: int = 0
    proofs: int = 0


class UsageLedger:
    """The counts of a home; belongs to its supervisor."""

    def __init__(self, file: Path) -> None:
        self._file: Final = file
        self._totals: Final = read_usage(file)
        self._kept = b""
        self._is_refused = False
        # what each lane, by process id, has been counted for
        self._seen: Final[dict[int, tuple[Mapping[str, int], Mapping[str, int]]]] = {}

    def totals(self) -> Mapping[str, tuple[int, int]]:
        """`token/key` → signatures and proofs, as the trace states them."""
        return {name: (each.signatures, each.proofs) for name, each in self._totals.items()}

    def note(self, token: str, lane: LaneProcess) -> None:
        """Take over what the lane has signed since it was last looked at."""
        counted = lane.counted
        signatures, proofs = self._seen.get(lane.pid, ({}, {}))
        for key, count in counted.signatures.items():
            made = count - signatures.get(key, 0)
            usage = self._totals.setdefault(f"{token}/{key}", KeyUsage())
            usage.signatures += made
            usage.proofs += counted.proofs.get(key, 0) - proofs.get(key, 0)
            metrics.KEY_SIGNATURES.labels(token, key).inc(made)
        self._seen[lane.pid] = counted.signatures, counted.proofs

    def forget(self, lane: LaneProcess) -> None:
        """The lane has ended."""
        self._seen.pop(lane.pid, None)

    def keep(self) -> None:
        """Write the file if anything has changed; a disk that refuses is said once, and asked again by the next call."""
        octets = msgspec.json.encode(self._totals)
        if octets == self._kept:
            return
        draft = self._file.with_suffix(".new")
        try:
            draft.write_bytes(octets)
            draft.replace(self._file)
        except OSError as exc:
            if not self._is_refused:
                _LOG.error("key-usage-not-kept", cause=str(exc), next="see to the disk")
            self._is_refused = True
        else:
            self._kept = octets
            self._is_refused = False

    def say(self) -> None:
        """Write a line per key to the log."""
        for key, usage in self._totals.items():
            _LOG.info("key-usage", key=key, signatures=usage.signatures, proofs=usage.proofs)


def read_usage(file: Path) -> dict[str, KeyUsage]:
    """Read what an earlier supervisor has kept; nothing when there is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, KeyUsage])
    except FileNotFoundError:
        return {}
