"""One session with one login: what a lane, a key ceremony or an inventory works through.

Owns opening and closing. Promises that C_Login is reached only through the PIN guard. Refuses to log out: C_Logout would end the
login of every session of the process, and a process has only this one; closing the module ends both.
"""

import dataclasses
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pkcs11

from hsm.ckr import translate
from hsm.errors import NEVER_ASKED, PIN_CODES, Finding, HsmError, NeverAsked, Target
from hsm.guard import PinGuard
from hsm.memory import Memory, read_memory
from hsm.module import find_token
from hsm.settings import TokenSettings
from hsm.user import NotThatUser, become, own_directory

Opened = TypeVar("Opened")


def become_user(settings: TokenSettings) -> None:
    """Be the user of the token from here on, its state directory and what the home remembers ours; before the module is loaded or the PIN is read.

    Raises:
        HsmError: USER_NOT_POSSIBLE, or OPEN_BUSY or STATE_UNUSABLE where what the home remembers cannot be taken along.
    """
    directory = Path(settings.state_directory)
    memory = Memory()
    try:
        if os.geteuid() == 0:
            memory = read_memory(directory)
            if settings.user is not None:
                own_directory(directory, settings.user)
        become(settings.user)
    except (NotThatUser, OSError) as exc:
        next_step = "start as root, or as the user that the [[token]] names"
        finding = Finding("USER_NOT_POSSIBLE", "human", str(exc), next_step)
        raise HsmError(settings.target, finding) from exc
    if settings.user is not None and not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        cause = f"uid {settings.user.uid} cannot write {settings.state_directory}"
        next_step = "let it pass through the home (chmod 711)"
        raise HsmError(settings.target, Finding("USER_NOT_POSSIBLE", "human", cause, next_step))
    memory.keep(directory, settings.module_id)


def lock_opening(settings: TokenSettings, wait: float = 30.0) -> AbstractContextManager[PinGuard]:
    """Hold the right to open the token (`PinGuard.locked`).

    Raises:
        HsmError: OPEN_BUSY.
    """
    return PinGuard.locked(Path(settings.state_directory), wait, settings.module_id)


def open_session(
    settings: TokenSettings, guard: PinGuard, *, is_writable: bool = False
) -> pkcs11.Session:
    """Find the token, log in as its user and return the session.

    Raises:
        HsmError: no such module or token, or a login that failed or was not attempted.
    """
    return offer_pin(
        settings,
        guard,
        lambda token, pin: _log_in(token, pin, place(settings, token), is_writable=is_writable),
    )


def offer_pin(
    settings: TokenSettings, guard: PinGuard, log_in: Callable[[pkcs11.Token, str], Opened]
) -> Opened:
    """Find the token and log in to it with `log_in`, which raises HsmError when the token refuses.

    Raises:
        HsmError: no such module or token, or a login that failed or was not attempted.
    """
    token = find_token(settings)
    return guard.log_in(
        place(settings, token),
        read_serial(token),
        settings.pin,
        is_count_low=pkcs11.TokenFlag.USER_PIN_COUNT_LOW in token.flags,
        open_with=lambda pin: log_in(token, pin),
    )


def place(settings: TokenSettings, token: pkcs11.Token) -> Target:
    """What errors name of a token that has been found: its slot too."""
    return dataclasses.replace(settings.target, slot=token.slot.slot_id)


def read_serial(token: pkcs11.Token) -> str:
    """Return the token's serial number as text; vendors pad it with spaces or NUL."""
    return token.serial.decode(errors="replace").strip(" \0")


def close_session(settings: TokenSettings) -> None:
    """Finalize the module, which closes every session of this process.

    Raises:
        HsmError: C_Finalize failed; nothing is left to be done about it.
    """
    try:
        pkcs11.unload(settings.module)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, settings.target) from exc


def _log_in(token: pkcs11.Token, pin: str, target: Target, *, is_writable: bool) -> pkcs11.Session:
    try:
        try:
            return token.open(rw=is_writable, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=is_writable)
    except pkcs11.PKCS11Error as exc:
        error = translate(exc, target)
        if error.finding.code not in PIN_CODES | NEVER_ASKED and not _opens(token):
            raise NeverAsked(target, error.finding) from exc
        raise error from exc


def _opens(token: pkcs11.Token) -> bool:
    """Whether the token opens sessions: the binding opens one and logs in by one call, and does not say which of them failed."""
    try:
        token.open().close()
    except pkcs11.PKCS11Error:
        return False
    return True
