"""The conventions in force, with the trust of each provider convention; immutable, replaced whole on reload.

Promises that whatever a convention names on disk could be loaded, and that conventions with equal trust settings share one
`PartnerTrust` (one memory of accepted chains, one watch on the CRL directory).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.clock import Clock
from appliance.conventions.model import ClientConvention, Convention, ProviderConvention
from appliance.errors import ConventionViolation, Reason
from appliance.trust.paths import PartnerTrust, TrustSettings


class Registry:
    """Conventions by id and by role."""

    def __init__(self, conventions: Iterable[Convention], clock: Clock) -> None:
        """Take conventions in and load what provider conventions trust.

        Raises:
            ConfigurationError: a trust root or a pinned certificate cannot be loaded.
        """
        self._by_id: Final = {convention.id: convention for convention in conventions}
        self._providers: Final = tuple(
            convention
            for convention in self._by_id.values()
            if isinstance(convention, ProviderConvention)
        )
        settings = {convention.id: _trust_settings(convention) for convention in self._providers}
        shared = {each: PartnerTrust(each, clock) for each in set(settings.values())}
        self._trusts: Final = {name: shared[each] for name, each in settings.items()}

    def __repr__(self) -> str:
        return f"Registry({', '.join(self._by_id) or 'empty'})"

    def all(self) -> tuple[Convention, ...]:
        """Return every convention, in the order of their ids."""
        return tuple(self._by_id.values())

    def clients(self) -> tuple[ClientConvention, ...]:
        """Return the conventions under which we issue."""
        return tuple(each for each in self._by_id.values() if isinstance(each, ClientConvention))

    def providers(self) -> tuple[ProviderConvention, ...]:
        """Return the conventions under which we verify."""
        return self._providers

    def client(self, convention_id: str) -> ClientConvention:
        """Return a client convention.

        Raises:
            ConventionViolation: `convention-unknown` or `convention-role`.
        """
        convention = self._find(convention_id)
        if not isinstance(convention, ClientConvention):
            raise _wrong_role(
                convention_id, "provider", "vectors are verified under it, not issued"
            )
        return convention

    def provider(self, convention_id: str) -> ProviderConvention:
        """Return a provider convention.

        Raises:
            ConventionViolation: `convention-unknown` or `convention-role`.
        """
        convention = self._find(convention_id)
        if not isinstance(convention, ProviderConvention):
            raise _wrong_role(convention_id, "client", "vectors are issued under it, not verified")
        return convention

    def trust_of(self, convention: ProviderConvention) -> PartnerTrust:
        """Return the trust of one of `providers()`."""
        return self._trusts[convention.id]

    def _find(self, convention_id: str) -> Convention:
        convention = self._by_id.get(convention_id)
        if convention is None:
            raise ConventionViolation(
                Reason.CONVENTION_UNKNOWN, f"there is no convention `{convention_id[:64]}`"
            )
        return convention


@dataclass(slots=True)
class RegistryCell:
    """Where the operations find the registry in force; a reload puts another one in."""

    current: Registry


def _trust_settings(convention: ProviderConvention) -> TrustSettings:
    return TrustSettings(
        roots=convention.roots,
        crl_directory=convention.crl_directory,
        certificates=convention.certificates,
        allow_sha1=convention.allow_sha1,
    )


def _wrong_role(convention_id: str, role: str, so: str) -> ConventionViolation:
    return ConventionViolation(
        Reason.CONVENTION_ROLE, f"`{convention_id}` is a {role} convention: {so}"
    )
