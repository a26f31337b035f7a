"""Reads convention files: one TOML file each, validated whole; the file's name is the convention's id.

Promises that an unknown, wrong or contradictory key is refused with file, key and what was expected. Paths are relative to the
home, the directory that holds `conventions/`. Opens no file that a convention names: `Registry` does.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from appliance.conventions.model import (
    NAME_ID_UNSPECIFIED,
    ClientConvention,
    Convention,
    ProviderConvention,
)
from appliance.errors import ConfigurationError
from appliance.toml import Duration, read_toml
from appliance.vectors.characters import is_stated
from appliance.vectors.identifiers import AcceptedStyle, WrittenStyle

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PAGM_ATTRIBUTE: Final = "PAGM"
_WRITTEN_STYLES: Final[Mapping[str, WrittenStyle]] = {"uuid": "uuid", "xs-id": "xs-id"}
_ACCEPTED_STYLES: Final[Mapping[str, AcceptedStyle]] = {**_WRITTEN_STYLES, "any": "any"}
_SHA1: Final = {"refuse": False, "legacy": True}
_ALGORITHMS: Final = {  # RFC 6931, 2.3
    name: f"http://www.w3.org/2001/04/xmldsig-more#{name}"
    for name in ("rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384")
} | {
    f"rsa-pss-{name}": f"http://www.w3.org/2007/05/xmldsig-more#{name}-rsa-MGF1"
    for name in ("sha256", "sha384", "sha512")
}


class _ClientSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: str = "rsa-sha256"


class _ClientFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    issuer: str
    audience: str
    recipient: str
    levels: tuple[str, ...]
    pagms: tuple[str, ...]
    key: str
    attributes: tuple[str, ...] = ()
    id_style: str = "xs-id"
    name_id_format: str = NAME_ID_UNSPECIFIED
    no_user: str = "NON_RENSEIGNE"
    lifetime: Duration = Duration(3600)
    back_dating: Duration = Duration(10)
    signature: _ClientSignature = _ClientSignature()


class _Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    roots: tuple[Path, ...]
    crl_directory: Path
    certificates: tuple[Path, ...] = ()


class _ProviderSignature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha1: str = "refuse"


class _ProviderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: str
    audience: str
    recipient: str
    levels: tuple[str, ...]
    pagms: tuple[str, ...]
    trust: _Trust
    role: str = "provider"
    id_style: str = "any"
    skew: Duration = Duration(60)
    maximum_lifetime: Duration | None = None
    signature: _ProviderSignature = _ProviderSignature()


class _AnyTable(msgspec.Struct, frozen=True):
    """A table whose keys are looked at later."""


class _EitherFile(msgspec.Struct, frozen=True):
    """Just enough of a file to tell which of the two it is."""

    role: str | None = None
    trust: _AnyTable | None = None


def load_conventions(directory: Path) -> tuple[Convention, ...]:
    """Load every `*.toml` of a directory, in the order of their ids.

    Raises:
        ConfigurationError: of the first file that cannot be used.
    """
    return tuple(load_convention(file) for file in sorted(directory.glob("*.toml")))


def load_convention(file: Path) -> Convention:
    """Load one convention.

    Raises:
        ConfigurationError: the file cannot be read, or a key of it cannot be used.
    """
    readers = {"client": _load_client, "provider": _load_provider}
    checks = _Checks(file)
    if _ID.fullmatch(file.stem) is None:
        raise checks.refuse("", "a file name (the convention's id) of letters, digits, . _ and -")
    either = read_toml(file, _EitherFile)
    role = either.role or ("provider" if either.trust is not None else "")
    return checks.choose("role", role, readers)(file, checks)


Chosen = TypeVar("Chosen")


class _Checks:
    """What is checked of one file beyond the types; every method raises `ConfigurationError`."""

    def __init__(self, file: Path) -> None:
        self._file: Final = file

    def refuse(self, key: str, expected: str) -> ConfigurationError:
        return ConfigurationError(str(self._file), key, expected)

    def choose(self, key: str, value: str, choices: Mapping[str, Chosen]) -> Chosen:
        if value not in choices:
            raise self.refuse(key, f"one of {', '.join(choices)}; got `{value}`")
        return choices[value]

    def texts(self, **values: str) -> None:
        for key, value in values.items():
            if not is_stated(value):
                raise self.refuse(key, "a text without white space at its ends, not empty")

    def list_(self, key: str, values: tuple[str, ...]) -> None:
        for at, value in enumerate(values):
            self.texts(**{f"{key}[{at}]": value})
            if value in values[:at]:
                raise self.refuse(f"{key}[{at}]", f"each value once; `{value}` stands twice")

    def some(self, key: str, values: tuple[object, ...]) -> None:
        if not values:
            raise self.refuse(key, "at least one value")

    def positive(self, key: str, value: float | None) -> None:
        if value is not None and value <= 0:
            raise self.refuse(key, "more than zero")


def _load_client(file: Path, checks: _Checks) -> Convention:
    read = read_toml(file, _ClientFile)
    checks.texts(issuer=read.issuer, audience=read.audience, recipient=read.recipient)
    checks.texts(key=read.key, no_user=read.no_user, name_id_format=read.name_id_format)
    checks.some("levels", read.levels)
    checks.list_("levels", read.levels)
    checks.some("pagms", read.pagms)
    checks.list_("pagms", read.pagms)
    checks.list_("attributes", read.attributes)
    if _PAGM_ATTRIBUTE in read.attributes:
        raise checks.refuse("attributes", f"no `{_PAGM_ATTRIBUTE}`: profiles belong in `pagms`")
    checks.positive("lifetime", read.lifetime)
    return ClientConvention(
        id=file.stem,
        issuer=read.issuer,
        audience=read.audience,
        recipient=read.recipient,
        levels=read.levels,
        pagms=frozenset(read.pagms),
        attributes=frozenset(read.attributes),
        id_style=checks.choose("id_style", read.id_style, _WRITTEN_STYLES),
        name_id_format=read.name_id_format,
        no_user=read.no_user,
        lifetime=read.lifetime,
        back_dating=read.back_dating,
        key=read.key,
        signature_algorithm=checks.choose(
            "signature.algorithm", read.signature.algorithm, _ALGORITHMS
        ),
    )


def _load_provider(file: Path, checks: _Checks) -> Convention:
    read = read_toml(file, _ProviderFile)
    checks.texts(issuer=read.issuer, audience=read.audience, recipient=read.recipient)
    checks.some("levels", read.levels)
    checks.list_("levels", read.levels)
    checks.some("pagms", read.pagms)
    checks.list_("pagms", read.pagms)
    checks.some("trust.roots", read.trust.roots)
    checks.positive("maximum_lifetime", read.maximum_lifetime)
    home = file.absolute().parent.parent
    return ProviderConvention(
        id=file.stem,
        issuer=read.issuer,
        audience=read.audience,
        recipient=read.recipient,
        levels=frozenset(read.levels),
        pagms=frozenset(read.pagms),
        id_style=checks.choose("id_style", read.id_style, _ACCEPTED_STYLES),
        skew=read.skew,
        maximum_lifetime=read.maximum_lifetime,
        roots=tuple(home / path for path in read.trust.roots),
        crl_directory=home / read.trust.crl_directory,
        certificates=tuple(home / path for path in read.trust.certificates),
        allow_sha1=checks.choose("signature.sha1", read.signature.sha1, _SHA1),
    )
