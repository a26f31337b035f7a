"""How much of a person an entry keeps: everything, a keyed hash, or nothing, as the convention says.

A pseudonym is HMAC-SHA-256 of the text under a key of the appliance's: the same person has the same one in every entry, so that traces
can be reconciled by whoever is given the key, and nobody else can try names. Which fields are personal, the schema says.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

import msgspec

from appliance.errors import ConfigurationError
from appliance.trace.record import TraceEntry, TraceLevel

PERSONAL_FIELDS: Final = ("subject", "name_id")
_PREFIX: Final = "hmac-sha256:"
_KEY_OCTETS: Final = 32
_OTHERS_MAY: Final = 0o077


class Pseudonyms:
    """Turns names into pseudonyms with one key."""

    def __init__(self, key: bytes) -> None:
        self._key: Final = key

    def __repr__(self) -> str:
        return "Pseudonyms()"

    @classmethod
    def load(cls, file: Path) -> "Pseudonyms":
        """Read the key: 64 hexadecimal digits in a file that only its owner can read.

        Raises:
            ConfigurationError: it cannot be read, others can read it too, or it is no such key.
        """
        try:
            mode, text = file.stat().st_mode, file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(
                str(file), "", f"a readable key of pseudonyms ({exc})"
            ) from exc
        if mode & _OTHERS_MAY:
            raise ConfigurationError(str(file), "", "a file only its owner can read (chmod 600)")
        try:
            key = bytes.fromhex(text.strip())
        except ValueError:
            key = b""
        if len(key) != _KEY_OCTETS:
            raise ConfigurationError(str(file), "", "64 hexadecimal digits")
        return cls(key)

    def of(self, name: str) -> str:
        """Return the pseudonym of a name."""
        return _PREFIX + hmac.digest(self._key, name.encode(), hashlib.sha256).hex()


def make_key() -> str:
    """Make a key of pseudonyms, as its file holds it."""
    return secrets.token_hex(_KEY_OCTETS) + "\n"


def protect(entry: TraceEntry, level: TraceLevel, pseudonyms: Pseudonyms | None) -> TraceEntry:
    """Return the entry as the level keeps it; without pseudonyms to be had, `pseudonymous` keeps as little as `minimal`."""
    if level == "full":
        return entry
    kept: dict[str, str | None] = {}
    for field in PERSONAL_FIELDS:
        name: str | None = getattr(entry, field)
        is_kept = name is not None and level == "pseudonymous" and pseudonyms is not None
        kept[field] = pseudonyms.of(name) if is_kept and pseudonyms and name is not None else None
    personal = "minimal" if pseudonyms is None else level
    return msgspec.structs.replace(entry, personal=personal, **kept)
