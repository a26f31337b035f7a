"""Conventions: does each file load, and does the home have what it names."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from appliance.cli.checks.finding import Finding, passed, unreadable, warned
from appliance.conventions.builder import HomeParts, check_parts
from appliance.conventions.contradictions import find_contradictions
from appliance.conventions.loader import load_convention
from appliance.conventions.model import ClientConvention, Convention, ProviderConvention
from appliance.errors import ConfigurationError
from appliance.gateway.tables import InboundTable
from appliance.home import CONVENTION_FILES, Home


def read_conventions(home: Home) -> tuple[list[Convention], list[Finding]]:
    """Load every file on its own, so that one wrong file does not hide the next."""
    conventions: list[Convention] = []
    findings: list[Finding] = []
    for file in sorted(home.conventions.glob(CONVENTION_FILES)):
        try:
            conventions.append(load_convention(file))
        except ConfigurationError as exc:
            findings.append(unreadable("convention", exc))
    if not conventions and not findings:
        findings.append(
            warned("convention", home.conventions, "there is none", "describe one in ID.toml")
        )
    return conventions, findings


def check_parts_named(
    home: Home, conventions: Sequence[Convention], parts: HomeParts, unread: Collection[str]
) -> Iterator[Finding]:
    """Look at what each convention names of the home, as the service does; `unread` are the keys whose certificates cannot be read."""
    for convention in conventions:
        file = home.conventions / f"{convention.id}.toml"
        if isinstance(convention, ClientConvention) and not set(convention.keys).isdisjoint(unread):
            continue  # the unreadable chain is a finding of its own
        try:
            check_parts(file, convention, parts)
        except ConfigurationError as exc:
            yield unreadable("convention", exc)
            continue
        if isinstance(convention, ClientConvention):
            yield passed("convention", file, f"client, signs with {', '.join(convention.keys)}")
        else:
            yield passed("convention", file, "provider")


def check_agreement(
    home: Home, conventions: Sequence[Convention], now: datetime
) -> Iterator[Finding]:
    """Look at the conventions beside each other, and at those that are not in force."""
    for found in find_contradictions(conventions):
        yield warned(
            "convention",
            home.conventions,
            f"{found.first} and {found.second}: {found.detail}",
            "change one of the two files",
        )
    for convention in conventions:
        if not convention.period.covers(now):
            yield warned(
                "convention",
                home.conventions / f"{convention.id}.toml",
                "is not in force now: nothing is issued or accepted under it",
                "see valid_from and valid_until; remove the file when it has served its time",
            )


def check_tls_peers_seen(
    home: Home, conventions: Sequence[Convention], inbound: Collection[InboundTable]
) -> Iterator[Finding]:
    """Look for conventions that name the partner's TLS peers in a home to which no partner connects."""
    if inbound:
        return
    for convention in conventions:
        if isinstance(convention, ProviderConvention) and convention.tls_peers:
            yield warned(
                "convention",
                home.conventions / f"{convention.id}.toml",
                "trust.tls_peers is not looked at: there is no [[inbound]], and a caller of the API has no partner's TLS certificate",
                "have partners connect to an [[inbound]], or have whoever ends their TLS compare the names and remove the key",
            )
