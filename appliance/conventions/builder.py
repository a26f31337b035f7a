"""From the files of a home to a registry that can serve: read, checked against the keys in service, CRLs looked at."""

from pathlib import Path
from typing import Final

from appliance.conventions.loader import ConventionFiles
from appliance.conventions.model import ClientConvention, Convention, Environment
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.signing.keyring import Keyring
from appliance.trust.ocsp import OcspMemory
from appliance.trust.revocation import CrlDirectories


class RegistryBuilder:
    """Builds one registry after the other; what did not change on disk is not read again."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._files: Final = ConventionFiles(directory)
        self._crls: Final = CrlDirectories()
        self._ocsp: Final = OcspMemory()

    def build(self, environment: Environment | None, keyring: Keyring) -> Registry:
        """Read, check, and look at every CRL directory, so that no vector will wait for that.

        Args:
            environment: the only one taken; None takes both.
            keyring: the keys in service.

        Raises:
            ConfigurationError: a file is wrong, or a convention does not fit this home.
        """
        registry = Registry(self._files.load(), self._crls, self._ocsp)
        for convention in registry.all():
            self._check_environment(convention, environment)
        for convention in registry.clients():
            for key in convention.keys:
                self._check_key(convention, key, keyring)
        for each in registry.watched():
            each.crls.look()
        return registry

    def _check_environment(self, convention: Convention, environment: Environment | None) -> None:
        if environment not in {None, convention.environment}:
            raise self._refuse(
                convention,
                "environment",
                f"`{environment}`, as appliance.toml says; got `{convention.environment}`",
            )

    def _check_key(self, convention: ClientConvention, key: str, keyring: Keyring) -> None:
        if key not in keyring.names():
            known = ", ".join(keyring.names()) or "(there is none)"
            where = "key" if key == convention.key else "rollover.key"
            raise self._refuse(
                convention, where, f"the name of a [[key]] in service: {known}; got `{key}`"
            )
        try:
            keyring.profile(key, convention.signature_algorithm)
        except ConfigurationError as exc:
            raise self._refuse(convention, "signature.algorithm", exc.expected) from exc

    def _refuse(self, convention: Convention, key: str, expected: str) -> ConfigurationError:
        return ConfigurationError(str(self._directory / f"{convention.id}.toml"), key, expected)
