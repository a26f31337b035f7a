"""The conventions in force, with the trust of each provider convention; immutable, replaced whole on reload.

Promises that whatever a convention names on disk could be loaded, that conventions with equal trust settings share one
`PartnerTrust` (one memory of accepted chains), and that finding the conventions of an issuer or a service takes the same time
whether there are ten or ten thousand.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from appliance.conventions.model import ClientConvention, Convention, ProviderConvention
from appliance.errors import ConventionViolation, Reason
from appliance.trust.crl_download import CrlSource, file_of
from appliance.trust.ocsp import OcspMemory
from appliance.trust.paths import PartnerTrust, TrustSettings, load_pins
from appliance.trust.revocation import CrlDirectories, CrlDirectory
from appliance.trust.watch import WatchedDirectory

_NONE: Final[tuple[ProviderConvention, ...]] = ()
_NOBODY: Final[tuple[Convention, ...]] = ()


class Candidates:
    """Provider conventions a vector may fall under, found by issuer."""

    def __init__(self, conventions: Iterable[ProviderConvention]) -> None:
        self.all: Final = tuple(conventions)
        self._ids: Final = frozenset(convention.id for convention in self.all)
        by_issuer: defaultdict[str, list[ProviderConvention]] = defaultdict(list)
        for convention in self.all:
            by_issuer[convention.issuer].append(convention)
        self._by_issuer: Final = {name: tuple(found) for name, found in by_issuer.items()}

    def __contains__(self, convention: ProviderConvention) -> bool:
        """Tell whether a convention is one of them."""
        return convention.id in self._ids

    @cached_property
    def unlike(self) -> tuple[ProviderConvention, ...]:
        """One of each kind, as far as the rules before the issuer's go: those that are alike in them refuse a vector at the same one."""
        return tuple({_kind_of(convention): convention for convention in self.all}.values())

    @cached_property
    def wants_body_signed(self) -> bool:
        """Whether one of them has the Body of a message signed."""
        return any("body" in convention.soap_signed for convention in self.all)

    def of_issuer(self, issuer: str | None) -> tuple[ProviderConvention, ...]:
        """Return those of an issuer; none where the issuer is unknown."""
        return _NONE if issuer is None else self._by_issuer.get(issuer, _NONE)


class TrustGroup:
    """Conventions that share one trust, and whom each of them has pinned.

    Attributes:
        takes_variant_b: one of them accepts signatures of variant B.
    """

    def __init__(self, trust: PartnerTrust) -> None:
        self.trust: Final = trust
        self.conventions: list[ProviderConvention] = []
        self.takes_variant_b = False
        self._pins: dict[str, frozenset[bytes]] = {}

    def add(self, convention: ProviderConvention) -> None:
        """Take a convention in.

        Raises:
            ConfigurationError: a pinned certificate cannot be loaded.
        """
        self.conventions.append(convention)
        self.takes_variant_b |= "B" in convention.accepted_variants
        if convention.certificates:
            self._pins[convention.id] = load_pins(convention.certificates)

    def crl_sources(self) -> Iterator[CrlSource]:
        """Yield the addresses that a convention of the group names."""
        trust = self.trust
        for convention in self.conventions:
            for address in convention.crl_addresses:
                yield CrlSource(
                    address,
                    file_of(convention.crl_directory, address),
                    convention.crl_refresh,
                    trust.settings.allow_sha1,
                    trust.authorities,
                )

    def accepts(self, convention: ProviderConvention, fingerprint: bytes) -> bool:
        """Tell whether a convention of the group takes this signer, pinned or not."""
        pins = self._pins.get(convention.id)
        return pins is None or fingerprint in pins


class Registry:
    """Conventions by id, by role, by issuer and by service."""

    def __init__(
        self,
        conventions: Iterable[Convention],
        directories: CrlDirectories | None = None,
        ocsp: OcspMemory | None = None,
    ) -> None:
        """Take conventions in and load what provider conventions trust.

        Args:
            conventions: each with its own id.
            directories: CRLs already known; a reload passes those of the registry before.
            ocsp: and what responders said.

        Raises:
            ConfigurationError: a trust root or a pinned certificate cannot be loaded.
        """
        directories = directories or CrlDirectories()
        self.ocsp: Final = ocsp or OcspMemory()
        self._by_id: Final = {convention.id: convention for convention in conventions}
        self._clients: Final = tuple(
            each for each in self._by_id.values() if isinstance(each, ClientConvention)
        )
        self._providers: Final = Candidates(
            each for each in self._by_id.values() if isinstance(each, ProviderConvention)
        )
        by_service: defaultdict[str, list[ProviderConvention]] = defaultdict(list)
        groups: dict[TrustSettings, TrustGroup] = {}
        self._group_of: Final[dict[str, TrustGroup]] = {}
        self._fingerprints: Final[dict[str, str]] = {}
        self._alone: Final[dict[str, Candidates]] = {}
        for convention in self._providers.all:
            by_service[convention.audience].append(convention)
            settings = _trust_settings(convention)
            if settings not in groups:
                groups[settings] = TrustGroup(PartnerTrust(settings, directories))
            groups[settings].add(convention)
            self._group_of[convention.id] = groups[settings]
        self._by_service: Final = {name: Candidates(found) for name, found in by_service.items()}
        self._groups: Final = tuple(groups.values())
        self._groups_naming: Final = _index_names(self._groups)

    def __repr__(self) -> str:
        return f"Registry({len(self._clients)} client, {len(self._providers.all)} provider)"

    def all(self) -> tuple[Convention, ...]:
        """Return every convention, in the order of their ids."""
        return tuple(self._by_id.values())

    def clients(self) -> tuple[ClientConvention, ...]:
        """Return the conventions under which we issue."""
        return self._clients

    def of_issuer(self, issuer: str | None) -> tuple[Convention, ...]:
        """Return the conventions of both roles that name an issuer."""
        return _NOBODY if issuer is None else self._by_issuer.get(issuer, _NOBODY)

    @cached_property
    def _by_issuer(self) -> Mapping[str, tuple[Convention, ...]]:
        found: defaultdict[str, list[Convention]] = defaultdict(list)
        for convention in self._by_id.values():
            found[convention.issuer].append(convention)
        return {issuer: tuple(each) for issuer, each in found.items()}

    @cached_property
    def signing_uses(self) -> tuple[tuple[str, str], ...]:
        """Every key with every algorithm it signs with, now or after a roll-over."""
        uses = {(key, each.signature_algorithm) for each in self._clients for key in each.keys}
        return tuple(sorted(uses))

    @cached_property
    def longest_skew(self) -> timedelta:
        """How long after its end a vector may still be accepted, under whichever convention tolerates most."""
        return timedelta(seconds=max((each.skew for each in self._providers.all), default=0.0))

    def fingerprint(self, convention: ClientConvention) -> str:
        """Return the digest of everything a client convention says."""
        known = self._fingerprints.get(convention.id)
        if known is None:
            stated = {field.name: getattr(convention, field.name) for field in fields(convention)}
            octets = msgspec.json.encode(
                msgspec.to_builtins(stated, enc_hook=str, order="deterministic")
            )
            known = self._fingerprints[convention.id] = sha256(octets).hexdigest()
        return known

    def providers(self) -> Candidates:
        """Return the conventions under which we verify."""
        return self._providers

    def only(self, convention_id: str) -> Candidates:
        """Return a provider convention as the only one that a vector may fall under.

        Raises:
            ConventionViolation: as `provider`.
        """
        known = self._alone.get(convention_id)
        if known is None:
            known = self._alone[convention_id] = Candidates((self.provider(convention_id),))
        return known

    def providers_of_service(self, service: str | None) -> Candidates:
        """Return the provider conventions of a service; all of them where none is known for it."""
        return self._by_service.get(service or "", self._providers)

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

    def trust_of(self, convention: ProviderConvention) -> TrustGroup:
        """Return the trust of one of `providers()`."""
        return self._group_of[convention.id]

    def trusts(self) -> tuple[TrustGroup, ...]:
        """Return every trust once."""
        return self._groups

    def watched(self) -> tuple[WatchedDirectory, ...]:
        """Return every CRL directory once, with the earliest warning that a convention asks for."""
        warnings: dict[CrlDirectory, float] = {}
        for group in self._groups:
            longest = max(convention.crl_warning for convention in group.conventions)
            crls = group.trust.crls
            warnings[crls] = max(longest, warnings.get(crls, 0.0))
        return tuple(WatchedDirectory(crls, warning) for crls, warning in warnings.items())

    @cached_property
    def crl_sources(self) -> tuple[CrlSource, ...]:
        """Where CRLs are fetched from; one that several conventions name as often as the one in the greatest hurry says."""
        sources: dict[Path, CrlSource] = {}
        for group in self._groups:
            for source in group.crl_sources():
                known = sources.get(source.file)
                if known is None or source.every < known.every:
                    sources[source.file] = source
        return tuple(sources.values())

    def trusts_naming(self, issuers: Iterable[x509.Name]) -> tuple[TrustGroup, ...]:
        """Return the trusts that know one of the CAs; no other can accept a certificate issued by them."""
        names = dict.fromkeys(issuer.public_bytes() for issuer in issuers)
        found = (group for name in names for group in self._groups_naming.get(name, ()))
        return tuple(dict.fromkeys(found))

    def find(self, convention_id: str) -> Convention | None:
        """Return a convention, if there is one of this id."""
        return self._by_id.get(convention_id)

    def _find(self, convention_id: str) -> Convention:
        convention = self.find(convention_id)
        if convention is None:
            raise ConventionViolation(
                Reason.CONVENTION_UNKNOWN, f"there is no convention `{convention_id[:64]}`"
            )
        return convention


@dataclass(slots=True)
class RegistryCell:
    """Where the operations find the registry in force; a reload puts another one in."""

    current: Registry

    def watched(self) -> tuple[WatchedDirectory, ...]:
        """Return the CRL directories of the registry in force."""
        return self.current.watched()

    def crl_sources(self) -> tuple[CrlSource, ...]:
        """Return where the registry in force has its CRLs from."""
        return self.current.crl_sources


def _kind_of(convention: ProviderConvention) -> tuple[object, ...]:
    """Return what `rules.check_identity_and_dates`, `check_service` and `check_level_and_pagms` look at."""
    return (
        convention.saml_versions,
        convention.id_style,
        convention.skew,
        convention.maximum_lifetime,
        tuple(
            sorted((version, tuple(sorted(w))) for version, w in convention.confirmations.items())
        ),
        convention.name_id_formats,
        convention.audience,
        convention.recipient,
        convention.levels,
    )


def _index_names(groups: Iterable[TrustGroup]) -> Mapping[bytes, tuple[TrustGroup, ...]]:
    index: defaultdict[bytes, list[TrustGroup]] = defaultdict(list)
    for group in groups:
        for name in group.trust.names:
            index[name].append(group)
    return {name: tuple(found) for name, found in index.items()}


def _trust_settings(convention: ProviderConvention) -> TrustSettings:
    return TrustSettings(
        roots=convention.roots,
        crl_directory=convention.crl_directory,
        allow_sha1=convention.allow_sha1,
        minimum_rsa_bits=convention.minimum_rsa_bits,
        crl_grace=convention.crl_grace,
    )


def _wrong_role(convention_id: str, role: str, so: str) -> ConventionViolation:
    return ConventionViolation(
        Reason.CONVENTION_ROLE, f"`{convention_id}` is a {role} convention: {so}"
    )
