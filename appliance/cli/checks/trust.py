"""What we judge partners by: trust roots, pinned signers, and CRLs that are still current."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from appliance.cli.checks.certificates import check_validity, name_of
from appliance.cli.checks.finding import Finding, failed, passed, unreadable, warned
from appliance.conventions.model import ProviderConvention
from appliance.errors import ConfigurationError
from appliance.trust.certificates import load_certificates
from appliance.trust.revocation import read_crls


@dataclass(frozen=True, slots=True)
class _Crl:
    file: Path
    list: x509.CertificateRevocationList


def check_trust(convention: ProviderConvention, now: datetime) -> Iterator[Finding]:
    """Look at the trust roots, the CRLs and the pinned signers of a provider convention."""
    check = f"trust of convention {convention.id}"
    roots: list[x509.Certificate] = []
    findings: list[Finding] = []
    for file in (*convention.roots, *convention.certificates):
        try:
            certificates = load_certificates(file)
        except ConfigurationError as exc:
            findings.append(unreadable(check, exc))
            continue
        for certificate in certificates:
            findings.extend(check_validity(check, file, certificate, now))
        if file in convention.roots:
            roots.extend(certificates)
    findings.extend(_revocation(check, convention, roots, now))
    yield from findings
    if not findings:
        yield passed(check, convention.crl_directory, f"{len(roots)} root(s), CRLs current")


def _revocation(
    check: str, convention: ProviderConvention, roots: Sequence[x509.Certificate], now: datetime
) -> Iterator[Finding]:
    directory = convention.crl_directory
    newest: dict[x509.Name, _Crl] = {}
    try:
        files = sorted(file for file in directory.iterdir() if file.is_file())
    except OSError as exc:
        yield failed(
            check, directory, f"cannot be read ({exc.strerror})", "put the CRLs of the path there"
        )
        return
    for file in files:
        try:
            _keep_newest(newest, file)
        except ValueError:
            yield warned(check, file, "is not a CRL", "remove it, or put the CRL in its place")
    for root in roots:
        if root.subject not in newest:
            yield failed(
                check,
                directory,
                f"no CRL of {name_of(root)}, so every vector is refused",
                "fetch its current CRL into the directory",
            )
    for crl in newest.values():
        yield from _freshness(check, crl, now, timedelta(seconds=convention.crl_warning))


def _keep_newest(newest: "dict[x509.Name, _Crl]", file: Path) -> None:
    for crl in read_crls(file.read_bytes()):
        known = newest.get(crl.issuer)
        if known is None or known.list.last_update_utc < crl.last_update_utc:
            newest[crl.issuer] = _Crl(file, crl)


def _freshness(check: str, crl: _Crl, now: datetime, warning: timedelta) -> Iterator[Finding]:
    file, issuer = crl.file, crl.list.issuer.rfc4514_string()
    until = crl.list.next_update_utc
    if until is None:
        yield failed(
            check, file, f"the CRL of {issuer} names no next update", "fetch one that does"
        )
        return
    if now >= until:
        yield failed(
            check,
            file,
            f"the CRL of {issuer} is out of date since {until:%Y-%m-%d %H:%M} UTC",
            "fetch the current one; until then every vector under this CA is refused",
        )
    elif now >= until - warning:
        yield warned(
            check,
            file,
            f"the CRL of {issuer} is good until {until:%Y-%m-%d %H:%M} UTC only",
            "fetch the next one",
        )
