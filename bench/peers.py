"""The same vector made by what a user would take instead: one process each, one key, taking turns.

A contestant makes whole vectors, from content to octets. Ours verifies each signature with the public key before it lets the vector
out; the others do not. Given a token, each library that can use a key in one also signs with it: signxml takes any object that signs;
python-xmlsec's wheel reads none by `Key.from_engine` (`cannot read key`); OpenSAML reaches a token through Java's own PKCS#11 provider, which finds a key by a
certificate that has to lie in the token beside it, and is left out there. Every contestant's last vector is verified by libxmlsec.
"""

import argparse
import base64
import contextlib
import json
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Final, Protocol

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree  # noqa: TID251 - libxmlsec's own reader

from bench.arguments import positive, whole
from bench.ceiling import Place, add_place_arguments, choose_places
from bench.documents import write_assertion
from bench.makers import (
    Maker,
    SoftwareKey,
    certify,
    make_by_signxml,
    make_by_us,
    make_by_xmlsec,
)
from bench.spread import spread
from hsm.errors import HsmError
from hsm.keys import SigningKey, find_key
from hsm.mechanism import sign_digest
from hsm.probe import prove_key
from hsm.session import become_user, lock_opening, open_session

_OURS: Final = "ours"
_JAVA: Final = Path(__file__).parent / "java" / "VectorMaker.java"
_PATIENCE: Final = 120.0


NO_JAVA: Final = "--jars needs java, and a directory with OpenSAML's jars"
"""Why `has_java` says no."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a contestant did in one turn."""

    vectors: int
    processor: float
    seconds: float


@dataclass(frozen=True, slots=True)
class PeerResult:
    """One contestant, the medians of its rounds.

    Attributes:
        key: `software` or `token`.
        rate: vectors per second of one process.
        processor: seconds of the processor for one vector, the key operation among them where the key is in its process.
        spread: half of what lies between the quartiles of the rates, as a part of the median.
        ours: our processor seconds for the same key, as a part of its own.
    """

    tool: str
    key: str
    rate: float
    processor: float
    spread: float
    ours: float


class ContestantFailed(Exception):
    """A contestant cannot make vectors."""


class Contestant(Protocol):
    """A process that makes vectors when it is told to."""

    def race(self, seconds: float) -> Round:
        """Make vectors for so long."""

    def finish(self) -> bytes:
        """End; the last vector."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench peers`."""
    add_place_arguments(parser)
    parser.add_argument("--seconds", type=positive, default=1.0, help="a turn (default 1)")
    parser.add_argument("--rounds", type=whole, default=5, help="turns of each (default 5)")
    parser.add_argument(
        "--jars",
        type=Path,
        metavar="DIR",
        help="OpenSAML's class path, for a Java contestant: mvn -q -f tests/java/pom.xml dependency:copy-dependencies"
        " -DoutputDirectory=DIR",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def run(arguments: argparse.Namespace) -> int:
    """Let them race; 1 when a contestant's vector does not verify."""
    if not has_java(arguments.jars):
        print(f"peers: {NO_JAVA}", file=sys.stderr)
        return 2
    try:
        with ExitStack() as stack:
            place = None
            if arguments.home is not None or arguments.module is not None:
                place = next(iter(stack.enter_context(choose_places(arguments))), None)
                if place is None:
                    print("peers: the token has no such key", file=sys.stderr)
                    return 2
            turns, refused = race(place, arguments.jars, arguments.seconds, arguments.rounds)
    except ContestantFailed as exc:
        print(f"peers: {exc}", file=sys.stderr)
        return 3
    results = _sum_up(turns)
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        _print_table(results)
    for tool, key in refused:
        print(f"peers: libxmlsec does not accept what {tool} made ({key} key)", file=sys.stderr)
    return 1 if refused else 0


def has_java(jars: Path | None) -> bool:
    """Whether the Java contestant can run, where `jars` asks for it."""
    return jars is None or (shutil.which("java") is not None and any(jars.glob("*.jar")))


def race(
    place: Place | None, jars: Path | None, seconds: float, rounds: int
) -> tuple[Mapping[tuple[str, str], Sequence[Round]], list[tuple[str, str]]]:
    """Let them take turns, each started once; the rounds by tool and key, and whose last vector does not verify.

    Raises:
        ContestantFailed: one cannot make vectors.
    """
    with ExitStack() as stack:
        software = SoftwareKey.generate()
        contestants = _enter(stack, software, place, jars)
        turns: dict[tuple[str, str], list[Round]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                turns[name].append(contestant.race(seconds))
        refused = [
            name for name, contestant in contestants.items() if not verifies(contestant.finish())
        ]
    return turns, refused


def _enter(
    stack: ExitStack, software: SoftwareKey, place: Place | None, jars: Path | None
) -> Mapping[tuple[str, str], Contestant]:
    contestants: dict[tuple[str, str], Contestant] = {
        (tool, "software"): stack.enter_context(_fork(tool, software, None))
        for tool in (_OURS, "signxml", "python-xmlsec")
    }
    if jars is not None:
        contestants["OpenSAML", "software"] = stack.enter_context(_launch(software, jars))
    if place is not None:
        for tool in (_OURS, "signxml"):
            contestants[tool, "token"] = stack.enter_context(_fork(tool, software, place))
    return contestants


# Python


@dataclass(frozen=True, slots=True)
class _PythonContestant:
    tool: str
    pipe: "Connection[float | None, Round | bytes | ContestantFailed]"

    def race(self, seconds: float) -> Round:
        self.pipe.send(seconds)
        answer = self._receive(seconds)
        if not isinstance(answer, Round):
            raise TypeError("a contestant answered out of turn")
        return answer

    def finish(self) -> bytes:
        self.pipe.send(None)
        answer = self._receive(0.0)
        if not isinstance(answer, bytes):
            raise TypeError("a contestant answered out of turn")
        return answer

    def _receive(self, seconds: float) -> Round | bytes:
        if not self.pipe.poll(seconds + _PATIENCE):
            raise ContestantFailed(f"{self.tool} gave no answer")
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError) as exc:
            raise ContestantFailed(f"{self.tool} ended; its error stands above") from exc
        if isinstance(answer, ContestantFailed):
            raise answer
        return answer


@contextmanager
def _fork(tool: str, software: SoftwareKey, place: Place | None) -> Iterator[_PythonContestant]:
    """Start a process that has its key when this yields, one after the other: tokens do not like to be opened by several at once."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    certificate = software.certificate.public_bytes(serialization.Encoding.DER)
    process = context.Process(
        target=_compete, args=(theirs, tool, software.pkcs8, certificate, place)
    )
    process.start()
    theirs.close()
    contestant = _PythonContestant(tool, mine)
    try:
        contestant.race(0.0)
        yield contestant
    finally:
        mine.close()
        process.join(1.0)
        if process.is_alive():
            process.terminate()


def _compete(
    pipe: "Connection[Round | bytes | ContestantFailed, float | None]",
    tool: str,
    pkcs8: bytes,
    certificate: bytes,
    place: Place | None,
) -> None:
    software = SoftwareKey.load(pkcs8, certificate)
    try:
        make = _maker(tool, software) if place is None else _token_maker(tool, software, place)
        vector = make()
    except (HsmError, TypeError) as exc:
        pipe.send(ContestantFailed(f"{tool}: {exc}"))
        return
    with contextlib.suppress(EOFError):  # whoever asked is gone
        while (seconds := pipe.recv()) is not None:
            made, processor, begun = 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - begun < seconds:
                vector = make()
                made += 1
            pipe.send(Round(made, time.process_time() - processor, time.perf_counter() - begun))
        pipe.send(vector)


def _maker(tool: str, software: SoftwareKey) -> Maker:
    if tool == _OURS:
        return make_by_us(software.certificate, software.sign)
    if tool == "signxml":
        return make_by_signxml(software.certificate, software.key)
    return make_by_xmlsec(software)


def _token_maker(tool: str, software: SoftwareKey, place: Place) -> Maker:
    token, wanted = place
    become_user(token)
    with lock_opening(token) as guard:
        session = open_session(token, guard)
        key = find_key(session, wanted, token.target)
        prove_key(key)
        certificate = certify(key.public_key, software.key)
    signer = _TokenKey(key)
    if tool == _OURS:
        return make_by_us(certificate, signer.sign_digest)
    return make_by_signxml(certificate, signer)


@dataclass(frozen=True, slots=True)
class _TokenKey:
    """A key in a token as signxml wants it."""

    key: SigningKey

    def sign_digest(self, digest: bytes) -> bytes:
        return sign_digest(self.key, "sha256", digest)

    def sign(
        self, data: bytes, padding: padding.PKCS1v15, algorithm: hashes.HashAlgorithm
    ) -> bytes:
        if not isinstance(algorithm, hashes.SHA256):
            raise TypeError(f"the vector is signed with SHA-256, not {algorithm.name} {padding}")
        return self.sign_digest(sha256(data).digest())


# Java


@dataclass(frozen=True, slots=True)
class _JavaContestant:
    process: subprocess.Popen[str]

    def race(self, seconds: float) -> Round:
        _stream(self.process.stdin).write(f"{seconds}\n")
        _stream(self.process.stdin).flush()
        vectors, processor, took = self._read().split()
        return Round(int(vectors), float(processor), float(took))

    def finish(self) -> bytes:
        _stream(self.process.stdin).close()
        return base64.b64decode(self._read())

    def _read(self) -> str:
        line = _stream(self.process.stdout).readline()
        if not line:
            raise ContestantFailed("OpenSAML ended; its error stands above")
        return line


@contextmanager
def _launch(software: SoftwareKey, jars: Path) -> Iterator[_JavaContestant]:
    certificate = software.certificate.public_bytes(serialization.Encoding.DER)
    given = (software.pkcs8, certificate, write_assertion())
    process = subprocess.Popen(
        [shutil.which("java") or "java", "-cp", f"{jars}/*", str(_JAVA)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            for octets in given:
                _stream(process.stdin).write(base64.b64encode(octets).decode() + "\n")
            _stream(process.stdin).flush()
            contestant = _JavaContestant(process)
            contestant._read()  # noqa: SLF001 - "ready", its own line
            contestant.race(3.0)  # the virtual machine compiles what is hot
            yield contestant
        finally:
            process.kill()


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process was started without pipes")
    return stream


# Outcome


def verifies(vector: bytes) -> bool:
    """Ask libxmlsec, with the certificate that the vector carries."""
    root = etree.fromstring(vector)
    xmlsec.tree.add_ids(root, ["ID"])
    node = xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature)
    if node is None:
        return False
    carried = root.findtext(".//{http://www.w3.org/2000/09/xmldsig#}X509Certificate") or ""
    certificate = x509.load_der_x509_certificate(base64.b64decode(carried))
    context = xmlsec.SignatureContext()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    context.key = xmlsec.Key.from_memory(pem, xmlsec.constants.KeyDataFormatCertPem)
    try:
        context.verify(node)
    except xmlsec.VerificationError:
        return False
    return True


def _sum_up(rounds: Mapping[tuple[str, str], Sequence[Round]]) -> list[PeerResult]:
    processor = {
        name: statistics.median(one.processor / one.vectors for one in its)
        for name, its in rounds.items()
    }
    results = []
    for (tool, key), its in rounds.items():
        rates = [one.vectors / one.seconds for one in its]
        results.append(
            PeerResult(
                tool=tool,
                key=key,
                rate=statistics.median(rates),
                processor=processor[tool, key],
                spread=spread(rates),
                ours=processor[_OURS, key] / processor[tool, key],
            )
        )
    return results


def _print_table(results: Sequence[PeerResult]) -> None:
    print(f"{'tool':<14} {'key':<9} {'vectors/s':>10} {'±':>5} {'CPU µs':>8}  ours takes")
    for one in results:
        ours = "" if one.tool == _OURS else f"{one.ours:.0%} of its CPU"
        print(
            f"{one.tool:<14} {one.key:<9} {one.rate:>10,.0f} {one.spread:>5.0%} {one.processor * 1e6:>8.0f}  {ours}".rstrip()
        )
