"""Started as root: what lanes remember outlives the name of a token and the user of its lanes (DESIGN invariant 9)."""

import os
import re
import shutil
from pathlib import Path

import pytest

from appliance.users import LANE
from hsm.errors import HsmError
from hsm.heads import SignedHead, read_heads
from hsm.memory import directory_of, read_memory
from hsm.user import User, own_directory
from hsm.wire import CheckpointFrame, Hello, write_frame
from tests.homes import CommandLine
from tests.lane_peer import Peer
from tests.service import serve
from tests.shim import Shim, put_behind_shim
from tests.softhsm import write_pin

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

SECOND = User(64011, 64011)


@pytest.fixture
def home(home_of_two_users: Path) -> Path:
    """A demo home that other users can get to."""
    return home_of_two_users


@pytest.fixture
def shim(home: Path) -> Shim:
    """A shim before its token, for the lanes' user and the next."""
    shim = put_behind_shim(home)
    (home / "shim").chmod(0o666)
    return shim


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


def spoil_pin(home: Path) -> None:
    """Write a wrong PIN, for the lanes' user to read."""
    pin = write_pin(home / "secrets" / "pin", "000000")
    os.chown(pin, LANE.uid, LANE.gid)


def rename_token(home: Path, old: str, new: str) -> None:
    """Call the [[token]] otherwise, wherever it is referred to."""
    file = home / "appliance.toml"
    text = file.read_text()
    text, names = re.subn(
        rf'^name = "{old}"$', f'name = "{new}"', text, count=1, flags=re.MULTILINE
    )
    text, uses = re.subn(rf'^(token.*)"{old}"', rf'\1"{new}"', text, flags=re.MULTILINE)
    assert (names, uses > 0) == (1, True)
    file.write_text(text)


def give_token(home: Path, user: User) -> None:
    """Change the lanes' user the documented way: the PIN file's owner, and what the module needs."""
    for each in (home / "token", *(home / "token").rglob("*"), home / "secrets" / "pin"):
        os.chown(each, user.uid, user.gid)


def logins(shim: Shim) -> int:
    """How often C_Login was called, by any process."""
    return shim.count("C_Login", "entered")


def test_refused_pin_outlives_the_tokens_name(
    home: Path, shim: Shim, appliance: CommandLine
) -> None:
    """A PIN refused to one [[token]] is offered neither under its new name nor by a second [[token]]; `resume` knows the new name."""
    spoil_pin(home)
    asked = logins(shim)
    appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked + 1
    rename_token(home, "demo", "other")
    said = appliance("hsm", "list", "--home", home)
    assert "resume --token other" in said.stderr
    text = (home / "appliance.toml").read_text()
    [table] = re.findall(r"^\[\[token\]\]\n.*?(?=^\[\[)", text, re.MULTILINE | re.DOTALL)
    second = table.replace('name = "other"', 'name = "second"')
    (home / "appliance.toml").write_text(text.replace(table, second + "\n" + table))
    appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked + 1
    (home / "appliance.toml").write_text(text)
    assert appliance("hsm", "resume", "--home", home, "--token", "other").code == 0
    appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked + 2


def test_refused_pin_of_an_older_home_still_binds(
    home: Path, shim: Shim, appliance: CommandLine
) -> None:
    """A record in `run/token-NAME/`, where older versions kept it, is taken over, and `resume` forgets it there too."""
    spoil_pin(home)
    appliance("hsm", "list", "--home", home)
    asked = logins(shim)
    old = home / "run" / "token-earlier"
    directory_of(home / "run", LANE.uid).rename(old)
    [record] = old.glob("pin-refused-*.json")
    record.rename(old / "pin-refused-demo.json")
    appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked
    appliance("hsm", "resume", "--home", home, "--token", "demo")
    appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked + 1


def test_last_checkpoint_outlives_name_and_user(home: Path) -> None:
    """Under a new name of the token, and another user, the audit key signs nothing that does not extend what it signed last."""
    with serve(home) as running:
        assert running.issue().status == 200
    signed = heads_of(home, LANE)
    assert signed
    rename_token(home, "demo", "other")
    for user in (LANE, SECOND):
        give_token(home, user)
        with serve(home):
            peer = Peer(directory_of(home / "run", user.uid) / "lane-other-0.sock")
            assert isinstance(peer.receive(), Hello)
            for head in signed:
                forged = CheckpointFrame(head.origin, head.size + 9, bytes(32), 0, [])
                peer.channel.sendall(write_frame(forged))
                assert peer.receive().code == "CHECKPOINT_NOT_LAST"
            peer.channel.close()
    after = {head.origin: head.size for head in heads_of(home, SECOND)}
    assert all(after[head.origin] >= head.size for head in signed)


def heads_of(home: Path, user: User) -> list[SignedHead]:
    """What the lanes of a user remember to have signed."""
    return read_heads(directory_of(home / "run", user.uid) / "checkpoints")


def test_lanes_change_their_user_and_back(home: Path, shim: Shim, appliance: CommandLine) -> None:
    """The PIN file's owner may change after use, and back: tokens open, and what was refused meanwhile stays refused."""
    for user in (LANE, SECOND, LANE):
        give_token(home, user)
        assert appliance("hsm", "list", "--home", home).code == 0
    spoil_pin(home)
    asked = logins(shim)
    for user in (LANE, SECOND, LANE):
        give_token(home, user)
        appliance("hsm", "list", "--home", home)
    assert logins(shim) == asked + 1


def test_state_that_lanes_cannot_use_is_named(home: Path, appliance: CommandLine) -> None:
    """What keeps the lanes from their memory is a finding with a next step, and no traceback."""
    appliance("hsm", "list", "--home", home)
    directory = directory_of(home / "run", LANE.uid)
    [lock] = directory.glob("hsm-open-*.lock")
    lock.unlink()
    lock.mkdir()
    said = appliance("hsm", "list", "--home", home)
    assert (said.code, "STATE_UNUSABLE" in said.stderr) == (3, True)
    assert "Traceback" not in said.stderr


def test_files_of_a_directory_go_to_its_user(home: Path) -> None:
    """What is given to a user is what is in his directory, and not what a link there leads to."""
    directory = directory_of(home / "run", SECOND.uid)
    (home / "run").mkdir(exist_ok=True)
    own_directory(directory, LANE)
    (directory / "mine").touch()
    (directory / "link").symlink_to(home / "appliance.toml")
    os.link(home / "appliance.toml", directory / "hard")
    own_directory(directory, SECOND)
    assert (directory / "mine").stat().st_uid == SECOND.uid
    assert (home / "appliance.toml").stat().st_uid == 0


def test_memory_that_cannot_be_read_opens_nothing(home: Path) -> None:
    """A record that is damaged is named: it could be the one that forbids to ask the token."""
    other = directory_of(home / "run", SECOND.uid)
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir(parents=True)
    (other / "pin-refused-0.json").write_text("{")
    with pytest.raises(HsmError, match="STATE_UNUSABLE"):
        read_memory(directory_of(home / "run", LANE.uid))
