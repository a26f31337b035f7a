"""What we judge partners by: trust roots, pinned signers, and CRLs that are still current.

A partner's intermediate CAs arrive with its vectors, so that only those we have at hand can be looked at: in the files of the convention,
and in our own chains, which are the partner's too where both belong to one PKI.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.cli.checks.certificates import check_validity, name_of
from appliance.cli.checks.finding import Finding, failed, passed, unreadable, warned
from appliance.conventions.model import ProviderConvention
from appliance.errors import ConfigurationError
from appliance.trust.certificates import UNREADABLE, load_certificates
from appliance.trust.crl_download import FETCHED
from appliance.trust.revocation import read_crls


@dataclass(frozen=True, slots=True)
class _Crl:
    file: Path
    list: x509.CertificateRevocationList


_Newest = dict[x509.Name, _Crl]
Chain = Sequence[x509.Certificate]


def check_trust(
    convention: ProviderConvention, now: datetime, own: Iterable[Chain] = ()
) -> Iterator[Finding]:
    """Look at the trust roots, the CRLs and the pinned signers of a provider convention; `own` are the chains of our keys."""
    check = f"trust of convention {convention.id}"
    roots: list[x509.Certificate] = []
    authorities: list[x509.Certificate] = []
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
            authorities.extend(certificates)
        else:
            authorities.extend(filter(_is_authority, certificates))
    newest, unread = _read_newest(check, convention.crl_directory)
    findings.extend(unread)
    if newest is not None:
        findings.extend(_missing(check, convention, newest, authorities))
        findings.extend(
            _missing_of_own(check, convention.crl_directory, newest, _under(roots, own))
        )
        warning = timedelta(seconds=convention.crl_warning)
        for crl in newest.values():
            findings.extend(_freshness(check, crl, now, warning))
        findings.extend(_unproven(check, newest, roots))
    yield from findings
    if newest is not None and not findings:
        found = "; ".join(sorted(name.rfc4514_string() for name in newest))
        yield passed(
            check, convention.crl_directory, f"{len(roots)} root(s), current CRLs of {found}"
        )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _under(roots: Sequence[x509.Certificate], own: Iterable[Chain]) -> Iterator[x509.Certificate]:
    """Return the CAs of those of our chains that end under one of the roots."""
    for chain in own:
        if chain and any(chain[-1] == root or _has_issued(root, chain[-1]) for root in roots):
            yield from (each for each in chain if _is_authority(each) and each not in roots)


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read_newest(check: str, directory: Path) -> tuple[_Newest | None, list[Finding]]:
    """Return the newest CRL of each CA, None where the directory cannot be read, and what is wrong with its files."""
    newest: _Newest = {}
    unread: list[Finding] = []
    try:
        files = sorted(f for f in directory.iterdir() if f.is_file() and f.name[0] != ".")
    except OSError as exc:
        cause = f"cannot be read ({exc.strerror})"
        return None, [failed(check, directory, cause, "put the CRLs of the path there")]
    for file in files:
        try:
            _keep_newest(newest, file)
        except ValueError:
            step = "remove it, or put the CRL in its place"
            unread.append(warned(check, file, "is not a CRL", step))
    return newest, unread


def _missing(
    check: str,
    convention: ProviderConvention,
    newest: _Newest,
    authorities: Iterable[x509.Certificate],
) -> Iterator[Finding]:
    for authority in authorities:
        if authority.subject in newest:
            continue
        found = f"no CRL of {name_of(authority)}, so every vector under it is refused"
        if convention.crl_addresses:  # where the service has not run yet there is none
            step = "start the service, which fetches it; if it stays away, see `crl-not-fetched` in the log"
            yield warned(check, convention.crl_directory, found, step)
        else:
            step = "fetch its current CRL into the directory, or name trust.crl_addresses"
            yield failed(check, convention.crl_directory, found, step)


def _missing_of_own(
    check: str, directory: Path, newest: _Newest, authorities: Iterable[x509.Certificate]
) -> Iterator[Finding]:
    for subject in {authority.subject: None for authority in authorities}:
        if subject not in newest:
            yield warned(
                check,
                directory,
                f"no CRL of {subject.rfc4514_string()}, a CA of our own chain under the same root",
                "fetch its current CRL into the directory, unless the partner has its certificates from another CA",
            )


def _unproven(
    check: str, newest: _Newest, authorities: Iterable[x509.Certificate]
) -> Iterator[Finding]:
    """Look for lists that were fetched of CAs whose certificates are not at hand."""
    known = {authority.subject for authority in authorities}
    for name, crl in newest.items():
        if crl.file.name.startswith(FETCHED) and name not in known:
            yield warned(
                check,
                crl.file,
                f"the CRL of {name.rfc4514_string()} was fetched, and nothing at hand tells whether that CA signed it",
                "put the CA's certificate into a file of trust.roots: else a list forged on the way takes its place, and refuses every vector",
            )


def _keep_newest(newest: _Newest, file: Path) -> None:
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
