"""Applications made with Apache CXF, with no InterOPS code of their own: a client and a provider of the same business service."""

import shutil
import subprocess
import threading
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
        with self._run("Provider", str(port)) as process:
            assert read_line(process) == "ready"
            yield port

    @contextmanager
    def client(self) -> Iterator["CxfClient"]:
        """Run the client's application."""
        with self._run("Client") as process:
            yield CxfClient(process)

    @contextmanager
    def _run(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a program until the block ends, which it learns from the end of its input."""
        process = subprocess.Popen(
            ["java", "-cp", self.classes, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.communicate(timeout=30)


@dataclass(frozen=True)
class CxfClient:
    """The client's application, which runs."""

    process: "subprocess.Popen[str]"

    def call(
        self, url: str, *calls: tuple[str, str], soap: str = "11", headers: Mapping[str, str] = {}
    ) -> list[str]:
        """Have it call operations, one after the other on one connection; what each came to."""
        fields = [part for field in headers.items() for part in ("--header", "=".join(field))]
        words = [word for each in calls for word in each]
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join([url, soap, *fields, *words]) + "\n")
        self.process.stdin.flush()
        said = []
        while (line := read_line(self.process)) != "done":
            said.append(line)
        return said


def read_line(process: "subprocess.Popen[str]") -> str:
    """Read what a program says next; one that says nothing for long is ended."""
    assert process.stdout is not None
    timer = threading.Timer(120, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    assert line, "the program has ended"
    return line.rstrip("\n")


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
