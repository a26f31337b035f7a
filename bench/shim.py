"""The shim of `native/pkcs11-shim` in front of a home's token, told what to do by its program."""

import json
import re
import subprocess
from pathlib import Path
from typing import Final

from appliance.config import load_config

_BUILT: Final = Path(__file__).parents[1] / "target" / "release"
_MODULE: Final = _BUILT / "libpkcs11_shim.so"
_PROGRAM: Final = _BUILT / "pkcs11-shim"


class Shim:
    """The shim in front of a home's token."""

    def __init__(self, state: Path) -> None:
        self._state: Final = state

    def tell(self, *words: str) -> str:
        """Carry out one command of `pkcs11-shim`.

        Raises:
            RuntimeError: it is not built, or does not take the command.
        """
        if not _PROGRAM.exists():
            raise RuntimeError("the shim is not built; run `make shim`")
        done = subprocess.run(
            [_PROGRAM, self._state, *words], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            raise RuntimeError(f"pkcs11-shim {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def count(self, call: str, what: str) -> int:
        """How many calls there have been."""
        calls: dict[str, dict[str, int]] = json.loads(self.tell("status"))["calls"]
        return calls[call][what]


def put_behind_shim(home: Path) -> Shim:
    """Have a demo home reach its token through a shim, its state in the home."""
    return _put(home, "module", str(load_config(home).tokens[0].module))


def put_null_token(home: Path, *keys: str) -> Shim:
    """Have a demo home use the shim's null token instead of its own: it holds keys by the names `LABEL:ID`, all of them P-256."""
    return _put(home, "null", load_config(home).tokens[0].label, *keys)


def _put(home: Path, *behind: str) -> Shim:
    file = home / "appliance.toml"
    shim = Shim(home / "shim")
    shim.tell("create", *behind)
    text = re.sub(r'^module = ".*"$', f'module = "{_MODULE}"', file.read_text(), flags=re.MULTILINE)
    variable = f'PKCS11_SHIM_STATE = "{home / "shim"}"'
    file.write_text(re.sub(r"^(SOFTHSM2_CONF.*)$", rf"\1\n{variable}", text, flags=re.MULTILINE))
    return shim
