"""`appliance convention new|export|import`: convention files made, handed to the partner, and taken from one."""

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.cli.output import Exit, Output, printable
from appliance.config import Config, load_config
from appliance.conventions.algorithms import SIGNATURE_ALGORITHMS
from appliance.conventions.builder import load_checked
from appliance.conventions.loader import load_conventions
from appliance.conventions.model import ClientConvention, Convention
from appliance.conventions.portable import (
    PortableConvention,
    export_convention,
    mirror,
    read_authorities,
    read_portable,
)
from appliance.conventions.writer import Value, check_free, fill_template, save_convention
from appliance.errors import ConfigurationError, ConventionViolation, Reason
from appliance.parts import home_parts
from appliance.signing.keyring import Keyring
from appliance.trust.certificates import load_certificates

_QUESTIONS = {
    "issuer": "the client organisation, as both sides write it (issuer)",
    "audience": "the URI of the service (audience)",
    "recipient": "the provider organisation (recipient)",
    "level": "an authentication level, or several with spaces or commas between",
    "pagm": "a profile (PAGM), or several with spaces or commas between",
    "key": "the [[key]] of appliance.toml that signs",
    "root": "the partner's trust anchors, PEM files relative to the home",
    "crl_directory": "the directory of the partner's CRLs, relative to the home",
}
_OR_SEVERAL = ", or several with spaces or commas between"
_SEVERAL = {"level", "pagm", "root"}
_ASKED = {
    "client": ("issuer", "audience", "recipient", "level", "pagm", "key"),
    "provider": ("issuer", "audience", "recipient", "level", "pagm", "root", "crl_directory"),
}
_USUAL = "rsa-sha256"
_FIRST = {"rsa-pss": "rsa-pss-sha256", "ec": "ecdsa-sha256"}
"""The algorithm of a key that cannot sign with the default one."""
_KEYS = {
    "level": "levels",
    "pagm": "pagms",
    "root": "trust.roots",
    "crl_directory": "trust.crl_directory",
}


def add_arguments(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the subcommands that write."""
    new = actions.add_parser(
        "new",
        help="make a convention from what was agreed; asks on a terminal for what is missing",
        description=(
            "Make a convention file and check it. Example: appliance convention new --home demo --role client partner "
            "--issuer urn:us --audience http://service --recipient urn:them --level urn:level --pagm PAGM_A"
        ),
    )
    new.add_argument("id", metavar="ID", help="its id: the name of its file")
    new.add_argument("--role", required=True, choices=sorted(_ASKED), help="what we are in it")
    for name, question in _QUESTIONS.items():
        several = name in _SEVERAL
        new.add_argument(
            f"--{name.replace('_', '-')}",
            action="append" if several else "store",
            metavar=name.upper(),
            help=question.replace(_OR_SEVERAL, "; repeatable"),
        )
    new.set_defaults(run=run_new)
    export = actions.add_parser(
        "export",
        help="write what the partner's appliance needs of a convention",
        description="Export a convention. Example: appliance convention export --home demo demo-client > for-them.toml",
    )
    export.add_argument("id", metavar="ID", help="the convention")
    export.set_defaults(run=run_export)
    taking = actions.add_parser(
        "import",
        help="make our side of a convention that the partner exported",
        description="Import a convention. Example: appliance convention import --home demo for-us.toml --id partner",
    )
    taking.add_argument("file", type=Path, metavar="FILE", help="what the partner exported")
    taking.add_argument("--id", required=True, metavar="ID", help="its id here")
    taking.add_argument("--key", metavar="KEY", help="our signing key, where we are the client")
    taking.add_argument(
        "--root",
        type=Path,
        metavar="FILE",
        help="the partner's trust anchors, where we are the provider and the export brings none",
    )
    taking.set_defaults(run=run_import)
    for action in (new, export, taking):
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")


def run_new(arguments: argparse.Namespace) -> int:
    """Ask for what is missing, write the file, and say what to do next."""
    config = load_config(arguments.home)
    check_free(config.home.conventions, arguments.id)
    _check_unused(arguments, arguments.role, _QUESTIONS.keys() - set(_ASKED[arguments.role]))
    if arguments.role == "client" and arguments.key is None and len(config.keys) == 1:
        arguments.key = config.keys[0].name
    values = {name: getattr(arguments, name) for name in _ASKED[arguments.role]}
    missing = [name for name, value in values.items() if not value]
    if missing and not sys.stdin.isatty():
        options = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        keys = f" (one of {', '.join(key.name for key in config.keys)})" if "key" in missing else ""
        raise ConfigurationError("appliance convention new", "", f"{options} too{keys}")
    values |= {name: _ask(config, name) for name in missing}
    stated: dict[str, Value] = {_KEYS.get(name, name): value for name, value in values.items()}
    _check_key(config, arguments.role, values)
    beside: dict[Path, bytes | None] = {}
    if arguments.role == "provider":
        crls = (config.home.root / str(values["crl_directory"])).resolve()
        # What lies outside the home is somebody else's to make.
        beside = {crls: None} if crls.is_relative_to(config.home.root.resolve()) else {}
    made = _save(config, arguments.id, arguments.role, stated, beside)
    _say_next(config, made, arguments.home)
    return Exit.DONE


def run_export(arguments: argparse.Namespace) -> int:
    """Print the document."""
    config = load_config(arguments.home)
    for convention in load_conventions(config.home.conventions):
        if convention.id == arguments.id:
            text = export_convention(convention, _certificates(config, convention))
            Output().write(text.encode())
            return Exit.DONE
    raise ConventionViolation(Reason.CONVENTION_UNKNOWN, f"no convention `{arguments.id}`")


def run_import(arguments: argparse.Namespace) -> int:
    """Write our side, with the partner's trust anchors beside it."""
    config = load_config(arguments.home)
    read = read_portable(arguments.file)
    role = "provider" if read.role == "client" else "client"
    _check_unused(arguments, role, {"root"} if role == "client" else {"key"})
    key = arguments.key or (config.keys[0].name if len(config.keys) == 1 else "")
    if role == "client":
        _check_key(config, role, {"key": key})
        _check_bits(config, key, read.minimum_rsa_bits)
    trust = f"pki/{arguments.id}"
    beside: dict[Path, bytes | None] = {}
    if role == "provider":
        directory = config.home.root / trust
        beside = {
            directory / "root.pem": _find_roots(arguments, read),
            directory / "crl": None,
        }
    values = dict(mirror(read, arguments.file, key, trust))
    made = _save(config, arguments.id, role, values, beside, read.algorithms)
    _say_next(config, made, arguments.home)
    return Exit.DONE


def _find_roots(arguments: argparse.Namespace, read: PortableConvention) -> bytes:
    """Return the trust anchors, with the CAs that the export knows between them and the signers: a vector may come without."""
    roots, between = read_authorities(arguments.file, read)
    chosen = roots if arguments.root is None else load_certificates(arguments.root)
    if not chosen:
        raise ConfigurationError(
            "--root", "", "the file of the partner's trust anchors: the export brings none"
        )
    kept = dict.fromkeys((*chosen, *between))
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in kept)


def _ask(config: Config, name: str) -> str | list[str]:
    """Ask until there is an answer that names something.

    Raises:
        ConfigurationError: there will be none.
    """
    keys = [key.name for key in config.keys]
    choices = f" ({', '.join(keys)})" if name == "key" else ""
    while True:
        try:
            answer = input(f"{_QUESTIONS[name]}{choices}: ").strip()
        except EOFError as exc:
            option = f"--{name.replace('_', '-')}"
            said = f"{option}, or an answer; nothing was made"
            raise ConfigurationError("appliance convention new", "", said) from exc
        several = [each for each in re.split(r"[\s,]+", answer) if each]
        absent = [each for each in several if not (config.home.root / each).is_file()]
        if name == "root" and absent:
            Output().say(f"there is no file {config.home.root / absent[0]}")
        elif several and (name != "key" or answer in keys):
            return several if name in _SEVERAL else answer


def _check_key(config: Config, role: str, values: dict[str, str | list[str]]) -> None:
    known = [key.name for key in config.keys]
    if role == "client" and values["key"] not in known:
        raise ConfigurationError(
            "--key",
            "",
            f"the name of a [[key]] of appliance.toml: {', '.join(known) or '(none yet)'}",
        )


def _check_unused(arguments: argparse.Namespace, role: str, names: Iterable[str]) -> None:
    """Refuse options that speak of the other role: whoever gives one means something by it."""
    for name in sorted(names):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ConfigurationError(option, "", f"no such option for our side as {role}")


def _check_bits(config: Config, name: str, least: int | None) -> None:
    """Check that our key is as long as the partner wants RSA keys."""
    [table] = [key for key in config.keys if key.name == name]
    key = load_certificates(table.certificates)[0].public_key()
    if least is not None and isinstance(key, rsa.RSAPublicKey) and key.key_size < least:
        said = f"an RSA key of {least} bits or more, as the partner accepts it"
        raise ConfigurationError("--key", "", f"{said}; `{name}` has {key.key_size}")


def _save(
    config: Config,
    convention_id: str,
    role: str,
    values: dict[str, Value],
    beside: dict[Path, bytes | None],
    accepted: Sequence[str] = (),
) -> Convention:
    """Make the file; `accepted` are the algorithms of a client convention that the partner takes, all where it names none."""
    model = files("appliance.cli").joinpath("home", f"demo-{role}.toml").read_text("utf-8")
    parts = home_parts(config, Keyring.load(config.keys))
    if role == "client":
        values |= _choose_algorithm(parts.keyring, str(values["key"]), accepted)
    return save_convention(
        config.home.conventions,
        convention_id,
        fill_template(model, values),
        lambda file: load_checked(file, parts),
        beside,
    )


def _choose_algorithm(keyring: Keyring, key: str, accepted: Sequence[str]) -> dict[str, Value]:
    """Choose an algorithm that the key can do and the partner takes; nothing where the default is one.

    Raises:
        ConfigurationError: there is none.
    """
    usual = _FIRST.get(keyring.certified()[key].way, _USUAL)
    for name in (usual, *SIGNATURE_ALGORITHMS):
        if accepted and name not in accepted:
            continue
        with contextlib.suppress(ConfigurationError):
            keyring.profile(key, SIGNATURE_ALGORITHMS[name])
            return {} if name == _USUAL else {"signature.algorithm": name}
    raise ConfigurationError(
        "--key",
        "",
        f"a key that signs as the partner accepts it, {', '.join(accepted)}; got `{key}`",
    )


def _certificates(config: Config, convention: Convention) -> str:
    """Return the chains of every key of a client convention, PEM."""
    if not isinstance(convention, ClientConvention):
        return ""
    used: Sequence[Path] = [key.certificates for key in config.keys if key.name in convention.keys]
    chains = (certificate for file in used for certificate in load_certificates(file))
    return "".join(dict.fromkeys(each.public_bytes(Encoding.PEM).decode() for each in chains))


def _say_next(config: Config, made: Convention, home: Path) -> None:
    file = config.home.conventions / f"{made.id}.toml"
    steps = [f"made {file}", f"look it over    {os.environ.get('EDITOR', 'vi')} {file}"]
    if isinstance(made, ClientConvention):
        pagm = min(made.pagms)
        steps += [
            f"check           appliance convention check --home {home}",
            f"a vector        appliance issue --home {home} --convention {made.id} --pagm {pagm}",
        ]
    else:
        anchors = [each for file in made.roots for each in load_certificates(file)]
        steps += [f"trust anchors   {', '.join(map(str, made.roots))}: compare them by another way"]
        steps += [
            f"  {printable(each.subject.rfc4514_string())}, SHA-256 {each.fingerprint(SHA256()).hex()}"
            for each in anchors
            if each.subject == each.issuer
        ]
        if not (made.signer_names or made.certificates):
            steps.append("signers         any under those anchors: see trust.signer_names")
        steps += [
            f"CRLs            {made.crl_directory}: a current one for each CA",
            f"check           appliance doctor --home {home}",
        ]
    steps.append(
        "take it in      a running `appliance serve` does, within seconds; at once on SIGHUP"
    )
    Output().show(None, "\n".join(steps))
