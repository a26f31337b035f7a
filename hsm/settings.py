"""What the processes that use a token are told: read as JSON from standard input, never a PIN among it."""

from typing import Literal

import msgspec

from hsm.errors import Target
from hsm.pin import PinSource
from hsm.user import User

Mechanism = Literal["", "rsa-pss", "rsa-hash-in-token"]
"""How an RSA key signs, where it is not PKCS #1 v1.5 over a digest made outside the token; EC keys have one way only."""


class TokenSettings(msgspec.Struct, frozen=True):
    """How to reach one token and log in to it.

    Attributes:
        name: what the configuration calls the token.
        module: path of the PKCS#11 library.
        label: label of the token (slot numbers move, labels stay).
        pin: where the PIN is, never the PIN.
        state_directory: where the opening lock and the record of a refused PIN are kept.
        environment: variables the module wants, such as SOFTHSM2_CONF.
        user: as whom the module is loaded, the PIN read and the state kept; None is whoever starts the process.
    """

    name: str
    module: str
    label: str
    pin: PinSource
    state_directory: str
    environment: dict[str, str] = {}
    user: User | None = None

    @property
    def target(self) -> Target:
        """What errors name."""
        return Target(self.module, self.name)

    @property
    def module_id(self) -> str:
        """The module with its environment: tokens that share both are opened one after the other."""
        return "\0".join([self.module, *map("=".join, sorted(self.environment.items()))])


class KeySettings(msgspec.Struct, frozen=True):
    """A KeyRef as a lane knows it.

    Attributes:
        name: what jobs call the key.
        label: CKA_LABEL.
        id: CKA_ID in hexadecimal.
        public_key: DER SubjectPublicKeyInfo the key must prove to belong to; None takes the token's word.
        mechanism: how it signs; empty is what its kind of key usually does.
        may_leave: whether a key that could leave the token is taken nevertheless (demonstrations only).
    """

    name: str
    label: str
    id: str
    public_key: bytes | None = None
    mechanism: Mechanism = ""
    may_leave: bool = False


class LaneSettings(msgspec.Struct, frozen=True):
    """Everything a lane is told.

    Attributes:
        socket: path of the unix socket it will listen on once it can sign.
        allowed_uids: whom it signs for (SO_PEERCRED).
        index: which lane of the token it is.
        call_timeout: seconds one call into the module, or opening the session anew, may take before the process is ended.
        open_timeout: seconds the lane may take to become ready.
        audit: the key that signs checkpoints of the trace, where the token holds it; it signs nothing else.
        checkpoint_uids: who else may have checkpoints signed, and nothing but them: who serves the home, for its own log.
        counters: descriptor of the memory in which it counts what it signs (`hsm.counters`), where its parent has passed one on.
    """

    token: TokenSettings
    keys: tuple[KeySettings, ...]
    socket: str
    allowed_uids: tuple[int, ...]
    index: int = 0
    call_timeout: float = 0.5
    open_timeout: float = 10.0
    audit: KeySettings | None = None
    checkpoint_uids: tuple[int, ...] = ()
    counters: int | None = None
