"""The comparison with what a user would take instead: every contestant makes the same vector, and says so honestly."""

import argparse
import json
from pathlib import Path

import pytest

from appliance.config import load_config
from bench import makers, peers
from bench.makers import SoftwareKey
from tests.tools import Bench, run_bench
from tests.wss4j import Wss4j

pytestmark = [pytest.mark.slow]

BRIEF = ("--rounds", "1", "--seconds", "0.1")


@pytest.mark.hsm
def test_libraries_with_both_kinds_of_key(demo_home: Path) -> None:
    """Each library makes its vectors with the software key, those that can with the token too; ours is the measure."""
    done = run_bench("peers", "--home", demo_home, "--key", "demo-rsa", *BRIEF, "--json")
    assert done.returncode == 0, done.stderr
    results = {(one["tool"], one["key"]): one for one in json.loads(done.stdout)}
    assert set(results) == {
        ("ours", "software"),
        ("signxml", "software"),
        ("python-xmlsec", "software"),
        ("ours", "token"),
        ("signxml", "token"),
    }
    for (tool, _), one in results.items():
        assert one["rate"] > 0
        assert one["processor"] > 0
        assert (one["ours"] == 1) == (tool == "ours")


@pytest.mark.java
def test_opensaml(wss4j: Wss4j) -> None:
    """OpenSAML makes the vector in a Java process of its own."""
    done = run_bench("peers", "--jars", wss4j.jars, *BRIEF)
    assert done.returncode == 0, done.stderr
    assert "OpenSAML       software" in done.stdout


def test_a_vector_that_does_not_verify_is_noticed() -> None:
    """The judge is libxmlsec, and it does judge."""
    key = SoftwareKey.generate()
    vector = makers.make_by_us(key.certificate, key.sign)()
    assert peers.verifies(vector)
    assert not peers.verifies(vector.replace(b"agent-0042", b"agent-0043"))
    assert not peers.verifies(makers.write_assertion())


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--rounds", "0"], 2, "--rounds: expected a whole number"),
        (["--jars", "/nowhere"], 2, "OpenSAML's jars"),
        (["--home", "/nowhere"], 2, "/nowhere"),
    ],
)
def test_unusable_arguments(bench: Bench, arguments: list[str], status: int, says: str) -> None:
    """What cannot be run is refused in a sentence."""
    done = bench("peers", *arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.hsm
def test_a_key_that_is_not_there(
    demo_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token without a key of that label is refused in a sentence."""
    [token] = load_config(demo_home).tokens
    for name, value in token.environment.items():
        monkeypatch.setenv(name, value)
    parser = argparse.ArgumentParser()
    peers.add_arguments(parser)
    named = ("--module", token.module, "--token-label", token.label, "--key-label", "NOBODY")
    pin = ("--pin-file", demo_home / token.pin_file)
    assert peers.run(parser.parse_args(list(map(str, [*named, *pin])))) == 2
    assert capsys.readouterr().err == "peers: the token has no such key\n"


@pytest.mark.hsm
def test_a_key_that_the_peers_cannot_use(bench: Bench, demo_home: Path) -> None:
    """The peers sign with RSA."""
    done = bench("peers", "--home", demo_home, "--key", "demo-ec", *BRIEF)
    assert done.returncode == 3
    assert done.stderr == "peers: ours: the peers sign with RSA; name an RSA key\n"
