"""`appliance dsig verify`: any one-reference XML signature under a pinned key; the verified octets to stdout, nothing else.

The only place that calls the generic profile (`native/xmldsig`); what the appliance accepts as a vector is decided elsewhere.
"""

import argparse
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from appliance.cli.input import read_input
from appliance.cli.output import Exit, Output
from appliance.errors import ConfigurationError, MalformedRequest, Reason, VectorRefused
from appliance.native import Limits, SignatureRefused, XmlRefused, verify_signature

_LARGEST: Final = 64 * 1024**2
_LARGEST_PEM: Final = 64 * 1024


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `dsig`."""
    group = commands.add_parser(
        "dsig",
        help="XML signatures of any document",
        description=(
            "XML signatures of any document. Example: appliance dsig verify --key signer.pem document.xml"
        ),
    )
    actions = group.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser(
        "verify",
        help="verify an XML signature with one Reference under a key you name",
        description=(
            "Verify the signature of a document under the key you name, and print the canonical octets it covers: one element "
            "by ID, or the document by an empty URI. KeyInfo is not looked at. Of signatures inside each other the outermost "
            "is meant. Example: appliance dsig verify --cert signer.pem response.xml"
        ),
        epilog="Exit codes: 0 verified; 1 refused; 2 unusable input or key.",
    )
    verify.add_argument("file", metavar="FILE", help="the document; - reads standard input")
    key = verify.add_mutually_exclusive_group(required=True)
    key.add_argument("--key", metavar="PEM", help="file with the signer's public key")
    key.add_argument(
        "--cert", metavar="PEM", help="file with the signer's certificate; only its key is used"
    )
    verify.add_argument(
        "--allow-sha1",
        action="store_true",
        help="accept SHA-1 and SHA-224, which are broken or old",
    )
    verify.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the verified octets."""
    public_key = _read_key(arguments)
    octets = read_input(arguments.file, _LARGEST)
    try:
        verified = verify_signature(
            octets,
            public_key,
            allow_sha1=arguments.allow_sha1,
            limits=Limits(octets=_LARGEST),
        )
    except XmlRefused as exc:
        raise MalformedRequest(Reason(exc.reason), str(exc)) from exc
    except SignatureRefused as exc:
        raise VectorRefused(Reason(exc.reason), str(exc)) from exc
    Output().write(verified)
    return Exit.DONE


def _read_key(arguments: argparse.Namespace) -> bytes:
    """Read the pinned key as DER SubjectPublicKeyInfo."""
    name: str = arguments.key or arguments.cert
    pem = read_input(name, _LARGEST_PEM)
    try:
        if arguments.key is not None:
            key = load_pem_public_key(pem)
        else:
            key = x509.load_pem_x509_certificate(pem).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError as exc:
        expected = "a public key" if arguments.key is not None else "a certificate"
        raise ConfigurationError(str(Path(name)), "", f"{expected} in PEM") from exc
