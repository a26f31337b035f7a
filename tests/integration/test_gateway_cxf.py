"""Applications of a Java stack, with no InterOPS code of their own, talk through two appliances: Apache CXF, over SOAP 1.1 and 1.2."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cxf import Cxf, cxf  # noqa: F401 - a fixture
from tests.gateway_homes import events, make_home
from tests.homes import edit
from tests.service import RunningService, serve, wait_until
from tests.tls_peers import Organisation, free_port

pytestmark = [pytest.mark.hsm, pytest.mark.java, pytest.mark.slow]

CLIENT = """
[[partner]]
name = "fournisseur"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{inbound}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"

[[outbound]]
name = "applications"
listen = "127.0.0.1:{outbound}"
callers_by_address = {{ "127.0.0.1/32" = "portail" }}

[[outbound.route]]
path = "/droits"
convention = "demo-client"
partner = "fournisseur"
subject = "header"
roles_header = "X-Roles"

[[outbound.route]]
path = "/droits12"
convention = "demo-client"
partner = "fournisseur"
subject = "header"
roles_header = "X-Roles"

[[outbound.route]]
path = "/application"
target = "/droits"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/elsewhere"
convention = "demo-client"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]
"""
PROVIDER = """
[[partner]]
name = "client"
roots = ["{ours.root}"]
crl_directory = "{ours.crls}"

[[inbound]]
name = "partners"
listen = "127.0.0.1:{inbound}"
certificates = "{front[0]}"
private_key = "{front[1]}"
partners = ["client"]

[[inbound.route]]
path = "/droits"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/droits"

[[inbound.route]]
path = "/droits12"
service = "http://service.demo.example/droits"
forward = "http://127.0.0.1:{backend}/app/droits12"

[[inbound.route]]
path = "/elsewhere"
service = "http://service.demo.example/elsewhere"
forward = "http://127.0.0.1:{backend}/app/droits"
"""
ROLES = '\n[roles]\nconseiller = ["PAGM_CONSULTATION"]\n'
USER = {"X-Subject": "agent-0042", "X-Roles": "conseiller"}


@dataclass(frozen=True)
class Exchange:
    """Both applications with both appliances between them."""

    cxf: Cxf
    client: RunningService
    provider: RunningService
    port: int

    def call(
        self,
        path: str,
        *calls: tuple[str, str],
        soap: str = "11",
        headers: dict[str, str] | None = None,
    ) -> list[str]:
        """Have the client's application call the provider's."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return self.cxf.call(url, *calls, soap=soap, headers=headers or {})


@pytest.fixture(scope="module")
def exchange(
    cxf: Cxf,  # noqa: F811 - the fixture
    demo_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Exchange]:
    """Everything runs: four processes of two organisations."""
    directory = tmp_path_factory.mktemp("cxf")
    ours, theirs = Organisation(directory / "ours", "ours"), Organisation(directory / "b", "theirs")
    with cxf.provider() as backend:
        facts = {
            "ours": ours,
            "theirs": theirs,
            "client": ours.certify("client"),
            "front": theirs.certify("front"),
            "backend": backend,
            "outbound": free_port(),
            "inbound": free_port(),
        }
        (directory / "a").mkdir()
        (directory / "p").mkdir()
        a = make_home(demo_home, directory / "a", CLIENT.format(**facts))
        b = make_home(demo_home, directory / "p", PROVIDER.format(**facts))
        provided = (b / "conventions" / "demo-provider.toml").read_text()
        other = provided.replace("service.demo.example/droits", "service.demo.example/elsewhere")
        (b / "conventions" / "elsewhere.toml").write_text(other)
        convention = a / "conventions" / "demo-client.toml"
        edit(convention, "# allowed = false", "allowed = true")
        edit(convention, '# replay = "log"', 'replay = "off"')
        with convention.open("a") as file:
            file.write(ROLES)
        with serve(a) as client, serve(b) as provider:
            yield Exchange(cxf, client, provider, int(facts["outbound"]))


@pytest.mark.parametrize(("soap", "path"), [("11", "/droits"), ("12", "/droits12")])
def test_a_user_of_a_portal(exchange: Exchange, soap: str, path: str) -> None:
    """The provider's application learns who asks from fields that its appliance sets."""
    [said] = exchange.call(path, ("consulter", "155081416802538"), soap=soap, headers=USER)
    assert said.startswith("answer AMO 2026 pour 155081416802538 ")
    assert "x-interops-subject=[agent-0042]" in said
    assert "x-interops-pagm=[PAGM_CONSULTATION]" in said
    assert "x-interops-issuer=[urn:interops:73282932000074:idp:demo:1]" in said


def test_an_application_without_a_user(exchange: Exchange) -> None:
    """The vector is the application's own: a profile, no subject."""
    [said] = exchange.call("/application", ("consulter", "1"))
    assert "x-interops-pagm=[PAGM_GESTION]" in said
    assert "x-interops-subject" not in said


def test_one_vector_for_several_calls(exchange: Exchange) -> None:
    """Calls that state the same get the same vector; both traces name it, and the provider's names each call."""
    headers = {**USER, "X-Subject": "agent-0100"}
    said = exchange.call("/droits", *[("consulter", "1")] * 3, headers=headers)
    ids = {each.partition("x-interops-assertion=[")[2].partition("]")[0] for each in said}
    assert len(ids) == 1
    [assertion] = ids

    def received() -> int:
        entries = events(exchange.provider.home, "received")
        return len([entry for entry in entries if entry.assertion_id == assertion])

    wait_until(lambda: received() == 3, 10, "three entries of the provider")
    created = events(exchange.client.home, "created")
    assert [entry.subject for entry in created if entry.assertion_id == assertion] == ["agent-0100"]


@pytest.mark.parametrize(("soap", "path"), [("11", "/droits"), ("12", "/droits12")])
def test_attachments_pass(exchange: Exchange, soap: str, path: str) -> None:
    """MTOM attachments, small and far larger than what is held, arrive and come back octet for octet."""
    calls = ("deposer", "1000"), ("deposer", str(5 * 1024**2))
    assert exchange.call(path, *calls, soap=soap, headers=USER) == ["answer same"] * 2


def test_the_application_s_own_fault_is_not_ours(exchange: Exchange) -> None:
    """A fault that the provider's application raises comes back as it raised it."""
    [said] = exchange.call("/droits", ("echouer", "dossier clos"), headers=USER)
    assert said == "fault {http://schemas.xmlsoap.org/soap/envelope/}Server dossier clos"


def test_a_refusal_on_our_side_is_readable(exchange: Exchange) -> None:
    """A role that the convention does not know: the client's application reads a fault, and nothing was signed."""
    [said] = exchange.call(
        "/droits", ("consulter", "1"), headers={"X-Subject": "agent-7", "X-Roles": "directeur"}
    )
    assert said.startswith("fault {http://schemas.xmlsoap.org/soap/envelope/}Client ")
    assert "directeur" in said
    assert not [e for e in events(exchange.client.home, "created") if e.subject == "agent-7"]


def test_a_refusal_on_the_other_side_is_readable(exchange: Exchange) -> None:
    """A vector for another service: the standard's fault crosses both appliances."""
    [said] = exchange.call("/elsewhere", ("consulter", "1"))
    assert said.startswith("fault {urn:iops:vi:faultcodes}InvalidService ")
