"""WSS4J and its OpenSAML as judges and as a partner: a Java stack that shares nothing with us, fetched by Maven once per clone and run where Java is present."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.groups import leave_out

FOLDER = Path(__file__).parent / "java"
FETCHED = Path(__file__).parents[1] / "target" / "java"


@dataclass(frozen=True)
class Wss4j:
    """The judge with its class path."""

    jars: Path

    def judge(self, root: bytes, messages: Sequence[bytes], directory: Path) -> list[str]:
        """Say of each message `accepted`, with what its signatures cover, or `refused` and why; `root` alone is trusted."""
        trusted = directory / "root.der"
        trusted.write_bytes(root)
        files = [directory / f"{number}.xml" for number in range(len(messages))]
        for file, message in zip(files, messages, strict=True):
            file.write_bytes(message)
        command = ["java", "-cp", f"{self.jars}/*", FOLDER / "MessageJudge.java", trusted, *files]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def judge_vectors(self, signer: bytes, vectors: Sequence[bytes], directory: Path) -> list[str]:
        """Say of each assertion, alone, `accepted` or `refused` and why, by OpenSAML and the signer's certificate."""
        (directory / "signer.der").write_bytes(signer)
        files = _write(vectors, directory)
        return self._peer("judge", directory / "signer.der", *files).splitlines()

    def sign_vectors(
        self, key: bytes, chain: Path, unsigned: Sequence[bytes], directory: Path
    ) -> list[bytes]:
        """Have OpenSAML sign assertions, with an RSA key in PKCS#8 and a chain in PEM."""
        (directory / "key.p8").write_bytes(key)
        files = _write(unsigned, directory)
        self._peer("sign", directory / "key.p8", chain, *files)
        return [file.read_bytes() for file in files]

    def _peer(self, *arguments: str | Path) -> str:
        command = ["java", "-cp", f"{self.jars}/*", FOLDER / "VectorPeer.java", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _write(documents: Sequence[bytes], directory: Path) -> list[Path]:
    files = [directory / f"vector-{number}.xml" for number in range(len(documents))]
    for file, octets in zip(files, documents, strict=True):
        file.write_bytes(octets)
    return files


@pytest.fixture(scope="session")
def wss4j() -> Wss4j:
    """The judge; skipped where there is no JDK or no Maven."""
    missing = [tool for tool in ("javac", "mvn") if shutil.which(tool) is None]
    if missing:
        leave_out("java", f"WSS4J needs a JDK and Maven; missing: {', '.join(missing)}")
    stamp = FETCHED / "pom.xml"
    wanted = FOLDER / "pom.xml"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        shutil.rmtree(FETCHED, ignore_errors=True)
        goal = [
            "dependency:copy-dependencies",
            f"-DoutputDirectory={FETCHED}",
            "-DincludeScope=runtime",
        ]
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", wanted, *goal],
            capture_output=True,
            check=False,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout
        shutil.copy(wanted, stamp)
    return Wss4j(FETCHED)
