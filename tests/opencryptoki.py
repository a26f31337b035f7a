"""Opencryptoki's soft token, a second implementation of PKCS#11: its daemon is started for the tests, its token made and unmade.

The token's place is fixed when Debian builds the package, so a machine has one. Whatever was in it before the tests is left alone:
a token that somebody has made is not used. `python -m tests.opencryptoki` is the ceremony, in a process of its own.
"""

import ctypes
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pkcs11

from hsm.provision.softhsm import SoftHsmToken
from hsm.session import read_serial

MODULE = Path("/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0")
LABEL = "interops-test"
PIN = "624180"

_DAEMON = "/usr/sbin/pkcsslotd"
_STORE = Path("/var/lib/opencryptoki/swtok")
_PID_FILE = Path("/run/pkcsslotd.pid")
_FIRST_SO_PIN = (
    "87654321"  # what every opencryptoki token begins with; it must be changed before anything else
)
_SO_PIN = "76543210"
_FIRST_LABEL = "IBM OS PKCS#11"
_MODEL = "IBM SoftTok"


class NotUsable(Exception):
    """Why the soft token cannot be used here."""


@contextmanager
def run_opencryptoki() -> Iterator[SoftHsmToken]:
    """Start the daemon, make a token, and unmake both at the end.

    Raises:
        NotUsable: not installed, not root, or not ours to use.
    """
    if not (MODULE.exists() and Path(_DAEMON).exists()):
        raise NotUsable("opencryptoki is not installed: apt-get install opencryptoki")
    if _is_running() or any((_STORE / "TOK_OBJ").iterdir()):
        raise NotUsable(f"somebody uses opencryptoki on this machine ({_STORE})")
    subprocess.run([_DAEMON], check=True, timeout=20)
    try:
        _wait_for_daemon()
        made = subprocess.run(
            [sys.executable, "-m", "tests.opencryptoki"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        )
        yield SoftHsmToken(MODULE, {}, LABEL, made.stdout.strip())
    finally:
        _stop_daemon()
        _unmake_token()


def _is_running() -> bool:
    try:
        return Path(f"/proc/{int(_PID_FILE.read_text())}").exists()
    except (OSError, ValueError):
        return False


def _wait_for_daemon() -> None:
    deadline = time.monotonic() + 10
    while not (_is_running() and _PID_FILE.with_suffix(".socket").exists()):
        assert time.monotonic() < deadline, "pkcsslotd did not start"
        time.sleep(0.02)


def _stop_daemon() -> None:
    process = int(_PID_FILE.read_text())
    subprocess.run(["kill", str(process)], check=True)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline, "pkcsslotd did not end"
        time.sleep(0.02)


def _unmake_token() -> None:
    for file in _STORE.iterdir():
        if file.is_dir():
            for held in file.iterdir():
                held.unlink()
        else:
            file.unlink()


def _make_token() -> str:
    """Initialise the token and change both PINs, as opencryptoki wants before it does anything else."""
    library = pkcs11.lib(str(MODULE))
    slot = next(slot for slot in library.get_slots(token_present=True) if _is_soft(slot))
    assert slot.get_token().label.strip() == _FIRST_LABEL, "somebody has made the soft token theirs"
    raw = ctypes.CDLL(str(MODULE))
    raw.C_InitToken.restype = ctypes.c_ulong
    so_pin = _FIRST_SO_PIN.encode()
    answer = raw.C_InitToken(
        ctypes.c_ulong(slot.slot_id), so_pin, ctypes.c_ulong(len(so_pin)), LABEL.encode().ljust(32)
    )
    assert answer == 0, f"C_InitToken: 0x{answer:x}"
    token = slot.get_token()
    with token.open(rw=True, so_pin=_FIRST_SO_PIN) as session:
        session.set_pin(_FIRST_SO_PIN, _SO_PIN)
        session.init_pin(PIN[::-1])
    with token.open(rw=True, user_pin=PIN[::-1]) as session:
        session.set_pin(PIN[::-1], PIN)
    return read_serial(token)


def _is_soft(slot: pkcs11.Slot) -> bool:
    return slot.get_token().model.strip() == _MODEL


if __name__ == "__main__":
    print(_make_token())  # noqa: T201 - the answer
