"""A convention on its way to the partner's appliance: what one side exports, and the mirror image the other imports.

One TOML document, readable by people, without anything secret and without anything that is only ours (callers, roles, keys, files):
identities, shapes, durations, algorithms, signed parts of messages, and the certificates that speak for the client organisation.
"""

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from msgspec.structs import fields

from appliance.conventions.algorithms import ACCEPTED_ALGORITHMS
from appliance.conventions.model import ClientConvention, Convention
from appliance.conventions.tables import ClientTable, ProviderTable
from appliance.conventions.writer import Value, write_value
from appliance.errors import ConfigurationError
from appliance.toml import Duration, read_toml, write_duration
from appliance.trust.certificates import UNREADABLE, is_authority

_FORMAT: Final = 2
_READ: Final = (1, 2)
"""Format 1 said nothing of durations, algorithms, confirmation and messages; what it leaves out is left to our defaults."""

_NAMES: Final = {uri: name for name, uri in ACCEPTED_ALGORITHMS.items()}
_LIFETIME: Final = next(f.default for f in fields(ClientTable) if f.name == "lifetime")
_BACK_DATING: Final = next(f.default for f in fields(ClientTable) if f.name == "back_dating")
_TIMESTAMP: Final = "5m"
"""How long the Timestamp of a message is valid that the partner wants signed."""

_SKEW: Final = next(f.default for f in fields(ProviderTable) if f.name == "skew")
_HEAD: Final = """\
# An InterOPS convention, exported for the partner's appliance: `appliance convention import FILE --home DIR --id ID`.
"""


class PortableConvention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The document; `role` is that of the side that exported it."""

    format: int
    role: str
    issuer: str
    audience: str
    recipient: str
    levels: tuple[str, ...]
    pagms: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    environment: str = "production"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    saml_versions: tuple[str, ...] = ("2.0",)
    variants: tuple[str, ...] = ("A",)
    id_style: str = "any"
    name_id_format: str | None = None
    no_user: str = "NON_RENSEIGNE"
    replay: str = "log"
    lifetime: Duration | None = None
    back_dating: Duration | None = None
    maximum_lifetime: Duration | None = None
    confirmations: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    minimum_rsa_bits: int | None = None
    signed: tuple[str, ...] | None = None
    certificates: str = ""


class _Beginning(msgspec.Struct, frozen=True):
    """Just enough of a document to tell whether it is one."""

    format: int | None = None


def export_convention(convention: Convention, certificates: str = "") -> str:
    """Write the document.

    Args:
        convention: ours.
        certificates: PEM, the chains that speak for the client organisation; empty for a provider convention.
    """
    facts: dict[str, Value] = {
        "role": "client" if isinstance(convention, ClientConvention) else "provider",
        "issuer": convention.issuer,
        "audience": convention.audience,
        "recipient": convention.recipient,
        "levels": [*convention.levels]
        if isinstance(convention, ClientConvention)
        else sorted(convention.levels),
        "pagms": sorted(convention.pagms),
        "attributes": sorted(convention.attributes),
        "environment": convention.environment,
        "id_style": convention.id_style,
        "no_user": convention.no_user,
        "replay": convention.replay,
        **_shapes(convention),
    }
    lines = [f"{key} = {write_value(value)}" for key, value in facts.items()]
    period = {"valid_from": convention.period.begins, "valid_until": convention.period.ends}
    lines += [f"{key} = {write_value(at)}" for key, at in period.items() if at is not None]
    if certificates:
        lines.append(f'certificates = """\n{certificates}"""')
    return "\n".join([_HEAD, f"format = {_FORMAT}", *lines, ""])


def _shapes(convention: Convention) -> dict[str, Value]:
    if isinstance(convention, ClientConvention):
        return {
            "saml_versions": [convention.saml_version],
            "variants": [convention.variant],
            "name_id_format": convention.name_id_format,
            "lifetime": write_duration(convention.lifetime),
            "back_dating": write_duration(convention.back_dating),
            "confirmations": [convention.confirmation],
            "algorithms": [_NAMES[convention.signature_algorithm]],
            "signed": convention.soap_signed,
        }
    accepted = (convention.confirmations[version] for version in convention.saml_versions)
    shapes: dict[str, Value] = {
        "saml_versions": sorted(convention.saml_versions),
        "variants": sorted(convention.accepted_variants),
        "confirmations": sorted(frozenset().union(*accepted)),
        "algorithms": sorted(_NAMES[uri] for uri in convention.signature_algorithms),
        "signed": sorted(convention.soap_signed),
    }
    if convention.minimum_rsa_bits is not None:
        shapes["minimum_rsa_bits"] = convention.minimum_rsa_bits
    if convention.name_id_formats:
        shapes["name_id_format"] = min(convention.name_id_formats)
    if convention.maximum_lifetime is not None:
        shapes["maximum_lifetime"] = write_duration(convention.maximum_lifetime)
    return shapes


def is_portable(file: Path) -> bool:
    """Tell whether a file is such a document: no convention of a home says `format`."""
    try:
        return "format" in tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def read_portable(file: Path) -> PortableConvention:
    """Read a document that another appliance exported.

    Raises:
        ConfigurationError: it is none, or of a later format.
    """
    if read_toml(file, _Beginning).format is None:
        raise ConfigurationError(str(file), "format", "what `appliance convention export` wrote")
    read = read_toml(file, PortableConvention)
    if read.format not in _READ:
        known = " or ".join(map(str, _READ))
        raise ConfigurationError(
            str(file), "format", f"{known}, got {read.format}: a later appliance wrote it"
        )
    if read.role not in {"client", "provider"}:
        raise ConfigurationError(str(file), "role", f"client or provider; got `{read.role}`")
    return read


def mirror(read: PortableConvention, file: Path, key: str, trust: str) -> Mapping[str, Value]:
    """Return what our own file must say: the other role, the same agreement.

    Args:
        read: the document.
        file: where it was read, for the refusal.
        key: our signing key, where we are the client organisation.
        trust: the directory, relative to the home, that holds `root.pem` and `crl/`, where we are the provider.

    Raises:
        ConfigurationError: the document wants what we do not emit.
    """
    values: dict[str, Value] = {
        "issuer": read.issuer,
        "audience": read.audience,
        "recipient": read.recipient,
        "levels": read.levels,
        "pagms": read.pagms,
        "attributes": read.attributes,
        "environment": read.environment,
        "no_user": read.no_user,
        "replay": read.replay,
    }
    period = {"valid_from": read.valid_from, "valid_until": read.valid_until}
    values |= {key: at for key, at in period.items() if at is not None}
    if read.role == "client":
        return values | {
            "id_style": read.id_style,
            "saml_versions": read.saml_versions,
            "signature.variants": read.variants,
            "trust.roots": [f"{trust}/root.pem"],
            "trust.crl_directory": f"{trust}/crl",
            **_accepted(read),
        }
    if not read.variants or not read.saml_versions:
        raise ConfigurationError(str(file), "variants", "at least one variant and one SAML version")
    values |= {
        "key": key,
        "saml_version": max(read.saml_versions),
        "signature.variant": min(read.variants),
        **_emitted(read),
    }
    if read.id_style != "any":
        values["id_style"] = read.id_style
    if read.name_id_format is not None:
        values["name_id_format"] = read.name_id_format
    return values


def _accepted(read: PortableConvention) -> dict[str, Value]:
    """Return what a provider accepts of what the client emits: no vector of it is longer, signed or confirmed otherwise."""
    values: dict[str, Value] = {}
    if read.lifetime is not None:
        longest = read.lifetime + (read.back_dating or 0.0)
        # At least twice the tolerance between the clocks, which must be less.
        values["maximum_lifetime"] = write_duration(max(longest, 2 * _SKEW))
    if read.confirmations:
        values["confirmations"] = read.confirmations
    if read.algorithms:
        values["signature.algorithms"] = read.algorithms
    if read.signed:
        values["soap.signed"] = read.signed
    return values


def _emitted(read: PortableConvention) -> dict[str, Value]:
    """Return what a client emits so that the provider accepts it, our defaults where they fit."""
    values: dict[str, Value] = {}
    longest = read.maximum_lifetime
    if longest is not None and longest < _LIFETIME + _BACK_DATING:
        back_dating = _BACK_DATING if longest > 2 * _BACK_DATING else 0.0
        values["lifetime"] = write_duration(longest - back_dating)
        values["back_dating"] = write_duration(back_dating)
    usual = "sender-vouches" if max(read.saml_versions) == "1.1" else "bearer"
    if read.confirmations and usual not in read.confirmations:
        values["confirmation"] = min(read.confirmations)
    if read.signed:
        values["soap.signed"] = read.signed
    if "timestamp" in (read.signed or ()):
        values["soap.timestamp"] = _TIMESTAMP
    return values


def read_authorities(
    file: Path, read: PortableConvention
) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Return the trust anchors of the document, none where its chains leave the root out, and the CAs between them and the signers; each once.

    Raises:
        ConfigurationError: its certificates cannot be read.
    """
    if not read.certificates.strip():
        return [], []
    try:
        certificates = x509.load_pem_x509_certificates(read.certificates.encode())
        authorities = [each for each in dict.fromkeys(certificates) if is_authority(each)]
    except UNREADABLE as exc:
        raise ConfigurationError(str(file), "certificates", "certificates in PEM") from exc
    return (
        [each for each in authorities if each.subject == each.issuer],
        [each for each in authorities if each.subject != each.issuer],
    )
