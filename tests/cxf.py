"""Applications made with Apache CXF, with no InterOPS code of their own: a client and a provider of the same business service."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.groups import leave_out
from tests.tls_peers import free_port

FOLDER = Path(__file__).parent / "java" / "cxf"
BUILT = Path(__file__).parents[1] / "target" / "cxf"


@dataclass(frozen=True)
class Cxf:
    """The compiled applications and their class path."""

    classes: str

    @contextmanager
    def provider(self) -> Iterator[int]:
        """Run the provider's application; its port."""
        port = free_port()
        process = subprocess.Popen(
            ["java", "-cp", self.classes, "Provider", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                yield port
            finally:
                process.communicate(timeout=30)

    def call(
        self, url: str, *calls: tuple[str, str], soap: str = "11", headers: Mapping[str, str] = {}
    ) -> list[str]:
        """Have the client's application call operations, one after the other on one connection; what each came to."""
        fields = [part for field in headers.items() for part in ("--header", "=".join(field))]
        words = [word for each in calls for word in each]
        done = subprocess.run(
            ["java", "-cp", self.classes, "Client", url, soap, *fields, *words],
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="session")
def cxf() -> Cxf:
    """The applications, compiled once per clone; skipped where there is no JDK or no Maven."""
    missing = [tool for tool in ("javac", "mvn") if shutil.which(tool) is None]
    if missing:
        leave_out("java", f"CXF needs a JDK and Maven; missing: {', '.join(missing)}")
    jars = BUILT / "jars"
    stamp, wanted = BUILT / "pom.xml", FOLDER / "pom.xml"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        shutil.rmtree(BUILT, ignore_errors=True)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
        run("mvn", "-q", "-B", "-f", wanted, *goal, "-DincludeScope=runtime")
        shutil.copyfile(wanted, stamp)
    classes = BUILT / "classes"
    run("javac", "-cp", f"{jars}/*", "-d", classes, *sorted(FOLDER.glob("*.java")))
    return Cxf(f"{classes}:{jars}/*")


def run(*command: str | Path) -> None:
    """Run a tool that must succeed."""
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
