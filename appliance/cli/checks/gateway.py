"""The gateway: its tables against conventions and files, the certificates it shows, and the CRLs of its partners."""

from collections.abc import Iterator
from datetime import datetime

from appliance.cli.checks.certificates import check_validity
from appliance.cli.checks.finding import Finding, failed, passed, unreadable
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.frontchecks import check_fronts, front_certificates
from appliance.parts import build_registry
from appliance.trust.certificates import load_certificates
from appliance.trust.revocation import CrlDirectory


def check_gateway(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at everything the gateway needs; says nothing where there is no gateway."""
    gateway = config.gateway
    if not (gateway.partners or gateway.outbound or gateway.inbound):
        return
    try:
        check_fronts(config, build_registry(config))
        fronts = list(front_certificates(config))
    except ConfigurationError as exc:
        yield unreadable("gateway", exc)
        return
    findings: list[Finding] = []
    for name, file, _ in fronts:
        [certificate, *_] = load_certificates(file)
        findings.extend(check_validity(f"certificate of {name}", file, certificate, now))
    for partner in gateway.partners:
        ends = dict(CrlDirectory(partner.crl_directory, allow_sha1=False).look().ends())
        if not ends or min(ends.values()) <= now:
            findings.append(
                failed(
                    f"CRLs of partner {partner.name}",
                    partner.crl_directory,
                    "no current CRL" if not ends else "a CRL is past its next update",
                    "fetch the CA's next CRL into the directory",
                )
            )
    if findings:
        yield from findings
        return
    told = f"{len(gateway.outbound)} outbound, {len(gateway.inbound)} inbound, {len(gateway.partners)} partner(s)"
    yield passed("gateway", config.home.config_file, told)
