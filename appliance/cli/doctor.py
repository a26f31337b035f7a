"""`appliance doctor`: looks at everything the service needs, before it is started or while it runs, and mends nothing.

Each finding says what was looked at, where, what was found, and what to do. The PKCS#11 module is loaded in a child process only,
and a PIN that the token has refused is not tried again.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cryptography import x509

from appliance.cli.checks.audit import check_audit
from appliance.cli.checks.certificates import check_chain
from appliance.cli.checks.clock import check_clock
from appliance.cli.checks.conventions import (
    check_agreement,
    check_parts_named,
    check_tls_peers_seen,
    read_conventions,
)
from appliance.cli.checks.files import check_home, check_pin_source, check_run, check_spool
from appliance.cli.checks.finding import Finding, Level, failed, passed, unreadable, warned
from appliance.cli.checks.gateway import check_gateway
from appliance.cli.checks.shared import check_shared
from appliance.cli.checks.tokens import check_tokens
from appliance.cli.checks.trust import check_trust
from appliance.cli.checks.users import check_users
from appliance.cli.output import Colour, Exit, Output, printable
from appliance.cli.service import ask_service
from appliance.clock import Clock, SystemClock
from appliance.config import Config, load_config
from appliance.conventions.model import ProviderConvention
from appliance.errors import ConfigurationError, ServiceUnreachable
from appliance.home import Home
from appliance.parts import home_parts
from appliance.signing.keyring import Keyring
from appliance.trace.view import LogPlace
from appliance.trust.certificates import load_certificates

_COLOURS: Final = {Level.OK: Colour.GOOD, Level.WARNING: Colour.WARN, Level.ERROR: Colour.BAD}
_READY: Final = 200


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="check everything before start",
        description=(
            "Check files, tokens, keys, certificates, conventions, trust, spool and clock; say what is wrong, "
            "where, and what to do. Exits 1 when anything is. Example: appliance doctor --home demo"
        ),
    )
    doctor.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
    doctor.add_argument("--json", action="store_true", help="one JSON document per finding")
    doctor.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print the findings as they come; fail when one of them is an error."""
    home = Home(arguments.home.resolve())
    if not home.config_file.is_file():
        raise ConfigurationError(str(home.root), "", "a home; `appliance init` makes one")
    output = Output(as_json=arguments.json)
    count = Counter[Level]()
    for finding in examine(home, SystemClock(), os.environ):
        count[finding.level] += 1
        output.show(finding, _write_text(output, finding))
    errors, warnings = count[Level.ERROR], count[Level.WARNING]
    output.say(f"{count.total()} findings: {errors} error(s), {warnings} warning(s)")
    return Exit.REFUSED if errors else Exit.DONE


def examine(home: Home, clock: Clock, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield every finding about a home, in the order in which they are best mended."""
    yield from check_home(home)
    try:
        config = load_config(home.root)
    except ConfigurationError as exc:
        yield unreadable("configuration", exc)
        yield warned(
            "configuration",
            home.config_file,
            "nothing else was looked at",
            "correct the file first",
        )
        return
    yield from _check_configuration(config)
    for token in config.tokens:
        yield from check_pin_source(token, environment)
    yield from check_users(config)
    yield from _examine_keys(config, clock)
    yield from check_audit(config)
    yield from check_spool(config)
    yield from check_run(home)
    yield from check_shared(config)
    yield _check_service(home)


def _check_configuration(config: Config) -> Iterator[Finding]:
    file = config.home.config_file
    if config.tokens and config.keys:
        tokens = " ".join(token.name for token in config.tokens)
        keys = " ".join(key.name for key in config.keys)
        yield passed("configuration", file, f"tokens: {tokens}; keys: {keys}")
    else:
        missing = "[[key]]" if config.tokens else "[[token]]"
        yield failed(
            "configuration", file, f"there is no {missing}", f"describe one {missing} there"
        )


def _examine_keys(config: Config, clock: Clock) -> Iterator[Finding]:
    """Look at conventions, tokens, certificates, trust and clock, which need each other's contents."""
    home, now = config.home, clock.now()
    chains: dict[str, tuple[x509.Certificate, ...]] = {}
    findings: list[Finding] = []
    for key in config.keys:
        try:
            chains[key.name] = load_certificates(key.certificates)
            findings.extend(check_chain(key.name, key.certificates, chains[key.name], now))
            Keyring.load([key])
        except ConfigurationError as exc:
            chains[key.name] = ()
            findings.append(unreadable(f"certificates of key {key.name}", exc))
    conventions, unread = read_conventions(home)
    yield from unread
    readable = [key for key in config.keys if chains[key.name]]
    parts = home_parts(config, Keyring.load(readable))
    yield from check_parts_named(home, conventions, parts, chains.keys() - parts.keyring.names())
    yield from check_agreement(home, conventions, now)
    yield from check_tls_peers_seen(home, conventions, config.gateway.inbound)
    yield from check_tokens(config, chains)
    yield from findings
    for convention in conventions:
        if isinstance(convention, ProviderConvention):
            yield from check_trust(convention, now, chains.values())
    yield from check_gateway(config, now)
    certificates = [certificate for chain in chains.values() for certificate in chain]
    yield from check_clock(now, certificates, LogPlace(home.logs, home.spool))


def _check_service(home: Home) -> Finding:
    try:
        answer = ask_service(home.api_socket, "GET", "/readyz")
    except ServiceUnreachable as exc:
        return warned("service", home.api_socket, exc.detail, "look at its log; restart it")
    if answer is None:
        return passed("service", home.api_socket, "not running")
    if answer.status == _READY:
        return passed("service", home.api_socket, "running and ready")
    said = answer.body.decode(errors="replace").strip()
    return warned("service", home.api_socket, f"running, not ready: {said}", "mend what it names")


def _write_text(output: Output, finding: Finding) -> str:
    label = output.paint(_COLOURS[finding.level], f"{finding.level.value:<7}")
    line = f"{label}  {finding.check}: {printable(finding.found)}  [{printable(finding.where)}]"
    return f"{line}\n         → {printable(finding.remedy)}" if finding.remedy else line
