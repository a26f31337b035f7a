"""A convention on its way to the partner's appliance: what one side exports, and the mirror image the other imports.

One TOML document, readable by people, without anything secret and without anything that is only ours (callers, roles, keys, files):
identities, shapes, lifetimes, and the certificates that speak for the client organisation.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.conventions.model import ClientConvention, Convention
from appliance.conventions.writer import Value, write_value
from appliance.errors import ConfigurationError
from appliance.toml import read_toml

_FORMAT: Final = 1
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
    certificates: str = ""


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
    lines += [f"{key} = {at.isoformat()}" for key, at in period.items() if at is not None]
    if certificates:
        lines.append(f'certificates = """\n{certificates}"""')
    return "\n".join([_HEAD, f"format = {_FORMAT}", *lines, ""])


def _shapes(convention: Convention) -> dict[str, Value]:
    if isinstance(convention, ClientConvention):
        return {
            "saml_versions": [convention.saml_version],
            "variants": [convention.variant],
            "name_id_format": convention.name_id_format,
        }
    shapes: dict[str, Value] = {
        "saml_versions": sorted(convention.saml_versions),
        "variants": sorted(convention.accepted_variants),
    }
    if convention.name_id_formats:
        shapes["name_id_format"] = min(convention.name_id_formats)
    return shapes


def read_portable(file: Path) -> PortableConvention:
    """Read a document that another appliance exported.

    Raises:
        ConfigurationError: it is none, or of a later format.
    """
    read = read_toml(file, PortableConvention)
    if read.format != _FORMAT:
        raise ConfigurationError(str(file), "format", f"{_FORMAT}, got {read.format}")
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
    if read.role == "client":
        return values | {
            "id_style": read.id_style,
            "saml_versions": read.saml_versions,
            "signature.variants": read.variants,
            "trust.roots": [f"{trust}/root.pem"],
            "trust.crl_directory": f"{trust}/crl",
        }
    if not read.variants or not read.saml_versions:
        raise ConfigurationError(str(file), "variants", "at least one variant and one SAML version")
    values |= {
        "key": key,
        "saml_version": max(read.saml_versions),
        "signature.variant": min(read.variants),
    }
    if read.id_style != "any":
        values["id_style"] = read.id_style
    if read.name_id_format is not None:
        values["name_id_format"] = read.name_id_format
    return values


def _roots(file: Path, read: PortableConvention) -> list[x509.Certificate]:
    if not read.certificates.strip():
        return []
    try:
        certificates = x509.load_pem_x509_certificates(read.certificates.encode())
    except ValueError as exc:
        raise ConfigurationError(str(file), "certificates", "certificates in PEM") from exc
    return [each for each in certificates if each.subject == each.issuer]


def write_roots(file: Path, read: PortableConvention) -> bytes:
    """Return the trust anchors of the document, PEM, each once; none where its chains leave the root out.

    Raises:
        ConfigurationError: its certificates cannot be read.
    """
    roots = dict.fromkeys(each.public_bytes(Encoding.PEM) for each in _roots(file, read))
    return b"".join(roots)
