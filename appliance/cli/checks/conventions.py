"""Conventions: does each file load, and does the key it names exist and fit the algorithm."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from appliance.cli.checks.finding import Finding, failed, passed, unreadable, warned
from appliance.conventions.contradictions import find_contradictions
from appliance.conventions.loader import load_convention
from appliance.conventions.model import ClientConvention, Convention
from appliance.errors import ConfigurationError
from appliance.home import Home

_FAMILIES: Final = {
    "#rsa-": rsa.RSAPublicKey,
    "-rsa-MGF1": rsa.RSAPublicKey,
    "#ecdsa-": ec.EllipticCurvePublicKey,
}
"""What a SignatureMethod URI holds, and the key it takes (RFC 6931 2.3)."""


def read_conventions(home: Home) -> tuple[list[Convention], list[Finding]]:
    """Load every file on its own, so that one wrong file does not hide the next."""
    conventions: list[Convention] = []
    findings: list[Finding] = []
    for file in sorted(home.conventions.glob("*.toml")):
        try:
            conventions.append(load_convention(file))
        except ConfigurationError as exc:
            findings.append(unreadable("convention", exc))
    if not conventions and not findings:
        findings.append(
            warned("convention", home.conventions, "there is none", "describe one in ID.toml")
        )
    return conventions, findings


def check_signing(
    home: Home,
    conventions: Sequence[Convention],
    keys: Mapping[str, Sequence[x509.Certificate]],
) -> Iterator[Finding]:
    """Look at the key of each convention; `keys` holds the chain of every configured key, empty where unreadable."""
    for convention in conventions:
        file = home.conventions / f"{convention.id}.toml"
        if not isinstance(convention, ClientConvention):
            yield passed("convention", file, "provider")
            continue
        wrong = [
            each for key in convention.keys for each in _check_key(file, convention, key, keys)
        ]
        yield from wrong
        if not wrong:
            yield passed("convention", file, f"client, signs with {', '.join(convention.keys)}")


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


def _check_key(
    file: Path,
    convention: ClientConvention,
    key: str,
    keys: Mapping[str, Sequence[x509.Certificate]],
) -> Iterator[Finding]:
    if key not in keys:
        yield failed(
            "convention",
            file,
            f"key `{key}` is no [[key]] of appliance.toml",
            f"name one of: {', '.join(keys) or '(there is none yet)'}",
        )
    elif not _fits(convention.signature_algorithm, keys[key]):
        yield failed(
            "convention",
            file,
            f"{convention.signature_algorithm.rpartition('#')[2]} cannot be made with key `{key}`",
            "set signature.algorithm to rsa-… or rsa-pss-… for an RSA key and to ecdsa-… for an EC key",
        )


def _fits(algorithm: str, chain: Sequence[x509.Certificate]) -> bool:
    if not chain:
        return True  # the unreadable chain is a finding of its own
    public_key = chain[0].public_key()
    return any(
        part in algorithm and isinstance(public_key, kind) for part, kind in _FAMILIES.items()
    )
