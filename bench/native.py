"""The XML core beside lxml, python-xmlsec and signxml: the same documents, the same key, one run.

Tools take turns, so that a slow moment of the machine meets all of them, each with a run before that is not counted, so that it meets
its own caches and heap; a figure is the median of all rounds, in seconds of the processor: what a neighbour takes of it counts for nobody. Work around the key operation is what a round took, less what the key operation alone took in the same round.
"""

import argparse
import hashlib
import json
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import xmlsec
from cryptography.hazmat.primitives import serialization
from lxml import etree  # noqa: TID251 - a peer that is measured
from signxml.verifier import XMLVerifier

from appliance import native
from bench.documents import DOCUMENTS, write_assertion
from bench.makers import (
    RSA_SHA256,
    SoftwareKey,
    content,
    make_by_signxml,
    make_by_us,
    make_by_xmlsec,
    profile_of,
    spki_of,
)
from bench.spread import spread

_SAMPLE: Final = 0.02  # seconds a sample takes at least
_OURS: Final = "ours"
AROUND: Final = ", around the key operation"

_Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one tool took for one piece of work.

    Attributes:
        seconds: of the processor, of one operation, the median of all rounds.
        least: of one operation, in the best round.
        spread: half of what lies between the quartiles, as a part of `seconds`.
        rate: octets of the document per second.
        ahead: how many times as fast as each other tool at the same work, by the medians; without what noise made less than nothing.
    """

    work: str
    tool: str
    octets: int
    seconds: float
    least: float
    spread: float
    rate: float
    ahead: Mapping[str, float]


def measure(rounds: int) -> Iterator[Measured]:
    """Measure everything; results come as soon as their group is complete."""
    for name in DOCUMENTS:
        yield from measure_digest(name, rounds)
    yield from measure_vectors(rounds)


def measure_digest(document: str, rounds: int) -> list[Measured]:
    """Measure octets → exclusive canonical form → SHA-256 of a document."""
    octets = DOCUMENTS[document]()
    return _compare(f"digest {document}", len(octets), _digesters(octets), {}, rounds)


def measure_vectors(rounds: int) -> Iterator[Measured]:
    """Measure issuing and verifying a vector, whole and around the key operation."""
    signer = SoftwareKey.generate()
    issuers, sign_only = _issuers(signer)
    yield from _compare("issue", len(write_assertion()), issuers, sign_only, rounds)
    vector = make_by_us(signer.certificate, signer.sign)()
    verifiers, verify_only = _verifiers(vector, signer)
    yield from _compare("verify", len(vector), verifiers, verify_only, rounds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench native`."""
    parser.add_argument("--rounds", type=int, default=15, help="samples of each (default 15)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")
    parser.add_argument("--document", choices=DOCUMENTS, help="only print this document")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.document is not None:
        sys.stdout.buffer.write(DOCUMENTS[arguments.document]())
    elif arguments.json:
        print(json.dumps([asdict(result) for result in measure(arguments.rounds)], indent=2))
    else:
        _print_table(measure(arguments.rounds))
    return 0


def _digesters(octets: bytes) -> Mapping[str, _Work]:
    """Octets → exclusive canonical form → SHA-256. signxml has no such call; its canonicalization is lxml's.

    python-xmlsec digests only while it signs, so it signs with an HMAC key: that costs a SignedInfo of 0.6 KB more.
    """
    hmac = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataHmac, b"key")

    def by_lxml() -> bytes:
        canonical = etree.tostring(etree.fromstring(octets), method="c14n", exclusive=True)
        return hashlib.sha256(canonical).digest()

    def by_xmlsec() -> None:
        root = etree.fromstring(octets)
        transforms = xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformHmacSha256
        signature = xmlsec.template.create(root, *transforms)
        root.append(signature)
        reference = xmlsec.template.add_reference(
            signature, xmlsec.constants.TransformSha256, uri=""
        )
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        context = xmlsec.SignatureContext()
        context.key = hmac
        context.sign(signature)

    return {
        _OURS: lambda: native.c14n_digest(octets),
        "lxml": by_lxml,
        "python-xmlsec": by_xmlsec,
    }


def _issuers(signer: SoftwareKey) -> tuple[Mapping[str, _Work], Mapping[str, _Work]]:
    """One vector from its content, serialised; and each tool's key operation.

    Ours gets the signature ready made, as from a token, and checks it with the public key: that check is our key operation here.
    """
    certificate = signer.certificate
    digest = native.prepare(content(), profile_of(certificate)).digest
    signature, spki = signer.sign(digest), spki_of(certificate)
    tools: Mapping[str, _Work] = {
        _OURS: make_by_us(certificate, lambda _: signature),
        "signxml": make_by_signxml(certificate, signer.key),
        "python-xmlsec": make_by_xmlsec(signer),
    }
    return tools, {
        _OURS: lambda: native.verify_digest(spki, RSA_SHA256, digest, signature),
        "signxml": lambda: signer.sign(digest),
        "python-xmlsec": lambda: signer.sign(digest),
    }


def _verifiers(
    vector: bytes, signer: SoftwareKey
) -> tuple[Mapping[str, _Work], Mapping[str, _Work]]:
    """Received octets → verified octets, and with ours everything they state; and each tool's key operation."""
    certificate, spki = signer.certificate, spki_of(signer.certificate)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    digest = hashlib.sha256(vector).digest()
    signature = signer.sign(digest)

    def by_us() -> object:
        assertion = native.locate(vector).assertion
        assert assertion is not None
        assertion.check_structure()
        return assertion.signature_claim().verify(lambda _: spki).read()

    def by_signxml() -> object:
        return XMLVerifier().verify(vector, x509_cert=certificate, id_attribute="ID")

    key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem)

    def by_xmlsec() -> None:
        root = etree.fromstring(vector)
        xmlsec.tree.add_ids(root, ["ID"])
        context = xmlsec.SignatureContext()
        context.key = key
        node = xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature)
        assert node is not None
        context.verify(node)

    tools = {_OURS: by_us, "signxml": by_signxml, "python-xmlsec": by_xmlsec}
    return tools, {
        _OURS: lambda: native.verify_digest(spki, RSA_SHA256, digest, signature),
        "signxml": lambda: signer.verify(digest, signature),
        "python-xmlsec": lambda: signer.verify(digest, signature),
    }


def _compare(
    work: str, octets: int, tools: Mapping[str, _Work], keys: Mapping[str, _Work], rounds: int
) -> list[Measured]:
    """Let tools take turns at one piece of work, each with its key operation beside it."""
    samples = _sample(
        {(name, False): tool for name, tool in tools.items()}
        | {(name, True): key for name, key in keys.items()},
        rounds,
    )
    whole = {name: samples[name, False] for name in tools}
    around = {
        name + AROUND: [
            took - key for took, key in zip(whole[name], samples[name, True], strict=True)
        ]
        for name in keys
    }
    return [*_rank(work, octets, whole), *_rank(work, octets, around)]


def _sample(
    works: Mapping[tuple[str, bool], _Work], rounds: int
) -> dict[tuple[str, bool], list[float]]:
    """Seconds of the processor for one operation of each, for every round."""
    timers = {name: timeit.Timer(work, timer=time.process_time) for name, work in works.items()}
    numbers = {name: 1 + int(_SAMPLE / timer.timeit(1)) for name, timer in timers.items()}
    samples: dict[tuple[str, bool], list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, timer in timers.items():
            timer.timeit(1)
            samples[name].append(timer.timeit(numbers[name]) / numbers[name])
    return samples


def _rank(work: str, octets: int, samples: Mapping[str, list[float]]) -> list[Measured]:
    medians = {tool: statistics.median(seconds) for tool, seconds in samples.items()}
    return [
        Measured(
            work=work,
            tool=tool,
            octets=octets,
            seconds=seconds,
            least=min(samples[tool]),
            spread=spread(samples[tool]),
            rate=octets / seconds,
            ahead={
                other: its / seconds
                for other, its in medians.items()
                if other != tool and min(its, seconds) > 0
            },
        )
        for tool, seconds in medians.items()
    ]


def _print_table(results: Iterator[Measured]) -> None:
    print(
        f"{'work':<17} {'tool':<40} {'octets':>9} {'µs':>11} {'±':>5} {'least µs':>11} {'MB/s':>7}  ours is"
    )
    for one in results:
        print(
            f"{one.work:<17} {one.tool:<40} {one.octets:>9} {one.seconds * 1e6:>11.1f} {one.spread:>5.0%}"
            f" {one.least * 1e6:>11.1f} {one.rate / 1e6:>7.1f}  {_write_ahead(one)}".rstrip(),
            flush=True,
        )


def _write_ahead(one: Measured) -> str:
    """Ours beside each peer; nothing for a peer, whose row above says it already."""
    if not one.tool.startswith(_OURS):
        return ""
    return ", ".join(
        f"{ratio:.1f} times {tool.removesuffix(AROUND)}" for tool, ratio in one.ahead.items()
    )
