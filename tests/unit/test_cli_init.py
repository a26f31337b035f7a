"""What `init` writes into files, compared with what the code reads."""

import re
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from appliance.config import load_config
from appliance.conventions.loader import load_convention, load_conventions
from tests.homes import CommandLine

HOME_FILES = files("appliance.cli").joinpath("home")
SETTING = re.compile(r"^# ([a-z_0-9]+ = .+)$", re.MULTILINE)


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.mark.parametrize(("name", "count"), [("demo-client.toml", 12), ("demo-provider.toml", 11)])
def test_commented_convention_settings_are_the_defaults(
    tmp_path: Path, name: str, count: int
) -> None:
    """A commented line of a model convention shows the default: taking the comment sign away changes nothing."""
    text = HOME_FILES.joinpath(name).read_text()
    spoken, uncommented = tmp_path / "as-is" / name, tmp_path / "uncommented" / name
    for file in (spoken, uncommented):
        file.parent.mkdir()
    spoken.write_text(text)
    changed, found = SETTING.subn(r"\1", text)
    assert found == count
    uncommented.write_text(changed.replace(str(uncommented.parent), str(spoken.parent)))
    expected = msgspec.to_builtins(load_convention(spoken), enc_hook=str)
    read = msgspec.to_builtins(load_convention(uncommented), enc_hook=str)
    assert read == expected


def test_commented_settings_are_the_defaults(tmp_path: Path) -> None:
    """A commented line of appliance.toml shows the default: taking the comment sign away changes nothing."""
    text = HOME_FILES.joinpath("settings.toml").read_text()
    changed, found = SETTING.subn(r"\1", text)
    assert found == 32
    (tmp_path / "appliance.toml").write_text(text)
    expected = load_config(tmp_path)
    (tmp_path / "appliance.toml").write_text(changed)
    assert load_config(tmp_path) == expected


def test_empty_home_is_a_skeleton_that_loads(appliance: CommandLine, tmp_path: Path) -> None:
    """Without --demo: only the owner may enter, the configuration loads, the models become conventions by renaming."""
    home = tmp_path / "h"
    ended = appliance("init", home)
    assert ended.code == 0
    assert home.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in home.rglob("*"))
    assert load_config(home).tokens == ()
    for model in ("demo-client", "demo-provider"):
        example = home / "conventions" / f"{model}.toml.example"
        example.rename(example.with_suffix(""))
    assert len(load_conventions(home / "conventions")) == 2
    check = appliance("convention", "check", "--home", home, "--json")
    said = [line["detail"].partition(".toml: ")[2] for line in check.lines]
    assert [each.partition(":")[0] for each in said] == ["key", "trust.roots[0]"]
    said = ended.stdout.decode()
    for step in ("appliance.toml", "secrets/pin", "hsm list", "doctor", "serve"):
        assert step in said


def test_empty_home_tokens_uncommented(appliance: CommandLine, tmp_path: Path) -> None:
    """The commented token, key and caller of a skeleton are right once their comment signs are taken away."""
    home = tmp_path / "h"
    assert appliance("init", home).code == 0
    file = home / "appliance.toml"
    text = re.sub(r"^# (\[|[a-zA-Z_0-9]+ = )", r"\1", file.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^(pin_env|pin_credential) .*$", "", text, flags=re.MULTILINE)
    file.write_text(text.replace("64 hexadecimal digits", "0" * 64))
    config = load_config(home)
    assert config.tokens[0].pin_file == home / "secrets" / "pin"
    assert [len(config.tokens), len(config.keys), len(config.callers)] == [1, 1, 1]


def test_place_that_is_taken_is_left_alone(appliance: CommandLine, tmp_path: Path) -> None:
    """A directory that holds something, a file, and an absent parent are refused with exit 2, and nothing is made."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    for place, said in (
        (full, "empty directory"),
        (full / "letter.txt", "something else is in its place"),
        (tmp_path / "absent" / "home", "make it first"),
        (tmp_path / ("long" * 30), "shorter path"),
        (tmp_path / "line\nbreak", "printable"),
    ):
        ended = appliance("init", place, "--demo")
        assert ended.code == 2
        assert said in ended.stderr
        assert ended.stdout == b""
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert (full / "letter.txt").read_text() == "mine"


def test_failure_leaves_nothing_half_made(
    appliance: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without SoftHSM a demo home cannot be made: exit 3, how to install it, and an empty place."""
    monkeypatch.setenv("SOFTHSM2_MODULE", str(tmp_path / "no-module.so"))
    place = tmp_path / "place"
    place.mkdir()
    ended = appliance("init", place / "home", "--demo")
    assert ended.code == 3
    assert "apt install softhsm2" in ended.stderr
    assert list(place.iterdir()) == []


def test_empty_directory_is_taken(appliance: CommandLine, tmp_path: Path) -> None:
    """An empty directory becomes the home, whatever its mode was."""
    home = tmp_path / "h"
    home.mkdir(mode=0o755)
    assert appliance("init", home).code == 0
    assert home.stat().st_mode & 0o777 == 0o700
