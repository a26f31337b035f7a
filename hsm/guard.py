"""Why a wrong PIN is tried only once (DESIGN invariant 9).

Owns `PinGuard`. Promises that a PIN the token refused is never offered again, by any lane, after any restart, nor from the command
line, until its source changes or a person resumes the token; that a PIN which may have been refused is offered twice at most in a quarter of an
hour; and one that the token has taken before, and leaves without an answer now, five times.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hsm.acceptance import Acceptance
from hsm.errors import (
    DEVICE_BLAMED,
    NEVER_ASKED,
    PIN_CODES,
    REFUSED_BEFORE,
    Finding,
    HsmError,
    NeverAsked,
    Target,
)
from hsm.pin import PinSource, identify, identify_content, read_pin
from hsm.state import (
    RefusedPin,
    Undecided,
    await_lock,
    hand_over,
    naming_failures,
    sync_directory,
)

UNDECIDED_LOGINS: Final = 2
"""Most logins without a verdict on the PIN, one good login in between forgetting them: a token may lock at the third wrong PIN."""

UNDECIDED_SECONDS: Final = 900.0
"""How long such a login counts."""

UNANSWERED_LOGINS: Final = 5
"""Most logins without a verdict where those that the token never answered offered a PIN it has taken: a device that hangs a few times comes
back by itself, one at which the PIN was changed meanwhile is not asked without end."""

_UNANSWERED: Final = "LOGIN_UNANSWERED"
"""What stands for the answer while there is none, and for ever if the process that asked is ended meanwhile."""

Opened = TypeVar("Opened")


class PinGuard:
    """The right to open tokens of one home, held by one process at a time; made by `PinGuard.locked`.

    Keeps one record per refused token and source in the state directory, so that the refusal outlives the process.
    """

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory

    @classmethod
    @contextmanager
    def locked(cls, directory: Path, wait: float = 30.0, module: str = "") -> "Iterator[PinGuard]":
        """Hold the lock of the state directory and module; waits at most `wait` seconds for whoever holds it.

        Opening is serial because a refused PIN must be known before the next lane tries, and because SoftHSM's file store
        answers CKR_GENERAL_ERROR when sessions are opened at the same instant. It is serial per module (`module` names it with
        its environment), so that a driver that hangs does not keep the tokens of another one closed.

        Raises:
            HsmError: OPEN_BUSY: another process held the lock all the time; STATE_UNUSABLE: the directory cannot be used.
        """
        name = f"hsm-open-{hashlib.sha256(module.encode()).hexdigest()[:16]}.lock"
        with naming_failures(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with naming_failures(directory):
                hand_over(descriptor, directory)
            await_lock(descriptor, directory, wait)
            yield cls(directory)
        finally:
            os.close(descriptor)

    def log_in(
        self,
        target: Target,
        serial: str,
        source: PinSource,
        *,
        is_count_low: bool,
        open_with: Callable[[str], Opened],
    ) -> Opened:
        """Offer the PIN to the token through `open_with`, unless it is known to be wrong.

        Args:
            target: names the token in the record and in errors.
            serial: serial number of the token.
            source: where the PIN comes from.
            is_count_low: the token says a wrong PIN has been tried since the last good one (CKF_USER_PIN_COUNT_LOW).
            open_with: logs in; raises HsmError.

        Raises:
            HsmError: PIN_REFUSED_BEFORE or LOGIN_UNDECIDED without having asked the token, or what `open_with` raises.
        """
        record = RefusedPin(target.token, serial, identify(source), "", settled=False)
        accepted = Acceptance(self._directory, record.place, identify_content(source))
        self._check_not_refused(target, serial, record.source, is_count_low=is_count_low)
        attempts = self._undecided(target, record, is_accepted=accepted.holds())
        record = msgspec.structs.replace(record, undecided=attempts)
        pin = read_pin(source, target)
        self._write(_doubt(record, _UNANSWERED))
        try:
            opened = open_with(pin.reveal())
        except HsmError as error:
            self._note_failure(record, accepted, error)
            raise
        finally:
            pin.wipe()
        self.forget([record])
        accepted.note()
        return opened

    def resume(self, token: str) -> list[RefusedPin]:
        """Forget the refusals of a token, by order of a person who has mended the PIN; returns them."""
        forgotten = [record for record in self.refusals() if record.is_of(token)]
        self.forget(forgotten)
        return forgotten

    def refusals(self) -> list[RefusedPin]:
        """Read the records kept here."""
        return [record for _, record in self._stored()]

    def adopt(self, records: Iterable[RefusedPin]) -> None:
        """Keep refusals that were recorded elsewhere in the home, where nothing is known of the same token and source."""
        known = {record.file_name for record in self.refusals()}
        for record in records:
            if record.file_name not in known:
                self._write(record)

    def _stored(self) -> list[tuple[Path, RefusedPin]]:
        stored: list[tuple[Path, RefusedPin]] = []
        with naming_failures(self._directory):
            for file in sorted(self._directory.glob("pin-refused-*.json")):
                with contextlib.suppress(FileNotFoundError):
                    # Who opens tokens of another module may have forgotten his meanwhile.
                    stored.append((file, msgspec.json.decode(file.read_bytes(), type=RefusedPin)))
        return stored

    def forget(self, forgotten: Iterable[RefusedPin]) -> None:
        """Remove what is known of these tokens and sources, under whatever name it was written."""
        names = {record.file_name for record in forgotten}
        for file, record in self._stored():
            if record.file_name in names:
                with naming_failures(self._directory):
                    file.unlink(missing_ok=True)

    def _check_not_refused(
        self, target: Target, serial: str, identity: str, *, is_count_low: bool
    ) -> None:
        for record in self.refusals():
            # A record that was never settled binds only if the token itself confirms a wrong PIN: a lane killed in
            # the middle of a good login must not need a person.
            binds = record.settled or is_count_low
            if binds and record.serial == serial and record.source == identity:
                if not record.is_of(target.token):
                    names = (*record.names, target.token)
                    self._write(msgspec.structs.replace(record, names=names))
                raise HsmError(
                    target,
                    Finding(
                        REFUSED_BEFORE,
                        "human",
                        f"the token refused this PIN before ({record.code or 'unconfirmed'}) and is not asked again",
                        f"correct the PIN source, or run `appliance hsm resume --token {target.token}`",
                    ),
                )

    def _undecided(
        self, target: Target, asked: RefusedPin, *, is_accepted: bool
    ) -> tuple[Undecided, ...]:
        """Return the attempts of late whose answer left the PIN undecided; refuses another when they are as many as may be."""
        recent = tuple(
            attempt
            for record in self.refusals()
            if record.serial == asked.serial and record.source == asked.source
            for attempt in record.undecided
            if abs(_wall_time() - attempt.at) < UNDECIDED_SECONDS
        )
        doubtful = sum(not (is_accepted and each.code == _UNANSWERED) for each in recent)
        if doubtful < UNDECIDED_LOGINS and len(recent) < UNANSWERED_LOGINS:
            return recent
        raise HsmError(
            target,
            Finding(
                "LOGIN_UNDECIDED",
                "device",
                f"the last {len(recent)} logins left open whether the PIN is wrong, the last by {recent[-1].code}; the token is not "
                f"asked more often in {UNDECIDED_SECONDS / 60:.0f} minutes",
                f"look at the token with its vendor's tool, then run `appliance hsm resume --token {target.token}`, or wait",
            ),
        )

    def _note_failure(self, record: RefusedPin, accepted: Acceptance, error: HsmError) -> None:
        """Keep what a failed login says of the PIN: it is wrong, it may be, or nothing."""
        code = error.finding.code
        if code in PIN_CODES:
            accepted.withdraw()
            self._write(msgspec.structs.replace(record, code=code, settled=True))
        elif not _says_nothing(error) and not (code in DEVICE_BLAMED and accepted.holds()):
            self._write(_doubt(record, code))
        elif record.undecided:
            self._write(record)
        else:
            self.forget([record])

    def _write(self, record: RefusedPin) -> None:
        """Make the record durable before anything else happens; it takes the place of any other of the same token and source."""
        file = self._directory / record.file_name
        draft = file.with_suffix(".new")
        with naming_failures(self._directory):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                hand_over(descriptor, self._directory)
                stream.write(msgspec.json.encode(record))
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(file)
            for other, known in self._stored():
                if known.file_name == record.file_name and other != file:
                    other.unlink(missing_ok=True)
            sync_directory(self._directory)


def _wall_time() -> float:
    return time.time()  # noqa: TID251 - the only use of a clock here; no vector's validity hangs on it


def _doubt(record: RefusedPin, code: str) -> RefusedPin:
    """Add a login that leaves the PIN undecided."""
    undecided = (*record.undecided, Undecided(_wall_time(), code))
    return msgspec.structs.replace(record, undecided=undecided)


def _says_nothing(error: HsmError) -> bool:
    """Whether the token was not offered the PIN at all."""
    return isinstance(error, NeverAsked) or error.finding.code in NEVER_ASKED
