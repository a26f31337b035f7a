"""What a convention says, under the keys that `docs/conventions.md` gives: for `appliance convention show` and `diff`."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from appliance.conventions.algorithms import ACCEPTED_ALGORITHMS
from appliance.conventions.model import (
    ClientConvention,
    Convention,
    ProviderConvention,
)
from appliance.conventions.portable import mirror, read_portable
from appliance.errors import ConfigurationError
from appliance.toml import read_duration

Facts = dict[str, object]

_NAMES: Final = {uri: name for name, uri in ACCEPTED_ALGORITHMS.items()}
_KEYS: Final[Mapping[type[Convention], Mapping[str, str]]] = {
    ClientConvention: {
        "callers": "caller",
        "reuse": "reuse.allowed",
        "reuse_margin": "reuse.margin",
        "soap_reference": "soap.reference",
        "soap_timestamp": "soap.timestamp",
        "soap_signed": "soap.signed",
        "variant": "signature.variant",
        "key_info": "signature.key_info",
    },
    ProviderConvention: {
        "soap_signed": "soap.signed",
        "minimum_rsa_bits": "signature.minimum_rsa_bits",
    }
    | {
        name: f"trust.{name}"
        for name in (
            *("roots", "crl_directory", "certificates", "signer_names", "anchor_names"),
            *("tls_peers", "crl_grace", "crl_warning", "crl_addresses", "crl_refresh", "ocsp"),
        )
    },
}
"""Field of the model → key of the file, where they differ."""

_WRITTEN_OTHERWISE: Final = frozenset(
    {
        *("period", "trace", "rollover", "signature_algorithm", "signature_algorithms"),
        *("confirmations", "allow_sha1", "variants"),
    }
)

_NOT_EXPORTED: Final = frozenset({"key", "trust.roots", "trust.crl_directory", "soap.timestamp"})
"""What is only ours, so that no export says it."""
_DURATIONS: Final = frozenset({"lifetime", "back_dating", "maximum_lifetime"})


def role_of(convention: Convention) -> str:
    """Return the word of the key `role`."""
    return "client" if isinstance(convention, ClientConvention) else "provider"


def state_facts(convention: Convention) -> Facts:
    """Return every value by its key, defaults included, as JSON has it; durations are seconds."""
    stated = {
        _KEYS[type(convention)].get(field.name, field.name): getattr(convention, field.name)
        for field in dataclasses.fields(convention)
        if field.name not in _WRITTEN_OTHERWISE
    }
    stated |= _of_both(convention)
    if isinstance(convention, ClientConvention):
        stated |= _of_client(convention)
    else:
        stated |= _of_provider(convention)
    plain: Facts = msgspec.to_builtins(stated, enc_hook=_plain, order="sorted")
    return {"id": convention.id, "role": role_of(convention)} | plain


def facts_of_export(file: Path, role: str) -> Facts:
    """Return what an export of the partner asks of our side, whose role is given; keys that it does not speak of are left out.

    Raises:
        ConfigurationError: it cannot be read, or was exported by our own side.
    """
    read = read_portable(file)
    if read.role == role:
        raise ConfigurationError(
            str(file), "role", f"what the partner exported; this is of a {role}, as we are"
        )
    values = mirror(read, file, "", "")
    asked: Facts = {key: value for key, value in values.items() if key not in _NOT_EXPORTED}
    for key in _DURATIONS & asked.keys():
        asked[key] = float(read_duration(str(asked[key])))
    if read.signed is not None:
        asked["soap.signed"] = read.signed
    plain: Facts = msgspec.to_builtins(asked)
    return {"id": str(file), "role": role} | plain


def differing(first: Facts, second: Facts, *, by_export: bool) -> Iterator[str]:
    """Yield the keys whose values differ; beside an export, among those that it speaks of."""
    names = first.keys() & second.keys() if by_export else first.keys() | second.keys()
    is_ordered = first["role"] == second["role"] and not by_export
    for name in [*first, *(each for each in second if each not in first)]:
        if name in names and name != "id":
            sides = (first.get(name), second.get(name))
            one, other = sides if is_ordered else map(_unordered, sides)
            if one != other:
                yield name


def _unordered(value: object) -> object:
    """Forget the order of a list, which means something to a client convention only."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value


def _of_both(convention: Convention) -> Facts:
    period, trace = convention.period, convention.trace
    return {
        "valid_from": period.begins,
        "valid_until": period.ends,
        "trace.level": trace.level,
        "trace.retention": f"{trace.retention}y",
    }


def _of_client(convention: ClientConvention) -> Facts:
    return {
        "rollover": [{"key": c.key, "valid_from": c.begins} for c in convention.rollover],
        "signature.algorithm": _NAMES[convention.signature_algorithm],
    }


def _of_provider(convention: ProviderConvention) -> Facts:
    accepted = (convention.confirmations[version] for version in convention.saml_versions)
    return {
        "confirmations": frozenset().union(*accepted),
        "signature.sha1": "legacy" if convention.allow_sha1 else "refuse",
        "signature.algorithms": sorted(_NAMES[uri] for uri in convention.signature_algorithms),
        "signature.variants": convention.accepted_variants,
    }


def _plain(value: object) -> object:
    """Turn what JSON does not know (a path, a duration in seconds) into what it does."""
    return float(value) if isinstance(value, float) else str(value)
