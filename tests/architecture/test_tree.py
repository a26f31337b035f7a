"""Rules of the tree that no linter knows (DESIGN invariants 3, 5, 7 and the size rule)."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("appliance", "hsm", "bench")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
LONGEST_MODULE = 500
LONGEST_FUNCTION = 60


def calls(file: Path) -> Iterator[tuple[str, int]]:
    """Every call in a module: the last name of what is called, and its line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute):
                yield called.attr, node.lineno
            elif isinstance(called, ast.Name):
                yield called.id, node.lineno


@pytest.mark.parametrize("stage", ["AuthorizedRequest", "AcceptedVector"])
def test_authorised_stages_are_made_in_one_place(stage: str) -> None:
    """Only conventions/authorize.py makes a stage that states an authorisation."""
    makers = {
        file.relative_to(ROOT).as_posix()
        for file in MODULES
        for name, _ in calls(file)
        if name == stage
    }
    assert makers == {"appliance/conventions/authorize.py"}


def test_verified_stages_need_the_extension() -> None:
    """Python cannot construct what proves a signature: the extension's result types refuse to be called."""
    from appliance import native  # noqa: PLC0415 - the test's own subject

    for kind in (native.SignedAssertion, native.VerifiedOctets, native.PreparedSignature):
        with pytest.raises(TypeError, match=r"No constructor|cannot create"):
            kind()


def test_only_the_command_line_verifies_by_the_generic_profile() -> None:
    """What the appliance accepts as a vector went through the assertion profile: nothing else names the other one."""
    naming = {
        file.relative_to(ROOT).as_posix()
        for file in MODULES
        if "verify_signature" in file.read_text() and file.parts[-2] != "native"
    }
    assert naming == {"appliance/cli/dsig.py"}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_modules_and_functions_stay_readable(file: Path) -> None:
    """A module has a docstring and at most 500 lines, a function at most 60."""
    text = file.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert text.count("\n") <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_no_bag_of_things() -> None:
    """No module is named after nothing in particular."""
    bags = re.compile(r"(^|/)(utils?|common|helpers?|misc|base|manager)(\.py|\.rs|/)")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert tracked
    assert [name for name in tracked if bags.search(name)] == []


def test_only_lanes_read_a_pin() -> None:
    """Outside hsm, nothing opens a PIN's source: the appliance only passes on where it is."""
    readers = {
        file.relative_to(ROOT).as_posix()
        for file in MODULES
        for name, _ in calls(file)
        if name == "read_pin"
    }
    assert readers
    assert all(reader.startswith("hsm/") for reader in readers)


def test_documents_name_files_that_exist() -> None:
    """Every file that README, ARCHITECTURE and docs name by its path is there."""
    named = re.compile(r"`((?:appliance|native|hsm|bench|tests|docs|scripts)/[A-Za-z0-9_./*-]+)`")
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    missing = {
        f"{document.name}: {path}"
        for document in documents
        for path in named.findall(document.read_text())
        if not any(ROOT.glob(path.rstrip("/")))
    }
    assert missing == set()
