"""Throw-away and demo tokens on SoftHSM.

Owns making a token: its directory, its softhsm2.conf and its PINs. Promises that the calling process never loads the module and
that no PIN stands on a command line: a child process initialises the token and reads the PINs from its standard input.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pkcs11

from hsm.child import run_child, write_answer
from hsm.ckr import translate
from hsm.errors import Finding, HsmError, Target
from hsm.pin import PinSource
from hsm.session import read_serial
from hsm.settings import TokenSettings

_MODULES: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
_LABEL_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class SoftHsmToken:
    """A token that exists.

    Attributes:
        environment: what a process must have in its environment before it loads the module.
    """

    module: Path
    environment: dict[str, str]
    label: str
    serial: str

    def settings(self, name: str, pin: PinSource, state_directory: Path) -> TokenSettings:
        """Describe the token to a lane or a ceremony; `state_directory` is the home's `run/`."""
        return TokenSettings(
            name, str(self.module), self.label, pin, str(state_directory), self.environment
        )


class TokenRequest(msgspec.Struct, frozen=True):
    """What the child is asked for."""

    module: str
    environment: dict[str, str]
    label: str
    pin: str
    so_pin: str


def find_softhsm() -> Path:
    """Return the path of the SoftHSM module; `$SOFTHSM2_MODULE` names one in an unusual place.

    Raises:
        HsmError: SOFTHSM_NOT_INSTALLED.
    """
    named = os.environ.get("SOFTHSM2_MODULE")
    for candidate in (named,) if named else _MODULES:
        if Path(candidate).is_file():
            return Path(candidate)
    raise HsmError(
        Target("libsofthsm2.so", ""),
        Finding(
            "SOFTHSM_NOT_INSTALLED",
            "human",
            "the SoftHSM module is not on this machine",
            "install it (Debian: `apt install softhsm2`) or name it in SOFTHSM2_MODULE",
        ),
    )


def create_softhsm_token(directory: Path, label: str, pin: str, so_pin: str) -> SoftHsmToken:
    """Make a token of its own in `directory`, which is created and readable by its owner only.

    Raises:
        HsmError: SoftHSM is not installed, or refuses label or PINs.
    """
    module = find_softhsm()
    environment = _write_configuration(directory)
    request = TokenRequest(str(module), environment, label, pin, so_pin)
    serial = run_child(__name__, request, str, Target(str(module), label))
    return SoftHsmToken(module, environment, label, serial)


def _write_configuration(directory: Path) -> dict[str, str]:
    objects = directory.resolve() / "objects"
    objects.mkdir(mode=0o700, parents=True, exist_ok=True)
    objects.parent.chmod(0o700)
    configuration = objects.parent / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {objects}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
    )
    return {"SOFTHSM2_CONF": str(configuration)}


def _initialize(request: TokenRequest) -> str:
    """Initialise the free slot SoftHSM always offers, in the child; returns the serial number."""
    os.environ.update(request.environment)
    target = Target(request.module, request.label)
    try:
        library = pkcs11.lib(request.module)
        slot = next(slot for slot in library.get_slots() if _is_free(slot))
        _init_token(request, slot.slot_id, target)
        library.reinitialize()
        token = library.get_token(token_label=request.label)
        with token.open(rw=True, so_pin=request.so_pin) as session:
            session.init_pin(request.pin)
        return read_serial(token)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, target) from exc


def _is_free(slot: pkcs11.Slot) -> bool:
    return pkcs11.TokenFlag.TOKEN_INITIALIZED not in slot.get_token().flags


def _init_token(request: TokenRequest, slot: int, target: Target) -> None:
    """Call C_InitToken, the one function of the ceremony that python-pkcs11 does not offer."""
    pin, label = request.so_pin.encode(), request.label.encode().ljust(_LABEL_OCTETS)
    if len(label) > _LABEL_OCTETS:
        raise _refused(target, "TOKEN_LABEL_TOO_LONG", "choose a label of at most 32 octets")
    library = ctypes.CDLL(request.module)
    library.C_InitToken.restype = ctypes.c_ulong
    answer = library.C_InitToken(ctypes.c_ulong(slot), pin, ctypes.c_ulong(len(pin)), label)
    if answer:
        raise _refused(target, f"CKR 0x{answer:08x}", "choose PINs of 4 to 255 characters")


def _refused(target: Target, code: str, next_step: str) -> HsmError:
    return HsmError(target, Finding(code, "human", "the token was not initialised", next_step))


if __name__ == "__main__":
    write_answer(
        lambda: _initialize(msgspec.json.decode(sys.stdin.buffer.read(), type=TokenRequest))
    )
