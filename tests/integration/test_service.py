"""The running service as its users meet it: issue, refuse, verify, trace, ready, metrics, reload, drain."""

import hashlib
import signal
from pathlib import Path

import pytest
import xmlsec
from lxml import etree

from tests.homes import copy_home
from tests.logs import entries_of_home
from tests.service import RunningService, serve, wait_until

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


def validates_elsewhere(assertion: bytes, certificate: Path) -> bool:
    """Whether libxmlsec accepts the assertion's signature with the pinned certificate."""
    root = etree.fromstring(assertion)
    signature = xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(certificate), xmlsec.constants.KeyDataFormatCertPem)
    try:
        context.verify(signature)
    except xmlsec.VerificationError:
        return False
    return True


def leaf_certificate(home: Path, directory: Path) -> Path:
    """The signer's certificate alone, as a file."""
    chain = (home / "pki" / "demo-rsa.pem").read_text()
    end = "-----END CERTIFICATE-----\n"
    leaf = directory / "leaf.pem"
    leaf.write_text(chain[: chain.index(end) + len(end)])
    return leaf


def test_issued_vector_validates_with_another_implementation(
    service: RunningService, tmp_path: Path
) -> None:
    """A vector asked for over HTTP is what the answer says, and libxmlsec accepts it."""
    answer = service.issue()
    assert answer.status == 200
    vector = answer.json
    root = etree.fromstring(vector["assertion"].encode())
    assert root.tag == f"{SAML}Assertion"
    assert root.get("ID") == vector["id"]
    assert root.findtext(f"{SAML}Issuer") == vector["issuer"]
    assert root.findtext(f".//{SAML}NameID") == "agent-0042"
    assert root.findtext(f".//{SAML}AttributeValue") == "PAGM_CONSULTATION"
    certificate = leaf_certificate(service.home, tmp_path)
    assert validates_elsewhere(vector["assertion"].encode(), certificate)
    altered = vector["assertion"].replace("agent-0042", "agent-0043").encode()
    assert not validates_elsewhere(altered, certificate)


def test_verdicts(service: RunningService) -> None:
    """What we issue we accept with every check passed; altered, unsigned and foreign ones get their fault."""
    assertion = service.issue().json["assertion"]
    accepted = service.verify(assertion.encode()).json
    assert accepted["verdict"] == "accepted"
    assert accepted["convention"] == "demo-provider"
    assert accepted["vector"]["subject"] == "agent-0042"
    altered = service.verify(assertion.replace("agent-0042", "agent-0043").encode()).json
    assert altered["verdict"] == "refused"
    assert altered["fault"]["code"] == "wsse:FailedCheck"
    assert {check["outcome"] for check in altered["checks"]} == {"passed", "failed", "not-run"}
    start, end = assertion.index("<ds:Signature"), assertion.index("</ds:Signature>")
    unsigned = assertion[:start] + assertion[end + len("</ds:Signature>") :]
    assert service.verify(unsigned.encode()).json["fault"]["code"] == "wsse:FailedCheck"
    elsewhere = service.verify(assertion.encode(), "?service=http://elsewhere.example/")
    assert elsewhere.json["fault"]["code"] == "vi:InvalidService"


def test_convention_forbids_before_anything_is_signed(service: RunningService) -> None:
    """A PAGM that was not granted is refused by name, and the refusal is traced."""
    answer = service.issue(pagms=["PAGM_ADMINISTRATION"])
    assert answer.status == 403
    error = answer.json["error"]
    assert error["reason"] == "pagm-not-granted"
    assert "PAGM_ADMINISTRATION" in error["detail"]
    refused = [
        stored.entry
        for stored in entries_of_home(service.home)
        if stored.entry.request_id == error["request_id"]
    ]
    assert [(entry.event, entry.reason) for entry in refused] == [
        ("request-refused", "pagm-not-granted")
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"authn_instant": "hier"}, "authn-instant-invalid"),
        ({"subject": "agent\x00"}, "subject-invalid"),
        ({"subject": "x" * 257}, "subject-invalid"),
        ({"pagms": ["PAGM_GESTION", "PAGM_GESTION"]}, "pagm-repeated"),
    ],
)
def test_what_no_convention_could_allow_is_malformed(
    service: RunningService, fields: dict[str, object], reason: str
) -> None:
    """A value that is wrong whatever the convention is the caller's 400, not the convention's 403; it is traced all the same."""
    answer = service.issue(**fields)
    assert (answer.status, answer.json["error"]["reason"]) == (400, reason)
    request_id = answer.json["error"]["request_id"]
    entries = [stored.entry for stored in entries_of_home(service.home)]
    assert [each.reason for each in entries if each.request_id == request_id] == [reason]


def test_every_answer_is_traced_before_it_leaves(service: RunningService) -> None:
    """The receipt in an answer leads to an entry that states the vector and the digest of its octets."""
    vector = service.issue(subject="agent-é<&>").json
    receipt = vector["trace"]
    entry = next(
        stored.entry
        for stored in entries_of_home(service.home)
        if (stored.log, stored.index) == (receipt["log"], receipt["index"])
    )
    assert entry.assertion_id == vector["id"]
    assert entry.subject == "agent-é<&>"
    assert entry.assertion_sha256 == hashlib.sha256(vector["assertion"].encode()).hexdigest()
    verdict = service.verify(vector["assertion"].encode()).json
    assert verdict["trace"]["index"] == receipt["index"] + 1


def test_batch_keeps_order_and_harms_nobody(service: RunningService) -> None:
    """One bad request in a batch is refused in its place; the others are vectors."""
    good = {"convention": "demo-client", "pagms": ["PAGM_GESTION"]}
    requests = [good, good | {"pagms": ["NOPE"]}, {"convention": 3}, good]
    results = service.request("POST", "/v1/vectors/batch", {"requests": requests}).json["results"]
    assert [next(iter(result)) for result in results] == ["vector", "error", "error", "vector"]
    assert results[1]["error"]["reason"] == "pagm-not-granted"
    assert results[2]["error"]["reason"] == "malformed-json"
    assert results[0]["vector"]["id"] != results[3]["vector"]["id"]


def test_ready_means_that_keys_sign(service: RunningService) -> None:
    """`/readyz` says ready, and its probe is a real signature that the metrics count."""
    assert service.request("GET", "/readyz").status == 200
    assert service.request("GET", "/healthz").status == 200
    metrics = service.request("GET", "/metrics").body.decode()
    for name in (
        "appliance_signatures_total",
        "appliance_lanes_up",
        "appliance_spool_commit_seconds",
    ):
        assert name in metrics


def test_reload_takes_all_conventions_or_none(demo_home: Path, tmp_path: Path) -> None:
    """SIGHUP with a broken convention changes nothing; with a right one every worker takes it."""
    home = copy_home(demo_home, tmp_path)
    convention = home / "conventions" / "demo-client.toml"
    text = convention.read_text()
    with serve(home) as running:
        assert running.issue(pagms=["PAGM_NEW"]).status == 403
        convention.write_text(text + "\nunknown_key = 1\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: "reload-refused" in running.errors.read_text(), 20, "the reload to be refused"
        )
        assert running.issue().status == 200
        convention.write_text(text.replace('"PAGM_GESTION"', '"PAGM_GESTION", "PAGM_NEW"'))
        running.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: running.issue(pagms=["PAGM_NEW"]).status == 200, 20, "the new convention"
        )


def test_sigterm_drains_and_leaves_nothing_behind(demo_home: Path, tmp_path: Path) -> None:
    """SIGTERM ends the service with exit code 0; its children are gone and its socket is removed."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running:
        assert running.issue().status == 200
        children = [*running.children("worker"), *running.children("hsm.lane")]
        assert len(children) == 3
        assert running.stop() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert not (home / "run" / "api.sock").exists()


def test_a_second_service_on_the_same_home_is_refused(service: RunningService) -> None:
    """A home is served once: the second `serve` says so and exits 2."""
    with pytest.raises(AssertionError, match="no other `appliance serve`"), serve(service.home):
        pass
