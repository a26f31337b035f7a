"""The set that a worker begins with: what the supervisor kept, or the files where that is of no use."""

import pickle
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from appliance.config import load_config
from appliance.conventions import inforce
from appliance.conventions.builder import RegistryBuilder
from appliance.conventions.inforce import keep_in_force, load_in_force
from appliance.conventions.model import CallerRule
from appliance.errors import ConfigurationError
from appliance.parts import home_parts
from appliance.signing.keyring import Keyring
from appliance.trust.names import NamePattern
from tests.partners import CLIENT, make_provider


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    """Every value of both roles; the next set takes the place of the last, and nobody else may read it."""
    rule = CallerRule(
        networks=(ip_network("10.0.0.0/8"),), certificates=(NamePattern.read("CN=a*,C=FR"),)
    )
    conventions = (replace(CLIENT, callers=(rule,)), make_provider(tmp_path))
    file = tmp_path / "in-force"
    keep_in_force(file, conventions, None)
    assert load_in_force(file) == conventions
    assert file.stat().st_mode & 0o777 == 0o600
    keep_in_force(file, conventions[1:], None)
    assert load_in_force(file) == conventions[1:]
    assert [each.name for each in tmp_path.iterdir()] == ["in-force"]


def test_what_cannot_be_kept_or_read(tmp_path: Path) -> None:
    """A place that is none, nothing there, and what another version of the program kept."""
    with pytest.raises(ConfigurationError, match="a place to write to"):
        keep_in_force(tmp_path / "absent" / "in-force", (), None)
    with pytest.raises(ConfigurationError, match="which `appliance serve` keeps there"):
        load_in_force(tmp_path / "in-force")
    (tmp_path / "in-force").write_bytes(pickle.dumps("2025.1.0") + b"anything")
    with pytest.raises(ConfigurationError, match=r"not 2025\.1\.0: restart the service"):
        load_in_force(tmp_path / "in-force")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        pickle.dumps(inforce._VERSION),
        pickle.dumps(inforce._VERSION) + b"cappliance.conventions.model\nOfAnotherDay\n.",
        pickle.dumps(inforce._VERSION) + b"cappliance.another_day\nConvention\n.",
        pickle.dumps(inforce._VERSION)
        + b"cappliance.conventions.model\nCallerRule\n(I1\nI2\nI3\nI4\nI5\nI6\nI7\nI8\nI9\ntR.",
        pickle.dumps(inforce._VERSION) + b"\xff",
    ],
)
def test_what_other_code_kept_is_refused_by_name(tmp_path: Path, octets: bytes) -> None:
    """Cut off, or of classes that are not there, or are others, under the same version: the files have to do."""
    (tmp_path / "in-force").write_bytes(octets)
    with pytest.raises(ConfigurationError, match="what this code can read"):
        load_in_force(tmp_path / "in-force")


def test_what_cannot_be_handed_over_is_not_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file cannot be its reader's the set before stays."""

    def refuse(_descriptor: int, uid: int, gid: int) -> None:
        raise PermissionError(1, f"not {uid}:{gid}")

    keep_in_force(tmp_path / "in-force", (CLIENT,), None)
    monkeypatch.setattr("appliance.conventions.inforce.os.fchown", refuse)
    with pytest.raises(ConfigurationError, match="not 61100:61100"):
        keep_in_force(tmp_path / "in-force", (), (61100, 61100))
    assert load_in_force(tmp_path / "in-force") == (CLIENT,)


def test_worker_begins_with_it_whatever_the_files_say(demo_home: Path, tmp_path: Path) -> None:
    """The set that was kept counts, not the files; they do where nothing was kept, and at the next reload."""
    config = load_config(demo_home)
    parts = home_parts(config, Keyring.load(config.keys))
    builder = RegistryBuilder(config.home.conventions)
    files = builder.build(parts)
    in_force = tmp_path / "in-force"
    keep_in_force(in_force, [replace(each, id="before") for each in files.clients()], None)
    assert [each.id for each in builder.resume(in_force, parts).all()] == ["before"]
    assert builder.build(parts).all() == files.all()
    assert builder.resume(tmp_path / "absent", parts).all() == files.all()
