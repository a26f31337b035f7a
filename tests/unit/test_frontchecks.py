"""Routes against conventions, and the certificates we show: said before anything is served."""

from pathlib import Path

import pytest

from tests.gateway_homes import make_home
from tests.homes import CommandLine
from tests.tls_peers import Organisation

pytestmark = pytest.mark.slow

PARTNER = """
[[partner]]
name = "b"
roots = ["{side.root}"]
crl_directory = "{side.crls}"
endpoints = ["https://localhost:1"]
client_certificates = "{front[0]}"
client_key = "{front[1]}"
"""
OUTBOUND = """
[[outbound]]
name = "out"
listen = "127.0.0.1:8450"

[[outbound.route]]
path = "/a"
convention = "{convention}"
partner = "b"
{more}
"""
INBOUND = """
[[inbound]]
name = "in"
listen = "127.0.0.1:8443"
certificates = "{front[0]}"
private_key = "{front[1]}"
partners = ["b"]

[[inbound.route]]
path = "/a"
forward = "http://127.0.0.1:9000/"
{more}
"""


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    """An organisation with a front."""
    return Organisation(tmp_path_factory.mktemp("side"), "side")


@pytest.mark.parametrize(
    "case",
    [
        (OUTBOUND, "demo-client", "", None),
        (OUTBOUND, "demo-provider", "", "outbound[0].route[0].convention"),
        (OUTBOUND, "none", "", "outbound[0].route[0].convention"),
        (OUTBOUND, "demo-client", 'pagms = ["PAGM_AUTRE"]', "outbound[0].route[0].pagms"),
        (OUTBOUND, "demo-client", 'roles = ["chef"]', "outbound[0].route[0].roles"),
        (OUTBOUND, "demo-client", 'roles_header = "X-Role"', "outbound[0].route[0].roles_header"),
        (INBOUND, "", 'convention = "demo-provider"', None),
        (INBOUND, "", 'convention = "demo-client"', "inbound[0].route[0].convention"),
        (INBOUND, "", 'service = "http://nowhere.example/"', "inbound[0].route[0].service"),
        (INBOUND, "", 'identity = "jwt"\njwt_audience = "a"\njwt_key = "pki/root.pem"', "root.pem"),
    ],
)
def test_a_route_fits_its_convention(
    demo_home: Path,
    tmp_path: Path,
    side: Organisation,
    capfdbinary: pytest.CaptureFixture[bytes],
    case: tuple[str, str, str, str | None],
) -> None:
    """`doctor` and the start refuse it with file, key and what was expected."""
    table, convention, more, says = case
    front = side.certify("front")
    text = (PARTNER + table).format(side=side, front=front, convention=convention, more=more)
    home = make_home(demo_home, tmp_path, text)
    ended = CommandLine(capfdbinary)("doctor", "--home", home, "--json")
    wrong = [
        f"{line['where']}: {line['found']}" for line in ended.lines if line["level"] == "error"
    ]
    assert (wrong == []) == (says is None), wrong
    assert all((says or "") in each for each in wrong)


def test_a_partner_without_a_current_crl_is_named(
    demo_home: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Its vectors and connections would all be refused."""
    side = Organisation(tmp_path / "side", "side")
    (side.crls / "root.crl").unlink()
    text = PARTNER.format(side=side, front=side.certify("front"))
    home = make_home(demo_home, tmp_path, text)
    ended = CommandLine(capfdbinary)("doctor", "--home", home, "--json")
    assert [line["check"] for line in ended.lines if line["level"] == "error"] == [
        "CRLs of partner b"
    ]
