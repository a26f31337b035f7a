"""`appliance c14n`: the canonical octets of a document, or of one element of it, to stdout."""

import argparse
from typing import Final

from appliance.cli.input import read_input
from appliance.cli.output import Exit, Output
from appliance.errors import MalformedRequest, Reason
from appliance.native import C14N_10, C14N_11, C14N_EXCLUSIVE, Limits, XmlRefused, c14n

_LARGEST: Final = 64 * 1024**2
_WITH_COMMENTS: Final = {
    C14N_EXCLUSIVE: f"{C14N_EXCLUSIVE}WithComments",
    C14N_10: f"{C14N_10}#WithComments",
    C14N_11: f"{C14N_11}#WithComments",
}
"""Each algorithm with its sibling that keeps comments."""
_KNOWN: Final = ", ".join(_WITH_COMMENTS)


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `c14n`."""
    command = commands.add_parser(
        "c14n",
        help="print the canonical form of an XML document",
        description=(
            "Print the canonical octets of an XML document, or of the element with an ID. "
            "Example: appliance c14n --id _42 vector.xml | sha256sum"
        ),
    )
    command.add_argument("file", metavar="FILE", help="the document; - reads standard input")
    command.add_argument(
        "--algorithm",
        metavar="URI",
        default=C14N_EXCLUSIVE,
        help=f"{_KNOWN}, each also as #WithComments (default: the first)",
    )
    command.add_argument(
        "--inclusive-prefixes",
        metavar='"a b"',
        default="",
        help="prefixes that exclusive canonicalization treats as inclusive; #default is the default namespace",
    )
    command.add_argument("--with-comments", action="store_true", help="keep comments")
    command.add_argument(
        "--id",
        metavar="ID",
        help="canonicalize the element with this ID, Id, AssertionID, wsu:Id or xml:id",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print canonical octets."""
    output = Output()
    algorithm: str = arguments.algorithm
    if algorithm not in {*_WITH_COMMENTS, *_WITH_COMMENTS.values()}:
        return output.fail(_wrong(f"unknown algorithm {algorithm}; choose one of {_KNOWN}"))
    prefixes: list[str] = arguments.inclusive_prefixes.split()
    if prefixes and not algorithm.startswith(C14N_EXCLUSIVE):
        return output.fail(_wrong(f"--inclusive-prefixes is for {C14N_EXCLUSIVE}; leave it out"))
    if arguments.with_comments:
        algorithm = _WITH_COMMENTS.get(algorithm, algorithm)
    try:
        canonical = c14n(
            read_input(arguments.file, _LARGEST),
            algorithm,
            inclusive_prefixes=prefixes,
            id=arguments.id,
            limits=Limits(octets=_LARGEST),
        )
    except XmlRefused as exc:
        raise MalformedRequest(Reason(exc.reason), str(exc)) from exc
    except ValueError as exc:
        raise MalformedRequest(Reason.NOT_FOUND, str(exc)) from exc
    output.write(canonical)
    return Exit.DONE


def _wrong(detail: str) -> MalformedRequest:
    return MalformedRequest(Reason.ALGORITHM_NOT_ALLOWED, detail)
