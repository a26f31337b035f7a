"""Applications of a Java stack, with no InterOPS code of their own, talk through two appliances: Apache CXF, over SOAP 1.1 and 1.2."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.operations.faults import WSSE_NAMESPACE
from appliance.trace.record import TraceEntry
from tests.cxf import Cxf, CxfClient, cxf  # noqa: F401 - a fixture
from tests.gateway_homes import events, make_home
from tests.homes import edit
from tests.service import RunningService, serve, wait_until
from tests.tls_peers import Organisation, Partner, free_port, running_partner, write_answer

pytestmark = [pytest.mark.hsm, pytest.mark.java, pytest.mark.slow]

CLIENT = """
[[partner]]
name = "fournisseur"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{inbound}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"

[[partner]]
name = "absent"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{dead}"]

[[partner]]
name = "other"
roots = ["{theirs.root}"]
crl_directory = "{theirs.crls}"
endpoints = ["https://localhost:{other}"]
client_certificates = "{client[0]}"
client_key = "{client[1]}"
answer = "500ms"

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

[[outbound.route]]
path = "/absent"
convention = "demo-client"
partner = "absent"
pagms = ["PAGM_GESTION"]

[[outbound.route]]
path = "/other"
convention = "demo-client"
partner = "other"
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
CLIENT_FAULT = """
[[outbound.route]]
path = "/{name}"
convention = "{name}"
partner = "fournisseur"
pagms = ["PAGM_GESTION"]
"""
PROVIDER_FAULT = """
[[inbound.route]]
path = "/{name}"
service = "http://service.demo.example/{name}"
forward = "http://127.0.0.1:{backend}/app/droits"
"""
VI, WSSE = "{urn:iops:vi:faultcodes}", f"{{{WSSE_NAMESPACE}}}"
FAULTS = {
    "issuer": ('issuer = "', 'issuer = "urn:another:', f"{VI}InvalidIssuer"),
    "lifetime": ('maximum_lifetime = "24h"', 'maximum_lifetime = "61s"', f"{VI}InvalidVI"),
    "level": ("classes:Password", "classes:X509", f"{VI}InvalidAuthLevel"),
    "pagm": ('"PAGM_CONSULTATION", "PAGM_GESTION"', '"PAGM_AUTRE"', f"{VI}InvalidPagm"),
    "peer": ("[trust]", '[trust]\ntls_peers = ["CN=autre,C=FR"]', f"{WSSE}FailedCheck"),
}
"""What the provider's convention of a service says otherwise than the client's, and the fault that the standard has for it."""
ROLES = '\n[roles]\nconseiller = ["PAGM_CONSULTATION"]\n'
USER = {"X-Subject": "agent-0042", "X-Roles": "conseiller"}


@dataclass(frozen=True)
class Exchange:
    """Both applications with both appliances between them, and a partner beside that answers as a test says."""

    cxf: CxfClient
    other: Partner
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
    front = theirs.certify("front")
    with (
        cxf.provider() as backend,
        cxf.client() as application,
        running_partner(lambda _: None, front, ours.root) as other,
    ):
        facts = {
            "ours": ours,
            "theirs": theirs,
            "client": ours.certify("client"),
            "front": front,
            "backend": backend,
            "other": other.port,
            "dead": free_port(),
            "outbound": free_port(),
            "inbound": free_port(),
        }
        (directory / "a").mkdir()
        (directory / "p").mkdir()
        ways = [CLIENT.format(**facts), PROVIDER.format(**facts)]
        for name in FAULTS:
            ways[0] += CLIENT_FAULT.format(name=name)
            ways[1] += PROVIDER_FAULT.format(name=name, backend=backend)
        a, b = (make_home(demo_home, directory / d, way) for d, way in zip("ap", ways, strict=True))
        disagree(a / "conventions", b / "conventions")
        provided = (b / "conventions" / "demo-provider.toml").read_text()
        elsewhere = provided.replace("demo.example/droits", "demo.example/elsewhere")
        (b / "conventions" / "elsewhere.toml").write_text(elsewhere)
        convention = a / "conventions" / "demo-client.toml"
        edit(convention, "# allowed = false", "allowed = true")
        edit(convention, '# replay = "log"', 'replay = "off"')
        with convention.open("a") as file:
            file.write(ROLES)
        with serve(a) as client, serve(b) as provider:
            yield Exchange(application, other, client, provider, int(facts["outbound"]))


def disagree(ours: Path, theirs: Path) -> None:
    """Give both sides conventions of further services, in each of which the provider's says something else."""
    client, provider = (ours / "demo-client.toml"), (theirs / "demo-provider.toml")
    for name, (old, new, _) in FAULTS.items():
        for source, target in ((client, ours), (provider, theirs)):
            text = source.read_text().replace("demo.example/droits", f"demo.example/{name}")
            (target / f"{name}.toml").write_text(text)
        edit(theirs / f"{name}.toml", old, new)


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


def test_a_vector_for_another_service_is_refused_readably(exchange: Exchange) -> None:
    """The standard's fault crosses both appliances."""
    [said] = exchange.call("/elsewhere", ("consulter", "1"))
    assert said.startswith("fault {urn:iops:vi:faultcodes}InvalidService ")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_readable_and_traced_on_both_sides(exchange: Exchange, name: str) -> None:
    """The client's application reads code and sentence; both traces name the vector and say that it was refused."""
    code = FAULTS[name][2]
    [said] = exchange.call(f"/{name}", ("consulter", "1"))
    assert said.startswith(f"fault {code} "), said
    [created] = [e for e in events(exchange.client.home, "created") if e.convention == name]

    def traced(side: RunningService, event: str) -> list[TraceEntry]:
        join = created.issuer, created.assertion_id
        return [e for e in events(side.home, event) if (e.issuer, e.assertion_id) == join]

    wait_until(lambda: bool(traced(exchange.client, "answered")), 10, "the client's entry")
    [received], [answered] = (
        traced(exchange.provider, "received"),
        traced(exchange.client, "answered"),
    )
    assert (received.verdict, answered.status) == ("refused", 500)
    assert (received.fault or "").partition(":")[2] == code.partition("}")[2]


HALF = (
    b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body>"
    b"<d:consulterResponse xmlns:d='http://service.demo.example/droits/v2'><droits>"
)
SERVER = "fault {http://schemas.xmlsoap.org/soap/envelope/}Server "


@pytest.mark.parametrize(
    ("path", "answer", "said", "reason"),
    [
        ("/absent", None, "no connection to `absent`", "partner-unreachable"),
        ("/other", b"", "nothing came for 0.5 s", "partner-timeout"),
        ("/other", None, "the connection ended before the answer did", "partner-failed"),
    ],
    ids=["down", "slow", "closes"],
)
def test_a_partner_that_fails_is_named(
    exchange: Exchange, path: str, answer: bytes | None, said: str, reason: str
) -> None:
    """Down, slow, or gone without an answer: the client's application reads what happened to whom, and the trace says why."""
    exchange.other.answer, before = (lambda _: answer), _reasons(exchange)
    [read] = exchange.call(path, ("consulter", "1"))
    assert read.startswith(SERVER)
    assert said in read
    wait_until(lambda: _reasons(exchange) == [*before, reason], 10, f"the entry of {reason}")


def test_half_an_answer_of_a_partner_is_none(exchange: Exchange) -> None:
    """It closes in the middle: the client's application has an error of its connection, never half a document."""
    exchange.other.answer = lambda _: write_answer(HALF + b"x" * 500_000)[:-1000]
    exchange.other.hangs_up, before = True, _reasons(exchange)
    try:
        [read] = exchange.call("/other", ("consulter", "1"))
    finally:
        exchange.other.hangs_up = False
    assert read.startswith("error ")
    wait_until(lambda: _reasons(exchange) == [*before, "partner-failed"], 10, "the entry")


def _reasons(exchange: Exchange) -> list[str | None]:
    """Why nothing was answered, as the client's trace has it, of every message so far that had no status."""
    return [e.reason for e in events(exchange.client.home, "answered") if e.status is None]


def test_a_rolled_key_changes_nothing_for_applications(exchange: Exchange) -> None:
    """From a reload on another key signs; calls go on, the provider is told nothing, and both traces name the new vectors."""
    convention = exchange.client.home / "conventions" / "demo-client.toml"
    edit(convention, 'key = "demo-rsa"', 'key = "demo-ec"')
    edit(convention, '# algorithm = "rsa-sha256"', 'algorithm = "ecdsa-sha256"')
    os.kill(exchange.client.process.pid, signal.SIGHUP)

    def is_rolled() -> bool:
        [said] = exchange.call("/droits", ("consulter", "1"), headers=USER)
        assert said.startswith("answer ")
        return events(exchange.client.home, "created")[-1].key == "demo-ec"

    wait_until(is_rolled, 20, "the other key to sign")
    created = events(exchange.client.home, "created")[-1]
    received = events(exchange.provider.home, "received")
    verdicts = {e.verdict for e in received if e.assertion_id == created.assertion_id}
    assert verdicts == {"accepted"}
