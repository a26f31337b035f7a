"""From the files of a home to a registry that can serve: read, checked against what the home has in service, CRLs looked at."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.conventions.inforce import load_in_force
from appliance.conventions.loader import ConventionFiles, load_convention
from appliance.conventions.model import (
    ClientConvention,
    Convention,
    Environment,
    ProviderConvention,
)
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.log import Log
from appliance.signing.keyring import Keyring
from appliance.trust.certificates import UNREADABLE, is_authority, load_certificates
from appliance.trust.ocsp import OcspMemory
from appliance.trust.revocation import CrlDirectories

_LOG: Final = Log("conventions")
_WITHOUT_TABLE: Final = ("cli", "loopback")
_BY_ITSELF: Final = re.compile(r"uid:.*|.*=.*", re.DOTALL)
"""Callers that `appliance.toml` need not describe: a unix peer, and whoever shows a TLS certificate, by its subject."""


@dataclass(frozen=True, slots=True)
class HomeParts:
    """What a home has in service and a convention may name.

    Attributes:
        environment: the only one taken; None takes both.
        keyring: the keys.
        callers: names that appliance.toml gives: of each `[[caller]]`, and in `callers_by_address`.
    """

    environment: Environment | None
    keyring: Keyring
    callers: Sequence[str] = ()


class RegistryBuilder:
    """Builds one registry after the other; what did not change on disk is not read again."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._files: Final = ConventionFiles(directory)
        self._crls: Final = CrlDirectories()
        self._ocsp: Final = OcspMemory()

    def build(self, parts: HomeParts) -> Registry:
        """Read, check, and look at every CRL directory, so that no vector will wait for that.

        Raises:
            ConfigurationError: a file is wrong, or a convention does not fit this home.
        """
        return self.build_of(self._files.load(), parts)

    def resume(self, in_force: Path, parts: HomeParts) -> Registry:
        """Build a registry of what the supervisor has put in force; the next `build` reads what differs from the files as they are now.

        Where that cannot be read, as by a program that was replaced under a running service, the files have to do.

        Raises:
            ConfigurationError: a convention does not fit this home any more.
        """
        try:
            conventions = load_in_force(in_force)
        except ConfigurationError as exc:
            _LOG.warning("not-in-force", detail=exc.detail)
            return self.build(parts)
        with contextlib.suppress(
            ConfigurationError
        ):  # what is wrong with a file the next reload says
            self._files.load()
        return self.build_of(conventions, parts)

    def build_of(self, conventions: Sequence[Convention], parts: HomeParts) -> Registry:
        """Check conventions, load what they trust, and look at every CRL directory.

        Raises:
            ConfigurationError: a convention does not fit this home.
        """
        for convention in conventions:
            check_parts(self._file_of(convention), convention, parts)
        try:
            registry = Registry(conventions, self._crls, self._ocsp)
        except ConfigurationError:
            for convention in conventions:  # to say whose certificates they are
                _check_trust(self._file_of(convention), convention)
            raise
        for each in registry.watched():
            each.crls.look()
        return registry

    def _file_of(self, convention: Convention) -> Path:
        return self._directory / f"{convention.id}.toml"


def load_checked(file: Path, parts: HomeParts) -> Convention:
    """Load one convention and check it as `RegistryBuilder` would, and that there is a directory for its CRLs.

    Raises:
        ConfigurationError: it would not be served, or only to refuse.
    """
    convention = load_convention(file)
    check_parts(file, convention, parts)
    _check_trust(file, convention)
    if isinstance(convention, ProviderConvention) and not convention.crl_directory.is_dir():
        expected = "a directory, with a current CRL for each CA of the path"
        raise _refuse(file, "trust.crl_directory", f"{expected}; got {convention.crl_directory}")
    return convention


def check_parts(file: Path, convention: Convention, parts: HomeParts) -> None:
    """Check that a home has what a convention names of it: environment, keys that fit its algorithm, callers.

    Raises:
        ConfigurationError: it has not.
    """
    if parts.environment not in {None, convention.environment}:
        said = f"`{parts.environment}`, as appliance.toml says; got `{convention.environment}`"
        raise _refuse(file, "environment", said)
    if isinstance(convention, ClientConvention):
        for where, key in _keys_of(convention):
            _check_key(file, convention, where, key, parts.keyring)
        _check_callers(file, convention, parts.callers)


def _keys_of(convention: ClientConvention) -> Iterator[tuple[str, str]]:
    yield "key", convention.key
    for at, change in enumerate(convention.rollover):
        yield f"rollover[{at}].key", change.key


def _check_key(
    file: Path, convention: ClientConvention, where: str, key: str, keyring: Keyring
) -> None:
    if key not in keyring.names():
        known = ", ".join(keyring.names()) or "(there is none)"
        raise _refuse(file, where, f"the name of a [[key]] in service: {known}; got `{key}`")
    try:
        keyring.profile(key, convention.signature_algorithm)
    except ConfigurationError as exc:
        raise _refuse(file, "signature.algorithm", exc.expected) from exc


def _check_callers(file: Path, convention: ClientConvention, callers: Sequence[str]) -> None:
    known = (*callers, *_WITHOUT_TABLE)
    for at, rule in enumerate(convention.callers):
        for name in sorted(rule.names):
            if name not in known and not _BY_ITSELF.fullmatch(name):
                expected = f"callers there are: {', '.join(known)}, uid:N, or the subject of a TLS certificate"
                raise _refuse(file, f"caller[{at}].names", f"{expected}; got `{name}`")


def _check_trust(file: Path, convention: Convention) -> None:
    """Check that what a provider convention names on disk can be loaded, and say which key names what cannot."""
    if not isinstance(convention, ProviderConvention):
        return
    named = {"trust.roots": convention.roots, "trust.certificates": convention.certificates}
    for key, files in named.items():
        for at, each in enumerate(files):
            try:
                certificates = load_certificates(each)
                are_authorities = all(map(is_authority, certificates))
            except ConfigurationError as exc:
                raise _refuse(file, f"{key}[{at}]", f"{exc.expected}; got {each}") from exc
            except UNREADABLE as exc:
                raise _refuse(file, f"{key}[{at}]", f"certificates; got {each}") from exc
            if key == "trust.certificates" and are_authorities:
                expected = "the certificate of a signer, not of a CA"
                raise _refuse(file, f"{key}[{at}]", f"{expected}; got {each}")
    try:
        Registry([convention])
    except ConfigurationError as exc:
        raise _refuse(file, "trust.roots", f"{exc.expected}; got {exc.file}") from exc


def _refuse(file: Path, key: str, expected: str) -> ConfigurationError:
    return ConfigurationError(str(file), key, expected)
