"""The XML core beside lxml, python-xmlsec and signxml: the same documents, the same key, one run.

Tools take turns, so that a slow moment of the machine meets all of them, each with a run before that is not counted, so that it meets
its own caches and heap; a figure is the median of all rounds. Work around the key operation is what a round took, less what the key operation alone took in the same round.
"""

import argparse
import hashlib
import json
import statistics
import sys
import timeit
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import NameOID
from lxml import etree  # noqa: TID251 - a peer that is measured
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner
from signxml.verifier import XMLVerifier

from appliance import native
from bench.documents import ASSERTION_ID, DOCUMENTS, write_assertion

_SAMPLE: Final = 0.02  # seconds a sample takes at least
_RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"
_OURS: Final = "ours"
_AROUND: Final = ", around the key operation"

_Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one tool took for one piece of work.

    Attributes:
        seconds: of one operation, the median of all rounds.
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


@dataclass(frozen=True, slots=True)
class _Signer:
    """One RSA-2048 key in software, as each library wants it."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def generate(cls) -> "_Signer":
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
        builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        builder = builder.not_valid_after(datetime(2050, 1, 1, tzinfo=UTC))
        return cls(key, builder.sign(key, hashes.SHA256()))

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, digest: bytes) -> bytes:
        return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))

    def verify(self, digest: bytes, signature: bytes) -> None:
        algorithm = Prehashed(hashes.SHA256())
        self.key.public_key().verify(signature, digest, padding.PKCS1v15(), algorithm)

    def xmlsec_key(self) -> xmlsec.Key:
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatPem)
        key.load_cert_from_memory(self.certificate_pem, xmlsec.constants.KeyDataFormatPem)
        return key


def measure(rounds: int) -> Iterator[Measured]:
    """Measure everything; results come as soon as their group is complete."""
    for name, write in DOCUMENTS.items():
        octets = write()
        yield from _compare(f"digest {name}", len(octets), _digesters(octets), {}, rounds)
    signer = _Signer.generate()
    unsigned = write_assertion()
    issuers, sign_only = _issuers(unsigned, signer)
    yield from _compare("issue", len(unsigned), issuers, sign_only, rounds)
    vector = _issue(signer)
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
        _OURS: lambda: hashlib.sha256(native.c14n(octets)).digest(),
        "lxml": by_lxml,
        "python-xmlsec": by_xmlsec,
    }


def _issuers(unsigned: bytes, signer: _Signer) -> tuple[Mapping[str, _Work], Mapping[str, _Work]]:
    """One vector from its content, serialised; and each tool's key operation.

    Ours gets the signature ready made, as from a token, and checks it with the public key: that check is our key operation here.
    """
    content, profile = _content(), _profile(signer)
    digest = native.prepare(content, profile).digest
    signature, key, spki = signer.sign(digest), signer.xmlsec_key(), signer.spki
    xml_signer = XMLSigner(c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)

    def by_signxml() -> bytes:
        root = xml_signer.sign(
            etree.fromstring(unsigned),
            key=signer.key,
            cert=[signer.certificate],
            reference_uri=ASSERTION_ID,
            id_attribute="ID",
        )
        return etree.tostring(root)

    def by_xmlsec() -> bytes:
        root = etree.fromstring(unsigned)
        transforms = xmlsec.constants.TransformExclC14N, xmlsec.constants.TransformRsaSha256
        node = xmlsec.template.create(root, *transforms, ns="ds")
        root.insert(1, node)
        reference = xmlsec.template.add_reference(
            node, xmlsec.constants.TransformSha256, uri="#" + ASSERTION_ID
        )
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(node))
        xmlsec.tree.add_ids(root, ["ID"])
        context = xmlsec.SignatureContext()
        context.key = key
        context.sign(node)
        return etree.tostring(root)

    tools: Mapping[str, _Work] = {
        _OURS: lambda: native.prepare(content, profile).splice(signature).octets,
        "signxml": by_signxml,
        "python-xmlsec": by_xmlsec,
    }
    return tools, {
        _OURS: lambda: native.verify_digest(spki, _RSA_SHA256, digest, signature),
        "signxml": lambda: signer.sign(digest),
        "python-xmlsec": lambda: signer.sign(digest),
    }


def _verifiers(vector: bytes, signer: _Signer) -> tuple[Mapping[str, _Work], Mapping[str, _Work]]:
    """Received octets → verified octets, and with ours everything they state; and each tool's key operation."""
    spki, certificate, pem = signer.spki, signer.certificate, signer.certificate_pem
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
        _OURS: lambda: native.verify_digest(spki, _RSA_SHA256, digest, signature),
        "signxml": lambda: signer.verify(digest, signature),
        "python-xmlsec": lambda: signer.verify(digest, signature),
    }


def _issue(signer: _Signer) -> bytes:
    prepared = native.prepare(_content(), _profile(signer))
    return prepared.splice(signer.sign(prepared.digest)).octets


def _profile(signer: _Signer) -> native.SignatureProfile:
    return native.SignatureProfile(
        signature_algorithm=_RSA_SHA256,
        digest_algorithm=_SHA256,
        public_key=signer.spki,
        certificates=[signer.certificate.public_bytes(serialization.Encoding.DER)],
    )


def _content() -> native.AssertionContent:
    """What `write_assertion` writes."""
    return native.AssertionContent(
        id=ASSERTION_ID,
        issue_instant="2026-03-01T12:00:00.000Z",
        issuer="urn:interops:73282932000074:idp:demo:1",
        name_id="agent-0042",
        name_id_format="urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        recipient="urn:interops:sp:73282932000074:demo",
        audience="http://service.demo.example/droits",
        not_before="2026-03-01T11:59:50.000Z",
        not_on_or_after="2026-03-01T13:00:00.000Z",
        authn_instant="2026-03-01T12:00:00.000Z",
        authn_context="urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        pagms=["PAGM_CONSULTATION", "PAGM_GESTION"],
    )


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
        name + _AROUND: [
            took - key for took, key in zip(whole[name], samples[name, True], strict=True)
        ]
        for name in keys
    }
    return [*_rank(work, octets, whole), *_rank(work, octets, around)]


def _sample(
    works: Mapping[tuple[str, bool], _Work], rounds: int
) -> dict[tuple[str, bool], list[float]]:
    """Seconds of one operation of each, for every round."""
    timers = {name: timeit.Timer(work) for name, work in works.items()}
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
            spread=_spread(samples[tool]) / seconds,
            rate=octets / seconds,
            ahead={
                other: its / seconds
                for other, its in medians.items()
                if other != tool and min(its, seconds) > 0
            },
        )
        for tool, seconds in medians.items()
    ]


def _spread(seconds: list[float]) -> float:
    if len(seconds) == 1:
        return 0.0
    lower, _, upper = statistics.quantiles(seconds, n=4)
    return (upper - lower) / 2


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
        f"{ratio:.1f} times {tool.removesuffix(_AROUND)}" for tool, ratio in one.ahead.items()
    )
