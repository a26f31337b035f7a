"""Two organisations for a demonstration or a measurement: homes with a token and a PKI each, that know each other's trust anchors."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_MARK: Final = "\n# The gateway, written anew at every run.\n"

_PARTNER: Final = """
[[partner]]
name = "{name}"
roots = ["pki/b/root.pem", "pki/b/issuing.pem"]
crl_directory = "pki/b/crl"
endpoints = ["https://localhost:{port}"]
client_certificates = "pki/front.pem"
client_key = "secrets/front.key"
"""
_OUTBOUND: Final = """
[[outbound]]
name = "applications"
listen = "127.0.0.1:{port}"
callers_by_address = {{ "127.0.0.1/32" = "portal" }}
"""
_INBOUND: Final = """
[[partner]]
name = "a"
roots = ["pki/a/root.pem", "pki/a/issuing.pem"]
crl_directory = "pki/a/crl"

[[inbound]]
name = "partners"
listen = "127.0.0.1:{port}"
certificates = "pki/front.pem"
private_key = "secrets/front.key"
partners = ["a"]

[[inbound.route]]
path = "/droits"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{application}/"
"""


class SceneFailed(Exception):
    """The scene could not be set; says why."""


def make_home(home: Path) -> Path:
    """Make a demo home where there is none.

    Raises:
        SceneFailed: it cannot be made.
    """
    if not (home / "appliance.toml").is_file():
        made = subprocess.run(
            [sys.executable, "-m", "appliance", "init", str(home), "--demo"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if made.returncode:
            raise SceneFailed(made.stderr.strip())
    return home


def introduce(a: Path, b: Path) -> None:
    """Give each side the other's trust anchors and CRLs, as `pki/a` and `pki/b`; b's provider conventions trust a."""
    for side, other, name in ((a, b, "b"), (b, a, "a")):
        place = side / "pki" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for file in ("root.pem", "issuing.pem"):
            shutil.copy(other / "pki" / file, place)
        shutil.copytree(other / "pki" / "crl", place / "crl")
    provider = b / "conventions" / "demo-provider.toml"
    text = provider.read_text().replace('"pki/root.pem"', '"pki/a/root.pem"')
    provider.write_text(text.replace('"pki/crl"', '"pki/a/crl"'))


def write_gateway(home: Path, tables: str) -> None:
    """Put the gateway's tables in the place of an earlier run's."""
    file = home / "appliance.toml"
    file.write_text(file.read_text().partition(_MARK)[0] + _MARK + tables)


def outbound_tables(port: int, partners: Mapping[str, int]) -> str:
    """Write a's tables: its listener, and each partner by name with the port of b's side that it means; routes may follow."""
    tables = [_PARTNER.format(name=name, port=at) for name, at in partners.items()]
    return "".join(tables) + _OUTBOUND.format(port=port)


def inbound_tables(port: int, application: int) -> str:
    """Write b's tables: its listener, and the route to its application."""
    return _INBOUND.format(port=port, application=application)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
