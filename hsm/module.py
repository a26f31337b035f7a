"""The PKCS#11 module of this process and the token looked for in it.

Owns loading. Promises that the environment the module needs is set before it is loaded, and that the token found is the only one
of its label. python-pkcs11 calls C_Initialize(NULL), which switches the module's own locks off: one thread per process.
"""

import contextlib
import os
import time
from dataclasses import replace
from typing import Final

import pkcs11
from pkcs11 import _pkcs11 as binding

from hsm.ckr import translate
from hsm.errors import HsmError
from hsm.settings import TokenSettings

_PAUSES: Final = (0.02, 0.05, 0.1)
_WORTH_A_SECOND_LOOK: Final = frozenset({"CKR_GENERAL_ERROR", "TOKEN_NOT_FOUND"})


def find_token(settings: TokenSettings) -> pkcs11.Token:
    """Load the module and find its only token with the configured label.

    SoftHSM's file store shows no token, or answers CKR_GENERAL_ERROR, to a process that initialises while another one does:
    such an answer is looked at again, three times within a fifth of a second, by initialising anew. No session may be open.

    Raises:
        HsmError: the module cannot be loaded, or has no such token, or several.
    """
    os.environ.update(settings.environment)
    for pause in _PAUSES:
        try:
            return _find(settings)
        except HsmError as error:
            if error.finding.code not in _WORTH_A_SECOND_LOOK:
                raise
            time.sleep(pause)
            reset_module(settings)
    return _find(settings)


def load_module(settings: TokenSettings) -> binding.lib:
    """Load the module, once per process however often it is asked for.

    Raises:
        HsmError: MODULE_NOT_LOADED, or what C_Initialize answered.
    """
    try:
        return pkcs11.lib(settings.module)
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, settings.target) from exc


def reset_module(settings: TokenSettings) -> None:
    """Finalize the module if it still can be and initialize it anew: every session and login of this process ends.

    Raises:
        HsmError: what C_Initialize answered.
    """
    library = load_module(settings)
    with contextlib.suppress(pkcs11.PKCS11Error):
        library.finalize()  # a module that has lost everything may say so once more; it counts as finalized
    try:
        library.initialize()
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, settings.target) from exc


def _find(settings: TokenSettings) -> pkcs11.Token:
    library = load_module(settings)
    try:
        return library.get_token(token_label=settings.label)
    except pkcs11.NoSuchToken as exc:
        error = translate(exc, settings.target)
        cause = f"{error.finding.cause}; {_describe_slots(library)}"
        raise HsmError(error.target, replace(error.finding, cause=cause)) from exc
    except pkcs11.PKCS11Error as exc:
        raise translate(exc, settings.target) from exc


def _describe_slots(library: binding.lib) -> str:
    """Say what is in the slots instead, as far as the module says."""
    try:
        tokens = [
            (slot.slot_id, slot.get_token()) for slot in library.get_slots(token_present=True)
        ]
        held = [f"slot {number} holds `{token.label}`" for number, token in tokens if token.label]
    except pkcs11.PKCS11Error:
        held = []
    return ", ".join(held) or "no slot shows a token"
