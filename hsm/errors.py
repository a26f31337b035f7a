"""What went wrong at the token, in words an operator can act on.

Owns `HsmError`. Promises that an error names module, token, key, code, likely cause and next step; refuses to carry a PIN or key
material. Knows no binding, so that workers and the supervisor can name failures too; `ckr` translates.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["request", "session", "object", "login", "device", "capacity", "human"]
"""Who has to act, and what is done (tests/fault/test_ckr_classes.py goes through it code by code):

* `request`, the caller: the job is refused, never retried, and counted.
* `session`, the lane: it opens its session anew, in place; the job is retried once on another lane.
* `object`, the lane: it looks for the key again, has it prove itself, and retries the job once.
* `login`, the lane: it opens its session anew with one login, and retries the job once.
* `device`, time: the lane ends; when it was the last, the token's circuit opens and one lane probes until the token is back.
* `capacity`, time: the job is refused as pushback; lanes that found no room are tried again, seldom.
* `human`, a person: the lane ends and the circuit stays open until somebody has acted.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What was being used when it failed.

    Attributes:
        slot: number of the slot the token was found in; None before it was.
    """

    module: str
    token: str
    key: str | None = None
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause of failure: its stable name, who has to act, what it usually means, what to do.

    Attributes:
        code: the CKR name, or a name of ours where the failure is not the module's.
    """

    code: str
    kind: Kind
    cause: str
    next_step: str


class HsmError(Exception):
    """A failure at the token; `str()` is one sentence with module, token, key, code, likely cause and next step."""

    def __init__(self, target: Target, finding: Finding) -> None:
        key = f", key `{target.key}`" if target.key else ""
        slot = "" if target.slot is None else f", slot {target.slot}"
        super().__init__(
            f"{finding.code} at token `{target.token}`{key} (module {target.module}{slot}): "
            f"{finding.cause}; {finding.next_step}"
        )
        self.target: Final = target
        self.finding: Final = finding


class NeverAsked(HsmError):
    """A login that failed before the token was offered the PIN: no session could be opened."""


NEVER_ASKED: Final = frozenset({
    "CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_MEMORY", "CKR_DEVICE_REMOVED", "CKR_HOST_MEMORY", "CKR_SESSION_CLOSED",
    "CKR_SESSION_COUNT", "CKR_SESSION_HANDLE_INVALID", "CKR_SLOT_ID_INVALID", "CKR_TOKEN_NOT_PRESENT",
    "CKR_TOKEN_NOT_RECOGNIZED",
})  # fmt: skip
"""The answers to C_Login that say that there was no session, no token or no room to compare a PIN in."""

DEVICE_BLAMED: Final = frozenset({
    "CKR_CANT_LOCK", "CKR_DEVICE_ERROR", "CKR_FIPS_SELF_TEST_FAILED", "CKR_FUNCTION_CANCELED", "CKR_FUNCTION_REJECTED",
    "CKR_LIBRARY_LOAD_FAILED", "CKR_MUTEX_BAD", "CKR_MUTEX_NOT_LOCKED", "CKR_TOKEN_RESOURCE_EXCEEDED",
})  # fmt: skip
"""The answers to C_Login that blame the device, and put a PIN in no doubt that it has taken before. A device may yet give them for a
wrong PIN it has never seen right; and `CKR_GENERAL_ERROR` or a vendor's own code may stand for anything, whatever was taken before."""

PIN_CODES: Final = frozenset({
    "CKR_PIN_EXPIRED", "CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_LOCKED",
    "CKR_USER_PIN_NOT_INITIALIZED",
})  # fmt: skip
"""The answers to C_Login after which nobody may try the same PIN again."""

REFUSED_BEFORE: Final = "PIN_REFUSED_BEFORE"
"""The PIN was refused once, so the token is not asked again."""

PIN_REFUSALS: Final = PIN_CODES | {REFUSED_BEFORE}
"""Codes that tell a caller that a person has to see to the PIN."""
