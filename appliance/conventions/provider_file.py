"""A provider convention from its tables: every key checked, contradictions refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from appliance.conventions.algorithms import ACCEPTED_ALGORITHMS, RSA_SHA1
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
    Confirmation,
    ProviderConvention,
    SamlVersion,
    SoapPart,
    UnknownPagms,
    Variant,
)
from appliance.conventions.tables import ProviderTable
from appliance.vectors.conditions import LONGEST_SKEW
from appliance.vectors.identifiers import AcceptedStyle

_ACCEPTED_STYLES: Final[Mapping[str, AcceptedStyle]] = {
    "uuid": "uuid",
    "xs-id": "xs-id",
    "any": "any",
}
_SHA1: Final = {"refuse": False, "legacy": True}
_CONFIRMATIONS: Final = {
    "2.0": frozenset({"bearer"}),
    "1.1": frozenset({"bearer", "sender-vouches"}),
}
_LEAST_BITS: Final = {False: 2048, True: 1024}
_MOST_BITS: Final = 8192
_LONGEST_DAYS: Final = 31
_REFRESH: Final = 3600.0
"""The default of `trust.crl_refresh`, as the tables have it."""
_LONGEST_LIFETIME_DAYS: Final = 366


def load_provider(file: Path) -> ProviderConvention:
    """Load a provider convention; opens no file that it names.

    Raises:
        ConfigurationError: of the first key that cannot be used.
    """
    checks, read = read_shared(file, ProviderTable)
    _check_formats(checks, read)
    _check_durations(checks, read)
    home = file.absolute().parent.parent
    trust = read.trust
    allow_sha1 = checks.choose("signature.sha1", read.signature.sha1, _SHA1)
    return ProviderConvention(
        id=file.stem,
        issuer=read.issuer,
        audience=read.audience,
        recipient=read.recipient,
        levels=frozenset(read.levels),
        pagms=frozenset(read.pagms),
        id_style=_read_id_style(checks, read),
        skew=checks.days("skew", read.skew, LONGEST_SKEW.days),
        maximum_lifetime=_read_maximum_lifetime(checks, read),
        roots=tuple(home / path for path in trust.roots),
        crl_directory=home / trust.crl_directory,
        certificates=tuple(home / path for path in trust.certificates),
        allow_sha1=allow_sha1,
        environment=read_environment(checks, read),
        period=read_period(checks, read),
        saml_versions=_words(checks, "saml_versions", read.saml_versions, SamlVersion),
        confirmations=_read_confirmations(checks, read),
        variants=_words(checks, "signature.variants", read.signature.variants, Variant),
        name_id_formats=frozenset(read.name_id_formats),
        no_user=read.no_user,
        attributes=frozenset(read.attributes),
        signature_algorithms=_read_algorithms(checks, read, allow_sha1=allow_sha1),
        minimum_rsa_bits=_read_bits(checks, read, allow_sha1=allow_sha1),
        unknown_pagms=cast(
            "UnknownPagms", checks.word("unknown_pagms", read.unknown_pagms, UnknownPagms)
        ),
        replay=read_replay(checks, read),
        signer_names=checks.names("trust.signer_names", trust.signer_names),
        anchor_names=checks.names("trust.anchor_names", trust.anchor_names),
        tls_peers=checks.names("trust.tls_peers", trust.tls_peers),
        crl_grace=checks.days("trust.crl_grace", trust.crl_grace, _LONGEST_DAYS),
        crl_warning=checks.days("trust.crl_warning", trust.crl_warning, _LONGEST_DAYS),
        crl_addresses=_read_addresses(checks, trust.crl_addresses),
        crl_refresh=checks.days("trust.crl_refresh", trust.crl_refresh, _LONGEST_DAYS),
        ocsp=None if trust.ocsp is None else checks.address("trust.ocsp", trust.ocsp),
        trace=read_trace(checks, read.trace),
        soap_signed=_words(checks, "soap.signed", read.soap.signed, SoapPart),
    )


def _read_id_style(checks: FileChecks, read: ProviderTable) -> AcceptedStyle:
    style = checks.choose("id_style", read.id_style, _ACCEPTED_STYLES)
    if style == "uuid" and "2.0" not in read.saml_versions:
        # As for a client convention: SAML 1.1 core 2.3.2, AssertionID is an xs:ID.
        raise checks.refuse(
            "id_style", "`xs-id` or `any`: the AssertionID of SAML 1.1 begins with `_`"
        )
    return style


def _check_formats(checks: FileChecks, read: ProviderTable) -> None:
    checks.list_("name_id_formats", read.name_id_formats)
    for at, value in enumerate(read.name_id_formats):
        check_name_id_format(checks, f"name_id_formats[{at}]", value, read.saml_versions)


def _check_durations(checks: FileChecks, read: ProviderTable) -> None:
    checks.some("saml_versions", read.saml_versions)
    checks.positive("trust.crl_refresh", read.trust.crl_refresh)
    if read.trust.crl_refresh != _REFRESH and not read.trust.crl_addresses:
        raise checks.refuse("trust.crl_refresh", "`trust.crl_addresses` too: nothing is fetched")
    checks.some("trust.roots", read.trust.roots)
    checks.positive("maximum_lifetime", read.maximum_lifetime)
    if read.maximum_lifetime is not None and read.skew >= read.maximum_lifetime:
        raise checks.refuse(
            "skew", f"less than `maximum_lifetime` ({read.maximum_lifetime:g} s): see the clocks"
        )


def _read_maximum_lifetime(checks: FileChecks, read: ProviderTable) -> float | None:
    if read.maximum_lifetime is None:
        return None
    return checks.days("maximum_lifetime", read.maximum_lifetime, _LONGEST_LIFETIME_DAYS)


def _words(checks: FileChecks, key: str, values: tuple[str, ...], kind: object) -> frozenset[str]:
    return frozenset(checks.word(f"{key}[{at}]", value, kind) for at, value in enumerate(values))


def _read_confirmations(checks: FileChecks, read: ProviderTable) -> Mapping[str, frozenset[str]]:
    if not read.confirmations:
        return _CONFIRMATIONS
    words = _words(checks, "confirmations", read.confirmations, Confirmation)
    if "sender-vouches" in words and "1.1" not in read.saml_versions:
        raise checks.refuse("confirmations", "`bearer` alone: only SAML 1.1 has `sender-vouches`")
    if "bearer" not in words and "2.0" in read.saml_versions:
        raise checks.refuse("confirmations", "`bearer` too: SAML 2.0 has nothing else here")
    return {version: known & words for version, known in _CONFIRMATIONS.items()}


def _read_algorithms(
    checks: FileChecks, read: ProviderTable, *, allow_sha1: bool
) -> frozenset[str]:
    key = "signature.algorithms"
    checks.list_(key, read.signature.algorithms)
    chosen = [
        checks.choose(f"{key}[{at}]", value, ACCEPTED_ALGORITHMS)
        for at, value in enumerate(read.signature.algorithms)
    ]
    if RSA_SHA1 in chosen and not allow_sha1:
        raise checks.refuse(key, '`rsa-sha1` only beside `signature.sha1 = "legacy"`')
    return frozenset(chosen)


def _read_bits(checks: FileChecks, read: ProviderTable, *, allow_sha1: bool) -> int | None:
    least = _LEAST_BITS[allow_sha1]
    bits = read.signature.minimum_rsa_bits
    if bits is not None and not least <= bits <= _MOST_BITS:
        raise checks.refuse(
            "signature.minimum_rsa_bits", f"{least} to {_MOST_BITS} bits; got {bits}"
        )
    return bits


def _read_addresses(checks: FileChecks, addresses: tuple[str, ...]) -> tuple[str, ...]:
    key = "trust.crl_addresses"
    for at, address in enumerate(addresses):
        checks.address(f"{key}[{at}]", address)
    checks.list_(key, addresses)
    return addresses
