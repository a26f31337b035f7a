"""`appliance issue`, with a running service and without one: the same vector, the same refusals, the same exit codes."""

import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from appliance.cli import issue
from tests.homes import CommandLine, copy_home, edit
from tests.logs import entries_of_home
from tests.service import RunningService

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

GOOD = ("--convention", "demo-client", "--subject", "agent-0042", "--pagm", "PAGM_GESTION")
NAME_ID = ".//{urn:oasis:names:tc:SAML:2.0:assertion}NameID"


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture(scope="module")
def idle_home(demo_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo home that no service runs on."""
    return copy_home(demo_home, tmp_path_factory.mktemp("idle"))


@pytest.fixture(params=["service", "own lane"])
def home(request: pytest.FixtureRequest) -> Path:
    """A home where vectors are issued by a running service, or by the command itself."""
    if request.param == "own lane":
        return request.getfixturevalue("idle_home")
    service: RunningService = request.getfixturevalue("service")
    return service.home


def test_octets(appliance: CommandLine, home: Path) -> None:
    """Stdout holds the assertion and one line end, nothing else; the vector states what was asked."""
    ended = appliance("issue", "--home", home, *GOOD)
    assert ended.code == 0
    assert ended.stdout.startswith(b"<saml2:Assertion ")
    assert ended.stdout.endswith(b"</saml2:Assertion>\n")
    assert etree.fromstring(ended.stdout).findtext(NAME_ID) == "agent-0042"


def test_large_log_is_announced(
    appliance: CommandLine, idle_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits because the log `cli` is read whole first is told so, and told of no smaller one."""
    assert "its checkpoint first" not in appliance("issue", "--home", idle_home, *GOOD).stderr
    monkeypatch.setattr(issue, "_LARGE", 1)
    ended = appliance("issue", "--home", idle_home, *GOOD)
    assert ended.code == 0
    assert re.search(r"log cli.6y.[0-9]{4}: its [0-9]+ entries are held against", ended.stderr)


def test_json_and_trace(appliance: CommandLine, home: Path) -> None:
    """--json is the answer of the API, and its receipt leads to the entry in the trace."""
    (vector,) = appliance("issue", "--home", home, *GOOD, "--json").lines
    assert vector["convention"] == "demo-client"
    assert vector["pagms"] == ["PAGM_GESTION"]
    assert vector["assertion"].startswith("<saml2:Assertion ")
    receipt = vector["trace"]
    (stored,) = [
        stored
        for stored in entries_of_home(home)
        if (stored.log, stored.index) == (receipt["log"], receipt["index"])
    ]
    assert stored.entry.assertion_id == vector["id"]
    assert stored.entry.subject == "agent-0042"


def test_for_the_application_itself(appliance: CommandLine, home: Path) -> None:
    """Without --subject the NameID is the convention's literal."""
    ended = appliance(
        "issue", "--home", home, "--convention", "demo-client", "--pagm", "PAGM_GESTION"
    )
    assert etree.fromstring(ended.stdout).findtext(NAME_ID) == "NON_RENSEIGNE"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--convention", "demo-client", "--pagm", "PAGM_ROOT"), "pagm-not-granted"),
        (("--convention", "demo-client"), "pagm-missing"),
        ((*GOOD, "--level", "urn:guess"), "level-not-granted"),
    ],
    ids=["pagm", "no pagm", "level"],
)
def test_refused(
    appliance: CommandLine, home: Path, arguments: tuple[str, ...], reason: str
) -> None:
    """What the convention forbids ends with 1, the reason and a sentence on stderr, and an empty stdout."""
    ended = appliance("issue", "--home", home, *arguments)
    assert ended.code == 1
    assert ended.stdout == b""
    assert f"({reason})" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--convention", "nobody", "--pagm", "P"), "convention-unknown"),
        (("--convention", "demo-provider", "--pagm", "PAGM_GESTION"), "convention-role"),
        ((*GOOD, "--pagm", "PAGM_GESTION"), "pagm-repeated"),
    ],
    ids=["unknown", "role", "pagm twice"],
)
def test_unusable(
    appliance: CommandLine, home: Path, arguments: tuple[str, ...], reason: str
) -> None:
    """What no client convention of the home could answer ends with 2, as it does for `verify`: the command itself is wrong."""
    ended = appliance("issue", "--home", home, *arguments)
    assert (ended.code, ended.stdout) == (2, b"")
    assert f"({reason})" in ended.stderr


def test_own_lane_says_so(appliance: CommandLine, idle_home: Path) -> None:
    """Without a service the command says that it signs itself, and writes to the log `cli`."""
    ended = appliance("issue", "--home", idle_home, *GOOD, "--json")
    assert "no service" in ended.stderr
    assert ended.lines[0]["trace"]["log"] == f"cli.6y.{datetime.now(UTC).year}"


def test_no_token_is_unavailable(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """Without the token the command ends with 3 and names token, cause and next step."""
    home = copy_home(demo_home, tmp_path)
    edit(home / "appliance.toml", "interops-demo", "absent")
    ended = appliance("issue", "--home", home, *GOOD)
    assert ended.code == 3
    assert ended.stdout == b""
    assert "TOKEN_NOT_FOUND" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_service_that_stopped(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """The socket a killed service left behind does not keep the command from signing itself."""
    home = copy_home(demo_home, tmp_path)
    (home / "run").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(home / "run" / "api.sock"))
    assert appliance("issue", "--home", home, *GOOD).code == 0
