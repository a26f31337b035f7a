"""kryoptic, a software token in Rust, as a third implementation: built by `make kryoptic`, a token of its own for each run."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pkcs11

from hsm.provision.softhsm import SoftHsmToken
from hsm.session import read_serial
from tests.softhsm import PIN

MODULE = Path(__file__).parents[1] / "target" / "kryoptic" / "release" / "libkryoptic_token.so"
LABEL = "interops-kryoptic"

_SO_PIN = "so-624180"


def make_kryoptic_token(directory: Path) -> SoftHsmToken:
    """Make a token in a database in `directory`."""
    configuration = directory / "kryoptic.conf"
    database = directory / "token.sql"
    configuration.write_text(f'[[slots]]\nslot = 1\ndbtype = "sqlite"\ndbargs = "{database}"\n')
    environment = {"KRYOPTIC_CONF": str(configuration)}
    made = subprocess.run(
        [sys.executable, "-m", "tests.kryoptic_token"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    return SoftHsmToken(MODULE, environment, LABEL, made.stdout.strip())


def _make_token() -> str:
    library = pkcs11.lib(str(MODULE))
    [slot] = library.get_slots()
    raw = ctypes.CDLL(str(MODULE))
    so_pin = _SO_PIN.encode()
    functions = ctypes.POINTER(ctypes.c_void_p)()
    assert raw.C_GetFunctionList(ctypes.byref(functions)) == 0
    # CK_FUNCTION_LIST: the version, then C_Initialize, …; C_InitToken is the tenth function (PKCS#11 2.40, pkcs11f.h).
    init_token = ctypes.CFUNCTYPE(
        ctypes.c_ulong, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p
    )(functions[10])
    answer = init_token(slot.slot_id, so_pin, len(so_pin), LABEL.encode().ljust(32))
    assert answer == 0, f"C_InitToken: 0x{answer:x}"
    token = slot.get_token()
    with token.open(rw=True, so_pin=_SO_PIN) as session:
        session.init_pin(PIN)
    return read_serial(token)


if __name__ == "__main__":
    print(_make_token())  # noqa: T201 - the answer
