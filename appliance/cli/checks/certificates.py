"""The certificates that speak for our keys: order, validity, fitness."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.cli.checks.finding import Finding, failed, passed, warned
from appliance.errors import VectorRefused
from appliance.trust.certificates import check_signer

_RENEW_BEFORE: Final = timedelta(days=30)


def public_key_of(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_chain(
    key: str, file: Path, chain: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    """Look at the order, the validity and the fitness of a signer's chain."""
    check = f"certificates of key {key}"
    findings = [*_order(check, file, chain), *_fitness(check, file, chain)]
    for certificate in chain:
        findings.extend(check_validity(check, file, certificate, now))
    if findings:
        yield from findings
    else:
        last = min(certificate.not_valid_after_utc for certificate in chain)
        yield passed(
            check,
            file,
            f"{len(chain)} in order, signer {name_of(chain[0])}, good until {last:%Y-%m-%d}",
        )


def check_validity(
    check: str, file: Path, certificate: x509.Certificate, now: datetime
) -> Iterator[Finding]:
    """Look at the period of one certificate; yields nothing when all is well."""
    name, until = name_of(certificate), certificate.not_valid_after_utc
    if now < certificate.not_valid_before_utc:
        yield failed(
            check,
            file,
            f"{name} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, not yet",
            "check the clock, else wait or have it issued anew",
        )
    elif now >= until:
        yield failed(
            check, file, f"{name} expired on {until:%Y-%m-%d %H:%M} UTC", "have it issued anew"
        )
    elif now >= until - _RENEW_BEFORE:
        yield warned(
            check,
            file,
            f"{name} expires in {(until - now).days} days, on {until:%Y-%m-%d}",
            "have it issued anew in time",
        )


def name_of(certificate: x509.Certificate) -> str:
    """Return the subject, RFC 4514."""
    return certificate.subject.rfc4514_string()


def _order(check: str, file: Path, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            yield failed(
                check,
                file,
                f"{name_of(issuer)} stands after {name_of(certificate)} and did not issue it",
                "order the file: the signer first, then each CA that issued the one before",
            )


def _fitness(check: str, file: Path, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    """Judge our own signer as the partner will."""
    try:
        check_signer(chain[0], rsa_bits=2048)
    except VectorRefused as exc:
        yield failed(
            check,
            file,
            f"partners will refuse the vectors: {exc.detail}",
            "have a certificate issued that is meant for signatures",
        )
