"""A Java stack accepts what we put into SOAP messages and sign of them, STR-Transform included, and enforces the Basic Security Profile."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance import native
from tests.messages import SOAP
from tests.native_signing import Suite
from tests.pki import Holder, certify, ec_key, rsa_key
from tests.wss4j import Wss4j

pytestmark = [pytest.mark.java, pytest.mark.slow]

START = datetime.now(UTC)
PERIOD = {"begins": START - timedelta(days=1), "ends": START + timedelta(days=1)}
ROOT = certify("root", rsa_key("java root"), None, is_ca=True, **PERIOD)
MESSAGES = {
    "prefixed": '<s:Envelope xmlns:s="{soap}" xmlns:x="urn:x"><s:Header/><s:Body><v t="x:q"/></s:Body></s:Envelope>',
    "default": '<?xml version="1.0"?>\n<Envelope xmlns="{soap}">\n <Body>é<a xmlns=""/></Body></Envelope>',
    "declared": '<s:Envelope xmlns:s="{soap}" xmlns="urn:d"><s:Header><h/></s:Header><s:Body><b/></s:Body></s:Envelope>',
}
ALL = ("timestamp", "body", "assertion")


def instant(minutes: int) -> str:
    """An xs:dateTime so many minutes from now; WSS4J has no other clock than the machine's."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def leaf(key: object) -> Holder:
    """An application's key under the root."""
    return certify("application", key, ROOT, **PERIOD)  # type: ignore[arg-type]  # keys of every kind


SUITES = {
    "rsa": Suite(leaf(rsa_key("java")), "rsa"),
    "pss": Suite(leaf(rsa_key("java")), "pss", "sha384", "sha512"),
    "p256": Suite(leaf(ec_key("java")), "ecdsa"),
    "p384": Suite(leaf(ec.generate_private_key(ec.SECP384R1())), "ecdsa", "sha384", "sha384"),
}


def issue(suite: Suite, variant: str = "A") -> native.SignedAssertion:
    """A vector that holds now."""
    return suite.issue(
        variant,
        name_id="agent <é>",
        issue_instant=instant(0),
        authn_instant=instant(0),
        not_before=instant(-5),
        not_on_or_after=instant(5),
    )


def header(suite: Suite, **fields: object) -> native.SecurityHeader:
    """A header with a Timestamp that holds now."""
    stamped = {"timestamp": (instant(0), instant(4))} | fields
    return native.SecurityHeader(issue(suite), **stamped)  # type: ignore[arg-type]  # overrides of a builder


def test_wss4j_accepts_every_signed_message(wss4j: Wss4j, tmp_path: Path) -> None:
    """Every algorithm family, SOAP version and way of naming: all three parts are covered; with any of them changed it is refused."""
    secured = [
        suite.secure(message.format(soap=soap).encode(), header(suite), ALL).octets
        for suite in SUITES.values()
        for message in MESSAGES.values()
        for soap in SOAP.values()
    ]
    [expires] = re.findall(rb"<wsu:Expires>[^<]+", secured[0])
    changes = [(b't="x:q"', b't="x:r"'), (b"agent", b"agend"), (expires, expires[:-1] + b"0Z")]
    changed = [secured[0].replace(one, other) for one, other in changes]
    verdicts = wss4j.judge(ROOT.certificate, secured + changed, tmp_path)
    assert verdicts[: len(secured)] == ["accepted Timestamp Body Assertion vector"] * len(secured)
    assert [verdict.split()[0] for verdict in verdicts[len(secured) :]] == ["refused"] * len(
        changes
    )


def test_wss4j_reads_a_header_without_message_signature(wss4j: Wss4j, tmp_path: Path) -> None:
    """The vector with the standard reference or none; with an untrusted signer it is refused."""
    suite = SUITES["rsa"]
    message = MESSAGES["prefixed"].format(soap=SOAP["1.1"]).encode()
    stranger = Suite(certify("stranger", rsa_key("java stranger"), None, **PERIOD), "rsa")
    secured = [
        native.insert_header(message, header(signer, reference=reference)).octets
        for signer, reference in ((suite, "standard"), (suite, "none"), (stranger, "none"))
    ]
    *verdicts, last = wss4j.judge(ROOT.certificate, secured, tmp_path)
    assert verdicts == ["accepted vector"] * 2
    assert last.startswith("refused ")
