"""Tokens and keys as `hsm` is told of them: where they are, where their lanes keep things, as whom they run; never a PIN."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.config import Config, KeyTable, TokenTable, find_user
from hsm.inventory import Inventory, read_inventory
from hsm.memory import directory_of
from hsm.pin import PinCredential, PinFile, PinSource, PinVariable
from hsm.settings import KeySettings, TokenSettings

_LOOK_MARGIN: Final = 5.0
"""Seconds beyond `open_timeout` for a process that looks at a token: to begin, and to list what it finds."""


def look_at(
    config: Config,
    token: TokenTable,
    keys: Sequence[KeySettings] = (),
    audit: KeySettings | None = None,
) -> Inventory:
    """Open a token as a lane would, list it and prove the keys; it has as long as a lane has to open, and a little more.

    Raises:
        HsmError: the token cannot be opened, or does not answer.
    """
    within = token.open_timeout + _LOOK_MARGIN
    return read_inventory(token_settings(config, token), keys, audit=audit, within=within)


def token_settings(config: Config, token: TokenTable) -> TokenSettings:
    """Describe a token as `hsm` wants it; where the PIN is goes along, never the PIN."""
    return TokenSettings(
        token.name,
        str(token.module),
        token.label,
        _pin_source(token),
        str(token_directory(config, token)),
        token.environment,
        find_user(config, f"token `{token.name}`: user", token.user),
    )


def token_directory(config: Config, token: TokenTable) -> Path:
    """Return where a token's lanes keep locks and state: a directory of their user's, whatever the token is called, if they have one."""
    user = find_user(config, f"token `{token.name}`: user", token.user)
    return config.home.run if user is None else directory_of(config.home.run, user.uid)


def lane_socket(config: Config, token: TokenTable, lane: int) -> Path:
    """Return where workers find a lane."""
    return token_directory(config, token) / f"lane-{token.name}-{lane}.sock"


def key_settings(config: Config, key: KeyTable, public_key: bytes | None) -> KeySettings:
    """Describe a key; `public_key` is the DER SubjectPublicKeyInfo of its certificate, None to take the token's word."""
    return KeySettings(key.name, key.label, key.id, public_key, key.mechanism, config.is_demo)


def _pin_source(token: TokenTable) -> PinSource:
    if token.pin_file is not None:
        return PinFile(str(token.pin_file))
    if token.pin_env is not None:
        return PinVariable(token.pin_env)
    if token.pin_credential is not None:
        return PinCredential(token.pin_credential)
    raise RuntimeError(f"token `{token.name}` was taken without a PIN source")
