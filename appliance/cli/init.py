"""`appliance init`: makes a home, whole or not at all.

The home is built beside its place and renamed into it, so that a failure or Ctrl-C leaves nothing behind. `--demo` adds what the
service needs to work at once: a SoftHSM token, keys made inside it, a demo PKI, and two conventions that fit each other.
"""

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from appliance.cli.output import Exit, Output
from appliance.clock import Clock, SystemClock
from appliance.config import SOCKET_PATH_LIMIT, ApiTable
from appliance.errors import ConfigurationError
from appliance.home import Home
from appliance.ownership import give
from appliance.trace.privacy import make_key
from appliance.users import LANE, find_barrier
from hsm.pin import PinFile
from hsm.provision.demo_pki import write_demo_pki
from hsm.provision.keygen import KeyPlan, generate_keys
from hsm.provision.softhsm import SoftHsmToken, create_softhsm_token

_NAME: Final = "demo"
_LABEL: Final = "interops-demo"
_KEYS: Final = (KeyPlan("demo-rsa", "01", "rsa-2048"), KeyPlan("demo-ec", "02", "p-256"))
_AUDIT_KEY: Final = KeyPlan("demo-audit", "03", "ed25519")
_ORIGIN_OCTETS: Final = 4
_CONVENTIONS: Final = ("demo-client.toml", "demo-provider.toml")
_PIN_OCTETS: Final = 16
_OWNER_ONLY: Final = 0o077


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `init`."""
    init = commands.add_parser(
        "init",
        help="make a home",
        description=(
            "Make a home: the directory that holds configuration, conventions, traces. Example: appliance init demo --demo"
        ),
    )
    init.add_argument(
        "directory", type=Path, metavar="DIR", help="the home; absent, or an empty directory"
    )
    init.add_argument(
        "--demo",
        action="store_true",
        help="a complete working home on SoftHSM, with keys, a PKI and two conventions",
    )
    init.set_defaults(run=run_init)


def run_init(arguments: argparse.Namespace) -> int:
    """Make the home and say what to do next."""
    target = Path(os.path.realpath(arguments.directory))
    _check_place(target)
    with _staging(target) as staging:
        if arguments.demo:
            _fill_demo(staging, target, SystemClock())
        else:
            _fill_empty(staging)
    next_steps = _demo_steps if arguments.demo else _empty_steps
    Output().show(None, next_steps(target, shlex.quote(str(arguments.directory))))
    return Exit.DONE


def _check_place(target: Path) -> None:
    """Refuse a place where no home can be made, before anything is.

    Raises:
        ConfigurationError: DIR is not empty, its parent is missing, or its path cannot be written in a file.
    """
    if not str(target).isprintable():
        raise ConfigurationError(repr(str(target)), "", "a path of printable characters")
    if not target.parent.is_dir():
        raise ConfigurationError(str(target.parent), "", "a directory that exists; make it first")
    if target.exists() and not target.is_dir():
        raise ConfigurationError(str(target), "", "a directory; something else is in its place")
    if target.is_dir() and any(target.iterdir()):
        raise ConfigurationError(
            str(target), "", "an empty directory or a new name; this one holds something already"
        )
    if len(os.fsencode(Home(target).lane_socket(_NAME, 9))) > SOCKET_PATH_LIMIT:
        raise ConfigurationError(
            str(target), "", f"a shorter path; socket paths end at {SOCKET_PATH_LIMIT} octets"
        )


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Yield a directory beside `target` that takes its place when the block ends well, and vanishes otherwise.

    Raises:
        ConfigurationError: the parent cannot be written, or `target` cannot be replaced (a mount point).
    """
    mask = os.umask(_OWNER_ONLY)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield staging
            staging.rename(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    except OSError as exc:
        raise ConfigurationError(
            str(target), "", f"a place where a directory can be made ({exc.strerror})"
        ) from exc
    finally:
        os.umask(mask)


def _fill_empty(staging: Path) -> None:
    _make_directories(staging)
    home = Home(staging)
    home.config_file.write_text(_read("settings.toml") + _read("empty-token.toml"))
    for name in _CONVENTIONS:
        (home.conventions / f"{name}.example").write_text(_read(name))


def _fill_demo(staging: Path, target: Path, clock: Clock) -> None:
    _make_directories(staging)
    home = Home(staging)
    token = _make_token(staging)
    pin = PinFile(str(staging / "secrets" / "pin"))
    *made, audit = generate_keys(token.settings(_NAME, pin, home.run), (*_KEYS, _AUDIT_KEY))
    public_keys = {key.plan.label: key.public_key for key in made}
    (staging / "pki" / "audit.pem").write_bytes(_write_pem(audit.public_key))
    pseudonyms = staging / "secrets" / "pseudonyms"
    pseudonyms.touch(mode=0o600)
    pseudonyms.write_text(make_key())
    front = _make_front_key(staging / "secrets" / "front.key")
    write_demo_pki(staging / "pki", public_keys, clock.now(), {"front": front})
    for name in _CONVENTIONS:
        (home.conventions / name).write_text(_read(name))
    home.config_file.write_text(_demo_configuration(token, staging, target))
    for conf in token.environment.values():
        # SoftHSM wants the absolute path of its objects: from here on, the one they will have.
        file = Path(conf)
        file.write_text(file.read_text().replace(str(staging), str(target)))
    if os.geteuid() == 0 and find_barrier(LANE, target) is None:
        _give_to_lanes(staging)


def _give_to_lanes(staging: Path) -> None:
    """Have the token and its PIN belong to a user of their own, whom lanes become because the PIN is theirs."""
    token = staging / "token"
    for path in (staging / "secrets" / "pin", token, *token.rglob("*")):
        give(path, LANE)
    for directory in (staging, staging / "secrets"):
        directory.chmod(0o711)


def _make_front_key(file: Path) -> bytes:
    """Make the key of TLS with partners, a file, and return its public half, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _make_directories(staging: Path) -> None:
    home = Home(staging)
    made = (home.conventions, home.spool, home.logs, home.run, staging / "pki", staging / "secrets")
    for directory in made:
        directory.mkdir(mode=0o700)


def _make_token(staging: Path) -> SoftHsmToken:
    pins: dict[str, str] = {}
    for name in ("pin", "so-pin"):
        pins[name] = secrets.token_hex(_PIN_OCTETS)
        file = staging / "secrets" / name
        file.touch(mode=0o600)
        file.write_text(pins[name] + "\n")
    return create_softhsm_token(staging / "token", _LABEL, pins["pin"], pins["so-pin"])


def _demo_configuration(token: SoftHsmToken, staging: Path, target: Path) -> str:
    softhsm_conf = token.environment["SOFTHSM2_CONF"].replace(str(staging), str(target))
    tokens = Template(_read("demo-token.toml")).substitute(
        module=_quote(str(token.module)),
        token_label=_quote(token.label),
        softhsm_conf=_quote(softhsm_conf),
    )
    key = Template(_read("demo-key.toml"))
    keys = [key.substitute(key=plan.label, id=plan.id) for plan in _KEYS]
    origin = f"demo.example/{secrets.token_hex(_ORIGIN_OCTETS)}"
    audit = Template(_read("demo-audit.toml")).substitute(
        origin=origin, label=_AUDIT_KEY.label, id=_AUDIT_KEY.id
    )
    return "".join((_read("settings.toml"), tokens, *keys, audit)).rstrip() + "\n"


def _read(name: str) -> str:
    return files("appliance.cli").joinpath("home", name).read_text(encoding="utf-8")


def _quote(text: str) -> str:
    """Write a TOML basic string, which for printable text is a JSON string (TOML 1.0, String)."""
    return msgspec.json.encode(text).decode()


def _write_pem(spki: bytes) -> bytes:
    return load_der_public_key(spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _demo_steps(target: Path, directory: str) -> str:
    issue = '{"convention": "demo-client", "subject": "agent-0042", "pagms": ["PAGM_CONSULTATION"]}'
    return f"""made the demo home {target}

check it        appliance doctor --home {directory}
serve           appliance serve --home {directory}
a vector        curl -s http://{ApiTable().listen}/v1/vectors -H 'Content-Type: application/json' -d '{issue}'
  or by hand    appliance issue --home {directory} --convention demo-client --subject agent-0042 --pagm PAGM_CONSULTATION > vector.xml
verify it       appliance verify --home {directory} vector.xml
its trace       appliance trace tail --home {directory}"""


def _empty_steps(target: Path, directory: str) -> str:
    return f"""made the home {target}

1  describe your token and key   {target}/appliance.toml
2  write the token's PIN         (umask 077; cat > {target}/secrets/pin)
3  see what the token holds      appliance hsm list --home {directory}
4  put the certificates          {target}/pki/
5  describe the conventions      {target}/conventions/ID.toml, after the models beside them
6  check it all                  appliance doctor --home {directory}
7  serve                         appliance serve --home {directory}"""
