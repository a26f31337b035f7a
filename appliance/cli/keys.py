"""`appliance hsm keygen|csr|import-certificate|rotate`: a key's life, from the token to the convention that uses it.

Private keys are made in the token and stay there. Promises that a certificate is taken only for a key that signs what it verifies, that
a file is replaced whole or not at all, and that a rotation which cannot be completed leaves every convention as it was.
"""

import argparse
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from appliance.cli.actions import Actions, take_home, take_json
from appliance.cli.checks.certificates import check_chain, name_of, public_key_of
from appliance.cli.checks.finding import Level
from appliance.cli.output import Exit, Output, printable
from appliance.cli.service import ask_service
from appliance.clock import SystemClock
from appliance.config import Config, KeyTable, TokenTable, load_config
from appliance.errors import ConfigurationError
from appliance.parts import build_registry
from appliance.tokens import key_settings, look_at, token_settings
from appliance.trust.certificates import load_certificates
from hsm.errors import HsmError
from hsm.provision.csr import sign_request
from hsm.provision.keygen import KEY_EXISTS, KeyPlan, KeyProfile, generate_keys
from hsm.settings import KeySettings

_ID_OCTETS: Final = 8
_RELOADED_WITHIN: Final = 60.0
_GENERATION: Final = re.compile(rb"^appliance_generation(?:\{\})? (\d+)", re.MULTILINE)


def add_arguments(actions: Actions) -> None:
    """Register the subcommands of `hsm` that change something."""
    _add_keygen(actions)
    _add_csr(actions)
    _add_import(actions)
    _add_rotate(actions)


class MadeKey(msgspec.Struct, frozen=True):
    """A key that now exists; `public_key` is PEM."""

    token: str
    label: str
    id: str
    type: str
    public_key: str


def run_keygen(arguments: argparse.Namespace) -> int:
    """Make a key in the token and print what names it.

    Raises:
        ConfigurationError: the id is taken.
    """
    config = load_config(arguments.home)
    token = _token_of(config, arguments.token)
    identity = arguments.id or secrets.token_hex(_ID_OCTETS)
    plan = KeyPlan(arguments.label, identity, arguments.type)
    try:
        [made] = generate_keys(token_settings(config, token), [plan])
    except HsmError as exc:
        if exc.finding.code != KEY_EXISTS:
            raise
        found = f"{KEY_EXISTS}: {exc.finding.cause}"
        raise ConfigurationError("--id", "", f"one that is free in {token.name}, {found}") from exc
    pem = load_der_public_key(made.public_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    shown = MadeKey(token.name, plan.label, plan.id, plan.profile, pem.decode())
    output = Output(as_json=arguments.json)
    output.show(
        shown, f"token {token.name}: key `{plan.label}` with id {plan.id}\n{shown.public_key}"
    )
    return Exit.DONE


def run_csr(arguments: argparse.Namespace) -> int:
    """Write a certificate request, PEM, signed by the key."""
    config = load_config(arguments.home)
    token, key = _key_in_token(config, arguments)
    try:
        subject = x509.Name.from_rfc4514_string(arguments.subject)
    except ValueError as exc:
        raise ConfigurationError(
            "--subject", "", f"a name such as `CN=signer,O=Organisation,C=FR`, got {exc}"
        ) from exc
    der = sign_request(token_settings(config, token), key, subject)
    Output().write(x509.load_der_x509_csr(der).public_bytes(Encoding.PEM))
    return Exit.DONE


def run_import(arguments: argparse.Namespace) -> int:
    """Take a certificate for a key that proves to be the one it certifies."""
    config = load_config(arguments.home)
    token, key = _key_in_token(config, arguments)
    chain = load_certificates(arguments.file)
    for finding in check_chain(arguments.key, arguments.file, chain, SystemClock().now()):
        if finding.level is Level.ERROR:
            raise ConfigurationError(str(arguments.file), "", f"{finding.remedy}: {finding.found}")
    table = _table_of(config, arguments.key)
    if table is None:
        _prove(config, token, key, chain)
    else:
        _prove_all(config, table, chain)
    target = table.certificates if table else config.home.root / "pki" / f"{arguments.key}.pem"
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    added = "" if table else _write_table(arguments.key, token, key)
    with _all_or_nothing(
        {
            target: pem,
            config.home.config_file: config.home.config_file.read_bytes() + added.encode(),
        }
    ):
        load_config(arguments.home)
    said = (
        f"key {arguments.key}: {name_of(chain[0])}, until {chain[0].not_valid_after_utc:%Y-%m-%d}"
    )
    Output().show(None, f"{printable(said)}\nreload the service (SIGHUP) to use it")
    return Exit.DONE


def run_rotate(arguments: argparse.Namespace) -> int:
    """Have every convention that signs with one key sign with its successor, and a running service take it."""
    config = load_config(arguments.home)
    for name in (arguments.key, arguments.to):
        if _table_of(config, name) is None:
            raise ConfigurationError(
                str(config.home.config_file), "key", f"a [[key]] named `{name}`"
            )
    using = {each.id: each.keys for each in build_registry(config).clients()}
    named = {name: keys.count(arguments.key) for name, keys in using.items()}
    changed = {
        config.home.conventions / f"{name}.toml": times for name, times in named.items() if times
    }
    if not changed:
        expected = "a key that a client convention signs with, now or later"
        raise ConfigurationError("--key", "", f"{expected}; none names `{arguments.key}`")
    successor = cast("KeyTable", _table_of(config, arguments.to))
    _prove_all(config, successor, load_certificates(successor.certificates))
    with _all_or_nothing({file: _with_key(file, arguments, changed[file]) for file in changed}):
        build_registry(load_config(arguments.home))
        is_running = _reload_service(config)
    served = "the service signs with it" if is_running else "the service is not running"
    names = ", ".join(file.stem for file in changed)
    Output().show(None, f"{names}: {arguments.key} → {arguments.to}; {served}")
    return Exit.DONE


def _prove_all(config: Config, key: KeyTable, chain: tuple[x509.Certificate, ...]) -> None:
    """Have the key sign, in each of its tokens, what the certificate must verify.

    Raises:
        ConfigurationError: it does not.
    """
    for token in config.tokens:
        if token.name in key.tokens:
            _prove(config, token, key_settings(config, key, None), chain)


def _prove(
    config: Config, token: TokenTable, key: KeySettings, chain: tuple[x509.Certificate, ...]
) -> None:
    """Have the key sign what the certificate must verify.

    Raises:
        ConfigurationError: it does not.
    """
    certified = msgspec.structs.replace(key, public_key=public_key_of(chain[0]))
    [check] = look_at(config, token, [certified]).checks
    if check.finding is not None:
        found = f"{check.finding.code}: {check.finding.cause}"
        raise ConfigurationError(
            name_of(chain[0]), "", f"the certificate of key `{key.label}` in {token.name}, {found}"
        )


def _with_key(file: Path, arguments: argparse.Namespace, times: int) -> bytes:
    """Return the convention's text with the key replaced where it is named so many times, in `[[rollover]]` too, and nothing else.

    Raises:
        ConfigurationError: it is named in another way than on lines of its own.
    """
    pattern = rf'^(\s*key\s*=\s*)(["\']){re.escape(arguments.key)}\2'
    text, count = re.subn(
        pattern, rf"\g<1>\g<2>{arguments.to}\g<2>", file.read_text(), flags=re.MULTILINE
    )
    if count != times:
        lines = f'{times} line(s) `key = "{arguments.key}"`, each of its own; there are {count}'
        raise ConfigurationError(str(file), "key", lines)
    return text.encode()


@contextmanager
def _all_or_nothing(files: Mapping[Path, bytes]) -> Iterator[None]:
    """Replace the files, each at once; put back what was there when the block fails."""
    before = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        for file, octets in files.items():
            _replace(file, octets)
        yield
    except BaseException:
        for file, old in before.items():
            if old is None:
                file.unlink(missing_ok=True)
            else:
                _replace(file, old)
        raise


def _replace(file: Path, octets: bytes) -> None:
    draft = file.with_name(f".{file.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(octets)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def _reload_service(config: Config) -> bool:
    """Have the running service read its configuration and wait until it has taken it; says whether one runs.

    Raises:
        ConfigurationError: it refused.
    """
    before = _generation(config)
    if before is None:
        return False
    os.kill(int(config.home.serve_lock.read_text()), signal.SIGHUP)
    deadline = time.monotonic() + _RELOADED_WITHIN
    while _generation(config) == before:
        if time.monotonic() > deadline:
            raise ConfigurationError(
                str(config.home.root), "", "a reload the service takes; its log says why it did not"
            )
        time.sleep(0.1)
    return True


def _generation(config: Config) -> int | None:
    answer = ask_service(config.home.api_socket, "GET", "/metrics")
    found = None if answer is None else _GENERATION.search(answer.body)
    return None if found is None else int(found[1])


def _key_in_token(config: Config, arguments: argparse.Namespace) -> tuple[TokenTable, KeySettings]:
    """Find the key by its [[key]], or by token, label and id where there is none yet."""
    table = None if arguments.key is None else _table_of(config, arguments.key)
    if table is not None:
        token = _token_of(config, table.tokens[0])
        return token, KeySettings(table.name, table.label, table.id)
    if None in {arguments.token, arguments.label, arguments.id}:
        raise ConfigurationError(
            "--key", "", "the name of a [[key]], or --token, --label and --id of a key in a token"
        )
    token = _token_of(config, arguments.token)
    return token, KeySettings(arguments.label, arguments.label, arguments.id)


def _table_of(config: Config, name: str) -> KeyTable | None:
    return next((key for key in config.keys if key.name == name), None)


def _token_of(config: Config, name: str) -> TokenTable:
    for token in config.tokens:
        if token.name == name:
            return token
    names = ", ".join(token.name for token in config.tokens) or "(there is none yet)"
    raise ConfigurationError("--token", "", f"the name of a [[token]]: {names}")


def _write_table(name: str, token: TokenTable, key: KeySettings) -> str:
    quoted = {
        field: msgspec.json.encode(value).decode()
        for field, value in {
            "name": name,
            "token": token.name,
            "label": key.label,
            "id": key.id,
            "certificates": f"pki/{name}.pem",
        }.items()
    }
    return "\n[[key]]\n" + "".join(f"{field} = {value}\n" for field, value in quoted.items())


def _add_keygen(actions: Actions) -> None:
    keygen = actions.add_parser(
        "keygen",
        help="make a key in a token",
        description=(
            "Make a key pair in the token: the private key is sensitive, never extractable, and only signs. "
            "Example: appliance hsm keygen --home demo --token demo --label signer-2027"
        ),
    )
    take_home(keygen)
    keygen.add_argument("--token", required=True, metavar="NAME", help="the name of the [[token]]")
    keygen.add_argument("--label", required=True, help="CKA_LABEL of the new key")
    keygen.add_argument("--id", type=_read_id, metavar="HEX", help="CKA_ID; random when not given")
    keygen.add_argument(
        "--type", choices=get_args(KeyProfile), default="rsa-2048", help="default: rsa-2048"
    )
    take_json(keygen)
    keygen.set_defaults(run=run_keygen)


def _add_csr(actions: Actions) -> None:
    csr = actions.add_parser(
        "csr",
        help="a certificate request signed by a key",
        description=(
            "Write a certificate request (PKCS #10, PEM) signed in the token. "
            "Example: appliance hsm csr --home demo --token demo --label signer-2027 --id 05 --subject CN=signer,C=FR"
        ),
    )
    _add_key_arguments(csr, is_named=False)
    csr.add_argument("--subject", required=True, metavar="NAME", help="such as CN=signer,C=FR")
    csr.set_defaults(run=run_csr)


def _add_import(actions: Actions) -> None:
    taking = actions.add_parser(
        "import-certificate",
        help="take the certificate of a key",
        description=(
            "Check that the key in the token signs what the certificate verifies, and put the chain where the [[key]] names it; "
            "a [[key]] that does not exist is added to appliance.toml. "
            "Example: appliance hsm import-certificate --home demo --key signer-2027 --token demo --label signer-2027 --id 05 chain.pem"
        ),
    )
    _add_key_arguments(taking, is_named=True)
    taking.add_argument("file", type=Path, metavar="FILE", help="PEM, the signer first")
    taking.set_defaults(run=run_import)


def _add_rotate(actions: Actions) -> None:
    rotate = actions.add_parser(
        "rotate",
        help="sign with the successor of a key",
        description=(
            "Have every client convention that signs with --key, now or later in its [[rollover]], sign with --to, and the running "
            "service take it without a failed request. Both stay configured, so vectors of the old key stay valid. "
            "Example: appliance hsm rotate --home demo --key demo-rsa --to signer-2027"
        ),
    )
    take_home(rotate)
    rotate.add_argument("--key", required=True, metavar="NAME", help="the [[key]] in use")
    rotate.add_argument("--to", required=True, metavar="NAME", help="its successor")
    rotate.set_defaults(run=run_rotate)


def _add_key_arguments(parser: argparse.ArgumentParser, *, is_named: bool) -> None:
    take_home(parser)
    parser.add_argument("--key", metavar="NAME", required=is_named, help="the name of the [[key]]")
    parser.add_argument(
        "--token", metavar="NAME", help="or, where there is none yet: the [[token]]"
    )
    parser.add_argument("--label", help="… CKA_LABEL")
    parser.add_argument("--id", type=_read_id, metavar="HEX", help="… and CKA_ID")


def _read_id(text: str) -> str:
    try:
        return bytes.fromhex(text).hex()
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected hexadecimal, got `{text}`") from None
