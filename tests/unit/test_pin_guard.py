"""Which logins leave a PIN in doubt, and for how long; what a token says in full is in `tests/fault/test_ckr_classes.py`."""

import os
import subprocess
from pathlib import Path

import pytest

from hsm import guard as guard_module
from hsm.ckr import UNSURE, describe
from hsm.errors import DEVICE_BLAMED, NEVER_ASKED, HsmError, NeverAsked, Target
from hsm.guard import UNANSWERED_LOGINS, UNDECIDED_LOGINS, PinGuard
from hsm.pin import Pin, PinCredential, PinFile, PinSource, PinVariable, read_pin
from tests.softhsm import write_pin

TARGET = Target("module", "token")
ANSWERED = "session"
TRIES = UNDECIDED_LOGINS + 2


@pytest.fixture
def source(tmp_path: Path) -> PinFile:
    """A PIN in a file."""
    return PinFile(str(write_pin(tmp_path / "pin", "624180")))


class Killed(BaseException):
    """The process ends while the token is asked."""


def log_in(directory: Path, source: PinSource, outcome: BaseException | str = ANSWERED) -> str:
    """Log in once; returns what came of it: a session, or the code of why there is none."""

    def answer(pin: str) -> str:
        assert pin == "624180"
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome == ANSWERED:
            return outcome
        raise describe(outcome, TARGET)

    try:
        with PinGuard.locked(directory) as guard:
            return guard.log_in(TARGET, "serial", source, is_count_low=False, open_with=answer)
    except HsmError as error:
        return error.finding.code
    except Killed:
        return "killed"


def outcomes(directory: Path, source: PinSource, outcome: BaseException | str) -> list[str]:
    """Log in so many times that the bound would show."""
    return [log_in(directory, source, outcome) for _ in range(TRIES)]


def doubted(code: str) -> list[str]:
    """What that comes to where each attempt leaves the PIN in doubt."""
    return [code] * UNDECIDED_LOGINS + ["LOGIN_UNDECIDED"] * (TRIES - UNDECIDED_LOGINS)


@pytest.mark.parametrize("code", sorted(DEVICE_BLAMED))
def test_device_in_trouble_leaves_a_pin_it_has_taken_in_no_doubt(
    tmp_path: Path, source: PinFile, code: str
) -> None:
    """The token is asked for as long as the trouble lasts and is in use as soon as it ends; a PIN it has never taken may be wrong."""
    assert outcomes(tmp_path / "new", source, code) == doubted(code)
    assert log_in(tmp_path, source) == ANSWERED
    assert outcomes(tmp_path, source, code) == [code] * TRIES
    with PinGuard.locked(tmp_path) as guard:
        assert guard.refusals() == []
    assert log_in(tmp_path, source) == ANSWERED


@pytest.mark.parametrize("code", [*sorted(UNSURE), "CKR_0x80000005", "CKR_ARGUMENTS_BAD"])
def test_code_that_may_stand_for_anything_leaves_every_pin_in_doubt(
    tmp_path: Path, source: PinFile, code: str
) -> None:
    """It may say that the PIN was changed at the token: whatever was taken before, two attempts are all."""
    assert log_in(tmp_path, source) == ANSWERED
    assert outcomes(tmp_path, source, code) == doubted(code)


def test_pin_that_is_another_has_not_been_taken(tmp_path: Path, source: PinFile) -> None:
    """A file written anew, and one whose PIN was refused meanwhile, are in doubt like one never tried."""
    assert log_in(tmp_path, source) == ANSWERED
    write_pin(tmp_path / "pin", "624180")
    os.utime(tmp_path / "pin", ns=(0, 0))
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")
    resume(tmp_path)
    assert log_in(tmp_path, source) == ANSWERED
    assert log_in(tmp_path, source, "CKR_PIN_INCORRECT") == "CKR_PIN_INCORRECT"
    resume(tmp_path)
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")


def resume(directory: Path) -> None:
    """Do what the operator does."""
    with PinGuard.locked(directory) as guard:
        assert guard.resume("token")


def test_login_that_a_killed_process_began_may_have_been_counted(
    tmp_path: Path, source: PinFile
) -> None:
    """Nobody knows what the token made of it: of a PIN it has never taken two are all; of one that it has taken, some more."""
    assert outcomes(tmp_path / "new", source, Killed()) == doubted("killed")
    assert log_in(tmp_path, source) == ANSWERED
    for _ in range(2):  # a good login forgets them
        assert [log_in(tmp_path, source, Killed()) for _ in range(UNANSWERED_LOGINS - 1)] == [
            "killed"
        ] * (UNANSWERED_LOGINS - 1)
        assert log_in(tmp_path, source) == ANSWERED
    hung = [log_in(tmp_path, source, Killed()) for _ in range(UNANSWERED_LOGINS + 2)]
    assert hung == ["killed"] * UNANSWERED_LOGINS + ["LOGIN_UNDECIDED"] * 2


def test_source_written_while_the_token_is_asked_is_not_vouched_for(
    tmp_path: Path, source: PinFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the token took was read before: the PIN that stands there now has never been tried."""

    def read_and_replace(asked: PinSource, target: Target) -> Pin:
        pin = read_pin(asked, target)
        write_pin(tmp_path / "pin", "624180")
        os.utime(tmp_path / "pin", ns=(0, 0))
        return pin

    with monkeypatch.context() as patched:
        patched.setattr(guard_module, "read_pin", read_and_replace)
        assert log_in(tmp_path, source) == ANSWERED
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")


@pytest.mark.parametrize("code", [*sorted(NEVER_ASKED), "CKR_GENERAL_ERROR"])
def test_login_that_was_none_forgets_no_doubt(tmp_path: Path, source: PinFile, code: str) -> None:
    """A token that was not offered the PIN is asked as soon as it is back; what was in doubt before stays so, and no more."""
    gone = code if code in NEVER_ASKED else NeverAsked(TARGET, describe(code, TARGET).finding)
    assert outcomes(tmp_path, source, gone) == [code] * TRIES
    assert log_in(tmp_path, source, "CKR_GENERAL_ERROR") == "CKR_GENERAL_ERROR"
    assert outcomes(tmp_path, source, gone) == [code] * TRIES
    assert log_in(tmp_path, source, "CKR_GENERAL_ERROR") == "CKR_GENERAL_ERROR"
    assert log_in(tmp_path, source) == "LOGIN_UNDECIDED"


def test_variable_is_vouched_for_by_the_life_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a variable holds may have changed with a new start of the service, and not before."""
    source = PinVariable("GUARDED_PIN")
    monkeypatch.setattr(os, "environb", _Unemptied(b"624180"))
    assert log_in(tmp_path, source) == ANSWERED
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == ["CKR_DEVICE_ERROR"] * TRIES
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")


def test_variables_of_two_services_are_vouched_for_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command beside the service has a parent of its own: the token took the PIN from both, and one that has ended is forgotten."""
    source = PinVariable("GUARDED_PIN")
    monkeypatch.setattr(os, "environb", _Unemptied(b"624180"))
    assert log_in(tmp_path, source) == ANSWERED
    for _ in range(2):
        with subprocess.Popen(["sleep", "60"]) as command, monkeypatch.context() as patched:
            patched.setattr(os, "getppid", lambda command=command: command.pid)
            assert log_in(tmp_path, source) == ANSWERED
            command.kill()
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == ["CKR_DEVICE_ERROR"] * TRIES
    [kept] = tmp_path.glob("pin-accepted-*")
    assert len(kept.read_text().split("\n")) == 2


class _Unemptied(dict[bytes, bytes]):
    """The environment of one new process after the other."""

    def __init__(self, pin: bytes) -> None:
        super().__init__()
        self._pin = pin

    def pop(self, _name: bytes, _otherwise: bytes | None) -> bytes:
        """Return the PIN."""
        return self._pin


def test_credential_is_vouched_for_while_it_is_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start of the service writes it anew."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    source = PinCredential("pin")
    file = write_pin(tmp_path / "pin", "624180")
    assert log_in(tmp_path, source) == ANSWERED
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == ["CKR_DEVICE_ERROR"] * TRIES
    os.utime(file, ns=(0, 0))
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")


def test_what_cannot_be_kept_costs_caution_alone(tmp_path: Path, source: PinFile) -> None:
    """A token that is open stays open where there is no room to remember it; a torn memory vouches for nothing."""
    assert log_in(tmp_path, source) == ANSWERED
    [kept] = tmp_path.glob("pin-accepted-*")
    kept.write_text(kept.read_text()[:-1])
    assert outcomes(tmp_path, source, "CKR_DEVICE_ERROR") == doubted("CKR_DEVICE_ERROR")
    resume(tmp_path)
    kept.unlink()
    kept.mkdir()
    assert log_in(tmp_path, source) == ANSWERED
