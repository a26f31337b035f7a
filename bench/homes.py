"""Homes made for a measurement and thrown away after it: the demo's with the conventions that are measured, or one whose token costs nothing."""

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from appliance.clock import SystemClock
from bench.organisations import make_home
from bench.shim import Shim, put_null_token
from hsm.provision.demo_pki import write_demo_pki

RSA: Final = "demo-client"
"""Convention whose vectors RSA-2048 signs."""

EC: Final = "bench-ec"
"""The same, signed by P-256."""

REUSED: Final = "bench-reused"
"""The same by RSA-2048, given out again while they are good."""

NULL_PUBLIC_KEY: Final = base64.b64decode(
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf1zWKg0qedvjbS1lGgBaLvQDEo4D"
    "ed27UlznaGKYrhXwPlgaXLKlFu+VkEGXKQAE+h2uQt/d5lmOvK9YleAoVA=="
)
"""DER SubjectPublicKeyInfo of the shim's null token, as its README publishes it."""

_EC_KEY: Final = {'key = "demo-rsa"': 'key = "demo-ec"', '# algorithm = "rsa-sha256"': 'algorithm = "ecdsa-sha256"'}  # fmt: skip


@contextmanager
def workshop(prefix: str) -> Iterator[Path]:
    """Yield a directory for homes, gone when the block ends; users of workers and lanes may pass through it."""
    with TemporaryDirectory(prefix=prefix) as made:
        directory = Path(made)
        directory.chmod(0o755)
        yield directory


def make_bench_home(home: Path, settings: Mapping[str, str] | None = None) -> Path:
    """Make a demo home with the conventions above; `settings` are lines of its configuration and what they become.

    Raises:
        SceneFailed: it cannot be made.
        RuntimeError: the configuration has no such line.
    """
    make_home(home)
    amend(home / "appliance.toml", settings or {})
    client = home / "conventions" / f"{RSA}.toml"
    for name, changes in ((EC, _EC_KEY), (REUSED, {"# allowed = false": "allowed = true"})):
        copy = client.with_name(f"{name}.toml")
        copy.write_text(client.read_text())
        amend(copy, changes)
    return home


def make_null_home(home: Path, settings: Mapping[str, str] | None = None) -> Shim:
    """Make a demo home on the shim's null token, whose P-256 signatures cost next to nothing; its one client convention is `RSA`'s.

    Raises:
        SceneFailed: it cannot be made.
        RuntimeError: the shim is not built, or the configuration has no such line.
    """
    make_home(home)
    file = home / "appliance.toml"
    amend(file, settings or {})
    amend(home / "conventions" / f"{RSA}.toml", _EC_KEY)
    shim = put_null_token(home, "demo-ec:02", "demo-audit:03")
    file.write_text(re.sub(r'\[\[key\]\]\nname = "demo-rsa"\n(.+\n)+', "", file.read_text()))
    write_demo_pki(home / "pki", {"demo-ec": NULL_PUBLIC_KEY}, SystemClock().now())
    public_key = load_der_public_key(NULL_PUBLIC_KEY)
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "pki" / "audit.pem").write_bytes(pem)
    return shim


def amend(file: Path, changes: Mapping[str, str]) -> None:
    """Replace lines of a configuration file, each where it stands first.

    Raises:
        RuntimeError: the file has no such line.
    """
    text = file.read_text()
    for line, new in changes.items():
        if line not in text:
            raise RuntimeError(f"{file} has no line `{line}`")
        text = text.replace(line, new, 1)
    file.write_text(text)
