"""Tokens: does the module load, is the token there, is the PIN accepted, does each key sign for its certificate, and the audit key for its public key.

Looks through `hsm.inventory`, a child process that passes the same PIN guard, key checks and proof as a lane.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from appliance.cli.checks.certificates import public_key_of
from appliance.cli.checks.finding import Finding, failed, passed
from appliance.config import Config, TokenTable
from appliance.errors import ConfigurationError
from appliance.logkeeping import audit_settings
from appliance.tokens import key_settings, look_at
from hsm.errors import HsmError
from hsm.inventory import Inventory, KeyCheck
from hsm.settings import KeySettings

_FORGEABLE: Final = "FORGEABLE"
"""What the null mode of `native/pkcs11-shim` calls itself, in the names that C_GetTokenInfo answers with."""


def check_tokens(
    config: Config, chains: Mapping[str, Sequence[x509.Certificate]]
) -> Iterator[Finding]:
    """Open each token once and prove each of its keys once, the audit key too; `chains` holds each key's certificates, empty where unreadable."""
    for token in config.tokens:
        check = f"token {token.name}"
        keys = [
            key_settings(
                config, key, public_key_of(chain[0]) if (chain := chains[key.name]) else None
            )
            for key in config.keys
            if token.name in key.tokens
        ]
        yield from _check_environment(config, token)
        try:
            inventory = look_at(config, token, keys, _audit_key(config, token))
        except HsmError as exc:
            yield failed(
                check,
                f"{token.module}, label `{token.label}`{_slot(exc.target.slot)}",
                f"{exc.finding.code}: {exc.finding.cause}",
                exc.finding.next_step,
            )
            continue
        found = inventory.token
        yield passed(
            check,
            token.module,
            f"label `{found.label}`{_slot(found.slot)}, serial {found.serial}, PIN accepted",
        )
        if _FORGEABLE in found.manufacturer or _FORGEABLE in found.model:
            yield failed(
                check,
                token.module,
                f"`{found.manufacturer}`: a token for benchmarks, whose private key is published: ANYONE CAN FORGE ITS SIGNATURES",
                "name the module and the label of a real token, and have certificates made for its keys",
            )
        for key_check in inventory.checks:
            yield _judge(token, key_check, inventory)
        if inventory.audit is not None:
            yield _judge_audit(token, inventory.audit, inventory)


def _check_environment(config: Config, token: TokenTable) -> Iterator[Finding]:
    """Name what the module is told to read and will not find; it would only say that something is wrong."""
    for variable, value in token.environment.items():
        if Path(value).is_absolute() and not Path(value).exists():
            yield failed(
                f"environment of token {token.name}",
                config.home.config_file,
                f"{variable} names {value}, which is not there",
                f"correct {variable} in [token.environment], or put the file there",
            )


def _audit_key(config: Config, token: TokenTable) -> KeySettings | None:
    """Return the audit key if it is this token's and can be looked for; why it cannot is said by `checks.audit`."""
    try:
        return audit_settings(config, token.name)
    except ConfigurationError:
        return None


def _judge_audit(token: TokenTable, check: KeyCheck, inventory: Inventory) -> Finding:
    where = _where(token, inventory)
    if check.finding is None:
        return passed("audit key", where, "in the token, signs what its public key verifies")
    return failed(
        "audit key",
        where,
        f"{check.finding.code}: {check.finding.cause}; the token holds {_held(inventory)}",
        check.finding.next_step.replace("the [[key]]", "[audit]"),
    )


def _judge(token: TokenTable, check: KeyCheck, inventory: Inventory) -> Finding:
    where = _where(token, inventory)
    if check.finding is None:
        return passed(
            f"key {check.name}",
            where,
            "in the token, not extractable, signs what its certificate verifies",
        )
    return failed(
        f"key {check.name}",
        where,
        f"{check.finding.code}: {check.finding.cause}; the token holds {_held(inventory)}",
        check.finding.next_step,
    )


def _where(token: TokenTable, inventory: Inventory) -> str:
    return f"token {token.name}{_slot(inventory.token.slot)} of {token.module}"


def _slot(number: int | None) -> str:
    return "" if number is None else f", slot {number}"


def _held(inventory: Inventory) -> str:
    return ", ".join(f"`{key.label}` (id {key.id})" for key in inventory.stored) or "no private key"
