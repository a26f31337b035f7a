"""A client convention from its tables: every key checked, contradictions refused."""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final, cast

from appliance.conventions.algorithms import SIGNATURE_ALGORITHMS
from appliance.conventions.file_checks import (
    FileChecks,
    check_name_id_format,
    read_environment,
    read_period,
    read_replay,
    read_shared,
    read_trace,
)
from appliance.conventions.model import (
    CallerRule,
    ClientConvention,
    Confirmation,
    KeyChange,
    KeyInfo,
    Network,
    ReplayPolicy,
    SamlVersion,
    SoapPart,
    SoapReference,
    Variant,
)
from appliance.conventions.tables import CallerTable, ClientTable
from appliance.vectors.identifiers import WrittenStyle

_WRITTEN_STYLES: Final[Mapping[str, WrittenStyle]] = {"uuid": "uuid", "xs-id": "xs-id"}
_CONFIRMATIONS: Final[Mapping[str, Confirmation]] = {"2.0": "bearer", "1.1": "sender-vouches"}

_UID: Final = re.compile(r"uid:(0|[1-9][0-9]{0,9})", re.ASCII)
_LONGEST_DAYS: Final = 31


def load_client(file: Path) -> ClientConvention:
    """Load a client convention.

    Raises:
        ConfigurationError: of the first key that cannot be used.
    """
    checks, read = read_shared(file, ClientTable)
    checks.text("key", read.key)
    version = cast("SamlVersion", checks.word("saml_version", read.saml_version, SamlVersion))
    check_name_id_format(checks, "name_id_format", read.name_id_format, [version])
    _check_lifetime(checks, read)
    signature = read.signature
    return ClientConvention(
        id=file.stem,
        issuer=read.issuer,
        audience=read.audience,
        recipient=read.recipient,
        levels=read.levels,
        pagms=frozenset(read.pagms),
        attributes=frozenset(read.attributes),
        id_style=_read_id_style(checks, read),
        name_id_format=read.name_id_format,
        no_user=read.no_user,
        lifetime=checks.days("lifetime", read.lifetime, _LONGEST_DAYS),
        back_dating=checks.days("back_dating", read.back_dating, _LONGEST_DAYS),
        key=read.key,
        signature_algorithm=checks.choose(
            "signature.algorithm", signature.algorithm, SIGNATURE_ALGORITHMS
        ),
        environment=read_environment(checks, read),
        period=read_period(checks, read),
        saml_version=version,
        confirmation=_read_confirmation(checks, read),
        variant=cast("Variant", checks.word("signature.variant", signature.variant, Variant)),
        key_info=cast("KeyInfo", checks.word("signature.key_info", signature.key_info, KeyInfo)),
        soap_reference=cast(
            "SoapReference",
            checks.word("soap.reference", read.soap.reference, SoapReference),
        ),
        soap_timestamp=_read_timestamp(checks, read),
        soap_signed=_read_signed(checks, read),
        roles=_read_roles(checks, read),
        rollover=_read_rollover(checks, read),
        callers=tuple(_read_caller(checks, read, at) for at in range(len(read.caller))),
        reuse=read.reuse.allowed,
        reuse_margin=checks.days("reuse.margin", read.reuse.margin, _LONGEST_DAYS),
        replay=_read_replay(checks, read),
        trace=read_trace(checks, read.trace),
    )


def _read_id_style(checks: FileChecks, read: ClientTable) -> WrittenStyle:
    style = checks.choose("id_style", read.id_style, _WRITTEN_STYLES)
    if style == "uuid" and read.saml_version == "1.1":
        # SAML 1.1 core 2.3.2: AssertionID is an xs:ID; only the profile of 2.0 has partners who want it bare (DOMAIN 2.2, 2.3).
        raise checks.refuse("id_style", "`xs-id`: the AssertionID of SAML 1.1 begins with `_`")
    return style


def _read_confirmation(checks: FileChecks, read: ClientTable) -> Confirmation:
    if read.confirmation is None:
        return _CONFIRMATIONS[read.saml_version]
    word = cast("Confirmation", checks.word("confirmation", read.confirmation, Confirmation))
    if word == "sender-vouches" and read.saml_version == "2.0":
        raise checks.refuse("confirmation", "`bearer`: only SAML 1.1 has `sender-vouches`")
    return word


def _check_lifetime(checks: FileChecks, read: ClientTable) -> None:
    checks.positive("lifetime", read.lifetime)
    if read.reuse.allowed and read.reuse.margin >= read.lifetime:
        raise checks.refuse(
            "reuse.margin", f"less than `lifetime` ({read.lifetime:g} s), or nothing is ever reused"
        )


def _read_replay(checks: FileChecks, read: ClientTable) -> ReplayPolicy:
    policy = read_replay(checks, read)
    if policy == "refuse" and read.reuse.allowed:
        raise checks.refuse(
            "reuse.allowed", "`false`: the partner refuses a vector that comes twice (`replay`)"
        )
    return policy


def _read_timestamp(checks: FileChecks, read: ClientTable) -> float | None:
    checks.positive("soap.timestamp", read.soap.timestamp)
    if read.soap.timestamp is None:
        return None
    return checks.days("soap.timestamp", read.soap.timestamp, _LONGEST_DAYS)


def _read_signed(checks: FileChecks, read: ClientTable) -> tuple[SoapPart, ...]:
    key, soap = "soap.signed", read.soap
    checks.list_(key, soap.signed)
    parts = tuple(
        cast("SoapPart", checks.word(f"{key}[{at}]", part, SoapPart))
        for at, part in enumerate(soap.signed)
    )
    if "timestamp" in parts and soap.timestamp is None:
        raise checks.refuse(key, "no `timestamp` as long as `soap.timestamp` is not set")
    if "assertion" in parts and soap.reference != "standard":
        raise checks.refuse(key, '`assertion` only beside `soap.reference = "standard"`')
    return parts


def _read_roles(checks: FileChecks, read: ClientTable) -> dict[str, tuple[str, ...]]:
    for role, pagms in read.roles.items():
        checks.text("roles", role)
        checks.some(f"roles.{role}", pagms)
        checks.list_(f"roles.{role}", pagms)
        checks.known(f"roles.{role}", pagms, read.pagms)
    return read.roles


def _read_rollover(checks: FileChecks, read: ClientTable) -> tuple[KeyChange, ...]:
    changes = tuple(KeyChange(step.key, step.valid_from) for step in read.rollover)
    for at, change in enumerate(changes):
        checks.text(f"rollover[{at}].key", change.key)
        if at and change.begins <= changes[at - 1].begins:
            raise checks.refuse(
                f"rollover[{at}].valid_from", "an instant after that of the step before"
            )
        if read.valid_until is not None and change.begins >= read.valid_until:
            raise checks.refuse(
                f"rollover[{at}].valid_from", "an instant before `valid_until`, or it never signs"
            )
        if change.key == (changes[at - 1].key if at else read.key):
            raise checks.refuse(
                f"rollover[{at}].key",
                f"another key than the one before it, `{change.key}`: remove the step, or name the key that follows",
            )
    return changes


def _read_caller(checks: FileChecks, read: ClientTable, at: int) -> CallerRule:
    caller, key = read.caller[at], f"caller[{at}]"
    if not (caller.names or caller.networks or caller.certificates):
        raise checks.refuse(key, "at least one of `names`, `networks`, `certificates`")
    checks.list_(f"{key}.names", caller.names)
    for place, name in enumerate(caller.names):
        if name.startswith("uid:") and not _UID.fullmatch(name):
            raise checks.refuse(f"{key}.names[{place}]", f"a number, as in uid:1000; got `{name}`")
    if caller.pagms is not None:
        checks.some(f"{key}.pagms", caller.pagms)
        checks.known(f"{key}.pagms", caller.pagms, read.pagms)
    return CallerRule(
        names=frozenset(caller.names),
        networks=_read_networks(checks, key, caller),
        certificates=checks.names(f"{key}.certificates", caller.certificates),
        pagms=None if caller.pagms is None else frozenset(caller.pagms),
    )


def _read_networks(checks: FileChecks, key: str, caller: CallerTable) -> tuple[Network, ...]:
    networks: list[Network] = []
    for at, text in enumerate(caller.networks):
        try:
            networks.append(ip_network(text))
        except ValueError as exc:
            raise checks.refuse(
                f"{key}.networks[{at}]", f"a network such as 10.1.0.0/16 ({exc})"
            ) from exc
    return tuple(networks)
