"""Signs frames with the keys of one session; knows nothing of sockets.

Owns the key table, the count of signatures per key and the call deadline. Promises one result per job, in order, and no HSM time
for a job whose deadline has passed; once the session has failed, refuses everything until the process is replaced.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from hsm.errors import HsmError
from hsm.keys import SigningKey
from hsm.mechanism import sign_digest
from hsm.probe import prove_key
from hsm.wire import KeyFacts, KeyUse, SignedFrame, SignFailure, SignFrame, SignJob

_SURVIVABLE: Final = frozenset({"request", "capacity"})
_UNUSED: Final = KeyUse(0, 0.0)


@contextmanager
def call_deadline(seconds: float) -> Iterator[None]:
    """Let the kernel end this process (SIGALRM) if the body takes longer.

    A PKCS#11 call that hangs cannot be cancelled and holds the only thread; the process is the unit of replacement.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class FrameSigner:
    """The signing half of a lane.

    Attributes:
        broken: the failure after which only a new process helps, if there was one.
    """

    def __init__(self, keys: Iterable[SigningKey], call_timeout: float) -> None:
        self._keys: Final = {key.name: key for key in keys}
        self._call_timeout: Final = call_timeout
        self._signatures: Final[Counter[str]] = Counter()
        self.broken: HsmError | None = None

    def prove(self) -> None:
        """Prove every key (DESIGN invariant 10).

        Raises:
            HsmError: a key does not sign, or is not the one it should be.
        """
        for key in self._keys.values():
            with call_deadline(self._call_timeout):
                prove_key(key)
            self._signatures[key.name] += 1

    def facts(self) -> list[KeyFacts]:
        """Describe the keys and how often each has signed."""
        return [
            KeyFacts(key.name, key.kind, key.bits, key.public_key, self._signatures[key.name])
            for key in self._keys.values()
        ]

    def sign(self, frame: SignFrame) -> SignedFrame:
        """Sign every job of the frame that can be signed."""
        uses: dict[str, KeyUse] = {}
        with call_deadline(self._call_timeout):
            results = [self._sign_one(job, uses) for job in frame.jobs]
        for key, use in uses.items():
            self._signatures[key] += use.signatures
        return SignedFrame(frame.batch, results, uses)

    def _sign_one(self, job: SignJob, uses: dict[str, KeyUse]) -> bytes | SignFailure:
        started = time.monotonic()
        if self.broken is not None:
            return _describe(self.broken)
        if started > job.deadline:
            return SignFailure("DEADLINE_PASSED", "expired", "the lane reached it too late")
        key = self._keys.get(job.key)
        if key is None:
            return SignFailure("KEY_UNKNOWN", "request", f"this lane has no key `{job.key}`")
        signal.setitimer(signal.ITIMER_REAL, self._call_timeout)
        try:
            signature = sign_digest(key, job.hash_name, job.digest)
        except HsmError as error:
            if error.finding.kind not in _SURVIVABLE:
                self.broken = error
            return _describe(error)
        before = uses.get(job.key, _UNUSED)
        seconds = before.seconds + time.monotonic() - started
        uses[job.key] = KeyUse(before.signatures + 1, seconds)
        return signature


def _describe(error: HsmError) -> SignFailure:
    return SignFailure(error.finding.code, error.finding.kind, str(error))
