"""`appliance hsm` and `appliance convention` on a demo home."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.homes import CommandLine, copy_home, edit

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


def test_list(appliance: CommandLine, demo_home: Path) -> None:
    """Each token and private key, with the KeyRef and certificate that name it, as JSON and as a table."""
    (token,) = appliance("hsm", "list", "--home", demo_home, "--json").lines
    assert (token["token"], token["label"]) == ("demo", "interops-demo")
    keys = {key["label"]: key for key in token["keys"]}
    assert (keys["demo-rsa"]["type"], keys["demo-rsa"]["bits"]) == ("rsa", 2048)
    assert (keys["demo-ec"]["type"], keys["demo-ec"]["bits"]) == ("ec", 256)
    assert keys["demo-ec"]["name"] == "demo-ec"
    assert keys["demo-ec"]["id"] == "02"
    assert [key["extractable"] for key in token["keys"]] == [False, False, False]
    assert (keys["demo-audit"]["type"], keys["demo-audit"]["name"]) == ("ec_edwards", None)
    assert "CN=demo-ec" in keys["demo-ec"]["subject"]
    text = appliance("hsm", "list", "--home", demo_home).stdout.decode()
    assert "not after" in text
    assert "CN=demo-rsa" in text


def test_list_shows_keys_nobody_names(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """A private key that no [[key]] names is listed without certificate."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", 'label = "demo-ec"', 'label = "other"')
    (token,) = appliance("hsm", "list", "--home", home, "--json").lines
    names = {key["label"]: key["name"] for key in token["keys"]}
    assert names == {"demo-rsa": "demo-rsa", "demo-ec": None, "demo-audit": None}


def test_selftest(appliance: CommandLine, demo_home: Path) -> None:
    """Every key signs on every lane, every signature verifies, and a rate is given."""
    ended = appliance("hsm", "selftest", "--home", demo_home, "--count", "10", "--json")
    assert ended.code == 0
    assert {(each["lane"], each["key"], each["signatures"]) for each in ended.lines} == {
        (lane, key, 10) for lane in (0, 1) for key in ("demo-ec", "demo-rsa")
    }
    assert all(each["per_second"] > 0 and not each["error"] for each in ended.lines)


def test_selftest_fails_with_the_wrong_certificate(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """A key whose signatures do not verify with its certificate fails the command; the other key passes."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", 'label = "demo-rsa"\nid = "01"', 'label = "demo-ec"\nid = "02"')
    ended = appliance("hsm", "selftest", "--home", home, "--count", "1", "--json")
    assert ended.code == 1
    assert {each["key"] for each in ended.lines if each["error"]} == {"demo-rsa"}
    assert "KEY_" in ended.stdout.decode()


def test_selftest_without_token(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """A token that is not there makes a part unavailable: exit 3 and the next step."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", "interops-demo", "absent")
    ended = appliance("hsm", "selftest", "--home", home, "--count", "2")
    assert ended.code == 3
    assert "TOKEN_NOT_FOUND" in ended.stderr
    assert ended.stdout == b""


@pytest.mark.parametrize("count", ["0", "-1", "x", "1000001"])
def test_selftest_count(appliance: CommandLine, demo_home: Path, count: str) -> None:
    """A count that makes no sense is wrong usage."""
    assert appliance("hsm", "selftest", "--home", demo_home, "--count", count).code == 2


def test_resume_names_a_token(appliance: CommandLine, demo_home: Path) -> None:
    """Resuming a token that has not refused is harmless; an unknown one is wrong usage that lists the known."""
    assert (
        b"nothing to do"
        in appliance("hsm", "resume", "--home", demo_home, "--token", "demo").stdout
    )
    ended = appliance("hsm", "resume", "--home", demo_home, "--token", "demmo")
    assert ended.code == 2
    assert "demo" in ended.stderr


def test_conventions(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """List, show and check say the same of a convention; a wrong file is named and does not hide the others."""
    listed = appliance("convention", "list", "--home", demo_home, "--json").lines
    assert [each["id"] for each in listed] == ["demo-client", "demo-provider"]
    (shown,) = appliance("convention", "show", "demo-client", "--home", demo_home, "--json").lines
    assert shown == listed[0]
    assert (shown["role"], shown["lifetime"], shown["key"]) == ("client", 3600.0, "demo-rsa")
    assert b"3600 s" in appliance("convention", "show", "demo-client", "--home", demo_home).stdout
    unknown = appliance("convention", "show", "other", "--home", demo_home)
    assert (unknown.code, "demo-client" in unknown.stderr) == (2, True)
    assert appliance("convention", "check", "--home", demo_home).code == 0
    home = copy_home(demo_home, tmp_path)
    edit(home / "conventions" / "demo-client.toml", "issuer =", "isuer =")
    checked = appliance("convention", "check", "--home", home, "--json")
    assert checked.code == 1
    assert [each["ok"] for each in checked.lines] == [False, True]
    assert "isuer" in checked.lines[0]["detail"]


def test_reader_that_leaves_is_no_error(demo_home: Path) -> None:
    """When nobody reads stdout any more the command ends quietly with the code of SIGPIPE."""
    child = subprocess.Popen(
        [sys.executable, "-m", "appliance", "convention", "list", "--home", str(demo_home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    with child.stderr as errors:
        assert errors.read() == b""
    assert child.wait(30) == 141
