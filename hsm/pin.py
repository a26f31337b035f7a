"""The PIN: where it comes from, how it is kept out of sight, and why a wrong one is tried only once (DESIGN invariant 9).

Owns `Pin`, `PinSource` and `PinGuard`. Promises that a PIN the token refused is never offered again, by any lane, after any
restart, nor from the command line, until its source changes or a person resumes the token. Refuses to show a PIN.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hsm.errors import (
    NEVER_ASKED,
    PIN_CODES,
    REFUSED_BEFORE,
    Finding,
    HsmError,
    NeverAsked,
    Target,
)
from hsm.state import RefusedPin, Undecided, hand_over, naming_failures, sync_directory

_LOCK_POLL: Final = 0.02
_PIN_LIMIT: Final = 1024

UNDECIDED_LOGINS: Final = 2
"""Most logins without a verdict on the PIN, one good login in between forgetting them: a token may lock at the third wrong PIN."""

UNDECIDED_SECONDS: Final = 900.0
"""How long such a login counts."""

Opened = TypeVar("Opened")


class PinFile(msgspec.Struct, frozen=True, tag="file"):
    """A file that only its owner may read; a final newline is not part of the PIN."""

    path: str


class PinVariable(msgspec.Struct, frozen=True, tag="variable"):
    """An environment variable, removed from the environment once read."""

    name: str


class PinCredential(msgspec.Struct, frozen=True, tag="credential"):
    """A systemd credential: a file below `$CREDENTIALS_DIRECTORY`."""

    name: str


PinSource = PinFile | PinVariable | PinCredential


class Pin:
    """A PIN that shows itself to nobody who does not ask for it by name, and can be wiped."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = bytearray(octets)

    def reveal(self) -> str:
        """Return the text C_Login wants; the caller drops it at once."""
        return self._octets.decode()

    def wipe(self) -> None:
        """Overwrite our copy (the text Python made for the call may outlive it)."""
        self._octets[:] = bytes(len(self._octets))

    def __repr__(self) -> str:
        return "Pin(redacted)"


def read_pin(source: PinSource, target: Target) -> Pin:
    """Read the PIN from its source.

    Raises:
        HsmError: PIN_SOURCE_UNUSABLE: absent, empty, not UTF-8, or a file others may read.
    """
    octets = (
        _read_variable(source) if isinstance(source, PinVariable) else _read_file(source, target)
    )
    if octets is None:
        raise _unusable(target, f"the source {source} does not exist", "create it")
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    try:
        octets.decode()
    except UnicodeDecodeError:
        raise _unusable(target, "the PIN is not UTF-8", "write it as UTF-8 text") from None
    if not octets:
        raise _unusable(target, "the PIN is empty", "write the PIN there")
    return Pin(octets)


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
            _lock(descriptor, directory, wait)
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
        identity = _identify(source)
        self._check_not_refused(target, serial, identity, is_count_low=is_count_low)
        attempts = self._undecided(target, serial, identity)
        pin = read_pin(source, target)
        record = RefusedPin(target.token, serial, identity, "", settled=False, undecided=attempts)
        self._write(record)
        try:
            opened = open_with(pin.reveal())
        except HsmError as error:
            if error.finding.code in PIN_CODES:
                self._write(msgspec.structs.replace(record, code=error.finding.code, settled=True))
            elif isinstance(error, NeverAsked) or error.finding.code in NEVER_ASKED:
                if not attempts:
                    self.forget([record])
            else:
                now = (*attempts, Undecided(_wall_time(), error.finding.code))
                self._write(msgspec.structs.replace(record, undecided=now))
            raise
        finally:
            pin.wipe()
        self.forget([record])
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

    def _undecided(self, target: Target, serial: str, identity: str) -> tuple[Undecided, ...]:
        """Return the attempts of late whose answer left the PIN undecided; refuses another when they are as many as may be."""
        recent = tuple(
            attempt
            for record in self.refusals()
            if record.serial == serial and record.source == identity
            for attempt in record.undecided
            if abs(_wall_time() - attempt.at) < UNDECIDED_SECONDS
        )
        if len(recent) < UNDECIDED_LOGINS:
            return recent
        raise HsmError(
            target,
            Finding(
                "LOGIN_UNDECIDED",
                "device",
                f"the token answered the last {len(recent)} logins by {recent[-1].code}, which may stand for a wrong PIN; it is not "
                f"asked more than {UNDECIDED_LOGINS} times in {UNDECIDED_SECONDS / 60:.0f} minutes",
                f"look at the token with its vendor's tool, then run `appliance hsm resume --token {target.token}`, or wait",
            ),
        )

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


def _lock(descriptor: int, directory: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise HsmError(
                    Target("", str(directory)),
                    Finding(
                        "OPEN_BUSY",
                        "capacity",
                        f"another process has been opening a token for {wait:.0f} s",
                        "look for a lane that hangs in its driver",
                    ),
                ) from None
            time.sleep(_LOCK_POLL)
        else:
            return


def _identify(source: PinSource) -> str:
    """Name a source so that a changed one is seen.

    A variable has no mtime and a systemd credential gets a new one at every start of the service, which would unbind the
    refusal from restarts: both are known by name only, so a person has to resume after changing them.
    """
    if isinstance(source, PinVariable):
        return f"variable:{source.name}"
    if isinstance(source, PinCredential):
        return f"credential:{source.name}"
    try:
        status = Path(source.path).stat()
    except OSError:
        return f"file:{source.path}"
    return f"file:{source.path}:{status.st_dev}:{status.st_ino}:{status.st_mtime_ns}"


def _read_variable(source: PinVariable) -> bytes | None:
    return os.environb.pop(os.fsencode(source.name), None)


def _read_file(source: PinFile | PinCredential, target: Target) -> bytes | None:
    path = _locate(source)
    if path is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unusable(target, f"{path} cannot be read ({exc.strerror})", "correct it") from exc
    with os.fdopen(descriptor, "rb") as stream:
        if isinstance(source, PinFile) and os.fstat(descriptor).st_mode & 0o077:
            raise _unusable(target, f"others may read {path}", f"run `chmod 600 {path}`")
        return stream.read(_PIN_LIMIT)


def _locate(source: PinFile | PinCredential) -> Path | None:
    if isinstance(source, PinFile):
        return Path(source.path)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(directory, source.name) if directory else None


def _unusable(target: Target, cause: str, next_step: str) -> HsmError:
    return HsmError(target, Finding("PIN_SOURCE_UNUSABLE", "human", cause, next_step))
