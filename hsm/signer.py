"""Signs frames with the keys of one session; knows nothing of sockets.

Owns what is done about each kind of failure (`hsm.errors.Kind`), the count of signatures per key and the call deadline. Promises one
result per job, in order, and no HSM time for a job whose deadline has passed; that a job is tried twice here only where the failure
was the key's handle or the login; and that once the session has failed everything is refused until `mend` has had the keys prove
themselves again. `broken` means that only another process can.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from hsm.ckr import UNSURE
from hsm.deadline import call_deadline
from hsm.errors import HsmError
from hsm.keys import SigningKey
from hsm.mechanism import sign_digest
from hsm.opened import OpenToken
from hsm.wire import (
    KeyFacts,
    KeyUse,
    SignedFrame,
    SignFailure,
    SignFrame,
    SignJob,
    is_readiness_probe,
)

_TOLERANCE: Final = 0.1
"""Share of the call deadline by which it may be late: the timer is not set anew for calls that follow that closely."""


class FrameSigner:
    """The signing half of a lane.

    Attributes:
        call_timeout: seconds one call into the module may take.
        broken: the failure after which only a new process helps, if there was one.
        reopened: how often the session was opened anew.
        keep_counts: told of a key how often it has signed and proven itself, before a frame signed with it is answered.
    """

    def __init__(self, token: OpenToken, call_timeout: float) -> None:
        self._token: Final = token
        self.call_timeout: Final = call_timeout
        self._signatures: Final[Counter[str]] = Counter()
        self._probes: Final[Counter[str]] = Counter()
        self._lost: SignFailure | None = None
        self._armed_at = 0.0
        self.broken: HsmError | None = None
        self.reopened = 0
        self.keep_counts: Callable[[str, int, int], None] = lambda *_: None

    @property
    def must_mend(self) -> bool:
        """Whether the session is lost and `mend` is due."""
        return self._lost is not None and self.broken is None

    def facts(self) -> list[KeyFacts]:
        """Describe the keys and how often each has signed, proofs included."""
        counts = self.counts()
        return [
            KeyFacts(key.name, key.kind, key.bits, key.public_key, counts[key.name])
            for key in self._token.keys.values()
        ]

    def counts(self) -> dict[str, int]:
        """How many signatures each key has made in this process, proofs included."""
        proofs = self._token.proofs
        return {name: proofs[name] + self._signatures[name] for name in proofs}

    def proofs(self) -> dict[str, int]:
        """How many of them have proven the key: to the lane itself, or to a worker that looks whether it is ready."""
        return {name: count + self._probes[name] for name, count in self._token.proofs.items()}

    def keep_all_counts(self) -> None:
        """Have the counts of every key kept."""
        self._keep(self._token.proofs)

    def sign(self, frame: SignFrame) -> SignedFrame:
        """Sign every job of the frame that can be signed."""
        seconds: dict[str, float] = {}
        made: Counter[str] = Counter()
        with call_deadline(self.call_timeout):
            self._armed_at = 0.0
            results = [self._sign_one(job, made, seconds) for job in frame.jobs]
        self._signatures.update(made)
        self._keep(made)
        uses = {key: KeyUse(count, seconds[key]) for key, count in made.items()}
        return SignedFrame(frame.batch, results, uses)

    def doubt(self) -> None:
        """Take note that a signature did not verify: nothing is signed before `mend` has proven every key again."""
        detail = "a signature did not verify with the certificate; the lane proves its keys anew"
        self._lost = SignFailure("SIGNATURE_DOUBTED", "session", detail)

    def note(self, error: HsmError) -> None:
        """Take note of a failure that another use of the token has met: what it means for the session holds here too."""
        self._give_up(error)

    def mend(self) -> None:
        """Open the session anew and have every key prove itself; a failure is kept in `broken`."""
        try:
            self._token.reopen()
        except HsmError as error:
            self.broken = error
        else:
            self.reopened += 1
            self._lost = None
        self.keep_all_counts()

    def _keep(self, names: Iterable[str]) -> None:
        proofs = self._token.proofs
        for name in names:
            signatures = proofs[name] + self._signatures[name]
            self.keep_counts(name, signatures, proofs[name] + self._probes[name])

    def _sign_one(
        self, job: SignJob, made: Counter[str], seconds: dict[str, float]
    ) -> bytes | SignFailure:
        if self._lost is not None:
            return self._lost
        started = time.monotonic()
        if started > job.deadline:
            return SignFailure("DEADLINE_PASSED", "expired", "the lane reached it too late")
        name = job.key
        key = self._token.keys.get(name)
        if key is None:
            return SignFailure("KEY_UNKNOWN", "request", f"this lane has no key `{name}`")
        if started - self._armed_at > self.call_timeout * _TOLERANCE:
            self._arm(started)
        try:
            signature = sign_digest(key, job.hash_name, job.digest, job.octets)
        except HsmError as error:
            second = self._try_again(job, error)
            if isinstance(second, SignFailure):
                return second
            signature = second
        made[name] += 1
        if job.octets and is_readiness_probe(job):
            self._probes[name] += 1
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - started
        return signature

    def _arm(self, now: float) -> None:
        """Give the calls that start from now on their deadline, those at the end of the tolerance too."""
        signal.setitimer(signal.ITIMER_REAL, self.call_timeout * (1 + _TOLERANCE))
        self._armed_at = now

    def _try_again(self, job: SignJob, error: HsmError) -> bytes | SignFailure:
        """Do what the failure's kind asks for, and sign the job once more where that may have helped."""
        if error.finding.kind not in {"object", "login"}:
            return self._give_up(error)
        try:
            key = self._recover(job.key, error)
        except HsmError as worse:
            return self._lose(worse)
        finally:
            self._arm(time.monotonic())
        try:
            return sign_digest(key, job.hash_name, job.digest, job.octets)
        except HsmError as again:
            return self._give_up(again)

    def _recover(self, name: str, error: HsmError) -> SigningKey:
        if error.finding.kind == "object":
            return self._token.find_again(name)
        self._token.reopen()
        self.reopened += 1
        return self._token.keys[name]

    def _give_up(self, error: HsmError) -> SignFailure:
        """Describe a failure of signing, and remember what it means for the jobs that follow."""
        finding = error.finding
        if finding.kind in {"request", "capacity"}:
            return SignFailure(finding.code, finding.kind, str(error))
        return self._lose(error)

    def _lose(self, error: HsmError) -> SignFailure:
        """Sign nothing more before the session has been opened anew, or in this process where that would not help."""
        finding = error.finding
        if finding.kind in {"device", "human"} and finding.code not in UNSURE:
            self._lost = SignFailure(finding.code, finding.kind, str(error))
            self.broken = error
        else:
            self._lost = SignFailure(finding.code, "session", str(error))
        return self._lost
