"""docs/conventions.md leads from nothing to a first convention of each role: its commands are run as they stand, in a demo home."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.homes import copy_home

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"
PLACES = ("DIR", "THEIR-ROOT.pem", "THEIR-CRLS", "a-vector-they-sent.xml")


def blocks(places: dict[str, str]) -> list[str]:
    """The commands of the page's first section, block by block, with what the reader has of his own in its place."""
    section = DOCUMENT.read_text().split("## A first one, from nothing")[1].split("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert all(any(place in block for block in found) for place in PLACES)
    for place, own in places.items():
        found = [block.replace(place, own) for block in found]
    return found


def run(script: str, directory: Path) -> str:
    """Run commands; the first that fails fails the test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=directory,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{script}{done.stdout}{done.stderr}"
    return done.stdout


def test_the_walk_ends_with_a_vector_of_ours_and_a_verdict_on_theirs(
    demo_home: Path, tmp_path: Path
) -> None:
    """What the page says makes a convention that issues, and one that accepts what the partner sent."""
    home, vector = copy_home(demo_home, tmp_path), tmp_path / "theirs.xml"
    own = (str(home), f"{home}/pki/root.pem", f"{home}/pki/crl/*", str(vector))
    as_client, as_provider = blocks(dict(zip(PLACES, own, strict=True)))
    assert "urn:interops:OUR-SIRET:idp:us:1<" in run(as_client, tmp_path)
    theirs = re.search(r"appliance convention new [^\n]*(\n.*)*?--pagm \S+", as_provider)
    assert theirs is not None
    partner = theirs[0].replace("--role provider partner-calls", "--role client them")
    issue = f"appliance issue --home {home} --convention them --pagm PAGM_CONSULTATION > {vector}"
    run(f"{partner} --key demo-rsa\n{issue}\nrm {home}/conventions/them.toml", tmp_path)
    assert "accepted" in run(as_provider, tmp_path)
