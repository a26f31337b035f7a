"""Who runs what when the configuration names nobody, and what is said where nobody else can be."""

import os
from pathlib import Path

import pytest

from appliance.cli.checks.users import check_users
from appliance.config import Config, load_config
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.ownership import check_worker, share_home
from appliance.users import WORKER, default_lane, default_worker, find_barrier

TOKEN = '[[token]]\nname = "t"\nmodule = "m.so"\nlabel = "l"\npin_env = "PIN"\n'  # noqa: S105 - a table of the file


def be(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Have this process be taken for a user's."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def load(home: Path, text: str) -> Config:
    """Read a home that holds nothing but its file."""
    (home / "appliance.toml").write_text(text + TOKEN)
    return load_config(home)


def test_whoever_is_not_root_is_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary account cannot give its processes other users: none is chosen, nothing is given away, the doctor warns."""
    be(monkeypatch, 1000)
    assert (default_worker(tmp_path), default_lane(tmp_path)) == (None, None)
    config = load(tmp_path, "")
    before = tmp_path.stat()
    share_home(config, Registry(()))
    assert tmp_path.stat() == before
    [shared] = check_users(config)
    assert (shared.level, "both uid 1000" in shared.found) == ("warning", True)


def test_user_that_an_ordinary_account_cannot_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named user needs root, or to be that user already."""
    be(monkeypatch, 1000)
    with pytest.raises(ConfigurationError, match="started as root, or as uid 1001"):
        check_worker(load(tmp_path, '[api]\nuser = "1001"\n'))
    check_worker(load(tmp_path, '[api]\nuser = "1000"\n'))


def test_root_in_a_closed_directory_stays_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory that keeps workers from being another user is named, by the doctor too, and outweighs a lane of its own."""
    be(monkeypatch, 0)
    home = tmp_path / "closed" / "home"
    home.mkdir(parents=True)
    home.parent.chmod(0o700)
    barrier = find_barrier(WORKER, home)
    assert barrier is not None
    assert barrier in home.parents
    assert default_worker(home) is None
    [shared] = check_users(load(home, ""))
    assert f"workers stay root, because {barrier} is closed to uid {WORKER.uid}" in shared.found
    with pytest.raises(ConfigurationError, match="is closed to it"):
        check_worker(load(home, '[api]\nuser = "1001"\n'))


def test_root_gives_workers_a_user_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every directory on the way lets others pass, workers are nobody else's user; lanes whose PIN is no file stay root."""
    be(monkeypatch, 0)
    for module in ("users", "ownership"):
        monkeypatch.setattr(f"appliance.{module}.find_barrier", lambda *_: None)
    config = load(tmp_path, "")
    assert (config.api.user, config.tokens[0].user) == (str(WORKER.uid), None)
    [good] = check_users(config)
    assert good.level == "ok"
    named = load(tmp_path, '[api]\nuser = "1001"\n')
    assert named.api.user == "1001"
