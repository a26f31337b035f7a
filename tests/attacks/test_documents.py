"""Documents that attack the reader: what they would fetch is never fetched, what they would expand is never expanded.

The specimens `NN_*.xml` lie outside the project (`shared/corpora/SOURCES.md`: terminaloutcomes/saml-rs); the others are written here.
Where a document names something outside itself, that something is real: a socket that listens and a pipe that would block its reader.
"""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import native
from appliance.conventions.registry import Registry
from appliance.errors import MalformedRequest
from appliance.operations.judge import Question, judge
from appliance.operations.verify import verdict_of
from tests.messages import SOAP, WSSE, Statement, make_unsigned, wrap
from tests.partners import make_partner
from tests.pki import NOW, make_pki
from tests.service import RunningService
from tests.softhsm import wait_for

# What the reader says to each specimen; None where it is well-formed XML, though nothing that we take.
SPECIMENS = {
    "01": "dtd-forbidden",
    "02": "dtd-forbidden",
    "03": "dtd-forbidden",
    "04": "dtd-forbidden",
    "05": None,
    "06": None,
    "07": None,
    "08": None,
    "09": None,
    "10": None,
    "11": "malformed-xml",
    "12": "malformed-xml",
    "13": None,
    "14": None,
    "15": None,
    "16": None,
    "17": "malformed-xml",
    "18": "malformed-xml",
    "19": None,
    "20": "dtd-forbidden",
}
SAML = b"urn:oasis:names:tc:SAML:2.0:assertion"


@dataclass(frozen=True)
class Bait:
    """Two things that a document may try to reach.

    Attributes:
        url: of a socket that listens.
        file: a named pipe: whoever opens it to read waits for a writer that never comes.
    """

    listener: socket.socket
    file: Path

    @property
    def url(self) -> str:
        """Where the socket listens."""
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}/bait"

    def was_reached(self) -> bool:
        """Whether anybody connected, or has the pipe open."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            pass
        else:
            return True
        try:
            os.close(os.open(self.file, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # ENXIO: nobody reads
            return False
        return True


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Bait]:
    """A listening socket and a pipe without a writer."""
    file = tmp_path / "bait"
    os.mkfifo(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield Bait(listener, file)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One partner's convention."""
    return make_partner(tmp_path_factory.mktemp("partner"), make_pki("partner"))


def reason_of(octets: bytes, limits: native.Limits | None = None) -> str | None:
    """Why the reader refuses octets, the same through both doors; None where it reads them."""
    reasons = set()
    for door in (
        lambda: native.locate(octets, limits),
        lambda: native.c14n(octets, limits=limits),
    ):
        try:
            door()
            reasons.add(None)
        except native.XmlRefused as refusal:
            reasons.add(refusal.reason)
    [reason] = reasons
    return reason


def test_specimens_are_answered_as_stated(corpora: Path) -> None:
    """Each of the twenty classes is refused for its reason, or read as plain XML that holds no assertion."""
    files = sorted(corpora.glob("attacks/[0-9][0-9]_*.xml"))
    found = {file.name[:2]: reason_of(file.read_bytes()) for file in files}
    assert found == SPECIMENS
    for file in files:
        if SPECIMENS[file.name[:2]] is None:
            message = native.locate(file.read_bytes())
            assert (message.kind, message.fault, message.assertion) == ("other", None, None)


def test_specimens_are_accepted_by_nobody(corpora: Path, registry: Registry) -> None:
    """On the route of a received vector a specimen is a malformed request or an invalid token."""
    for file in corpora.glob("attacks/[0-9][0-9]_*.xml"):
        question = Question(file.read_bytes())
        if SPECIMENS[file.name[:2]] is None:
            fault = verdict_of(judge(question, registry, NOW)).fault
            assert fault is not None
            assert fault.code == "wsse:InvalidSecurityToken", file.name
        else:
            with pytest.raises(MalformedRequest):
                judge(question, registry, NOW)


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a SYSTEM "{at}"><a/>',
        '<!DOCTYPE a PUBLIC "-//X//Y" "{at}"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "{at}">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "{at}"> %x;]><a/>',
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{at}"/></a>',
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{at}" parse="text"/></a>',
        '<a xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:noNamespaceSchemaLocation="{at}"/>',
        '<?xml-stylesheet type="text/xsl" href="{at}"?><a/>',
        '<a xml:base="{at}"/>',
    ],
)
def test_nothing_outside_is_read(bait: Bait, document: str) -> None:
    """Whatever a document names, no connection is made and no file opened; what is read stays as written."""
    assert not bait.was_reached()
    for at in (bait.url, bait.file.as_uri(), str(bait.file)):
        octets = document.format(at=at).encode()
        if document.startswith("<!DOCTYPE"):
            assert reason_of(octets) == "dtd-forbidden"
        else:
            assert at.encode() in native.c14n(octets)
        assert not bait.was_reached()


def test_the_bait_would_be_noticed(bait: Bait) -> None:
    """A connection, and a reader of the pipe, are seen: the test above can fail."""
    with socket.create_connection(bait.listener.getsockname()):
        assert bait.was_reached()
    reader = threading.Thread(target=bait.file.read_bytes)
    reader.start()
    wait_for(bait.was_reached, "the reader to open the pipe")
    reader.join()


@pytest.mark.parametrize("name", ["xxe", "nbsp", "eacute", "lt2"])
def test_only_five_entities_exist(name: str) -> None:
    """A reference to any other entity is not well-formed, in text and in an attribute."""
    assert reason_of(f"<a>&{name};</a>".encode()) == "malformed-xml"
    assert reason_of(f'<a b="&{name};"/>'.encode()) == "malformed-xml"
    assert native.c14n(b'<a b="&lt;&gt;&amp;&apos;&quot;">&lt;&gt;&amp;&apos;&quot;</a>') == (
        b'<a b="&lt;>&amp;\'&quot;">&lt;&gt;&amp;\'"</a>'
    )


@pytest.mark.parametrize(
    ("at_the_bound", "beyond"),
    [
        (b"<a>" * 100 + b"</a>" * 100, b"<a>" * 101 + b"</a>" * 101),
        (
            b"<a" + b"".join(b' a%d=""' % n for n in range(256)) + b"/>",
            b"<a" + b"".join(b' a%d=""' % n for n in range(257)) + b"/>",
        ),
        (
            b"<a" + b"".join(b' xmlns:n%d="u:n"' % n for n in range(64)) + b"/>",
            b"<a" + b"".join(b' xmlns:n%d="u:n"' % n for n in range(65)) + b"/>",
        ),
        (
            b"".join(b'<a xmlns:n%d="u:n">' % n for n in range(64)) + b"</a>" * 64,
            b"".join(b'<a xmlns:n%d="u:n">' % n for n in range(65)) + b"</a>" * 65,
        ),
        (b"<" + b"a" * 4096 + b"/>", b"<" + b"a" * 4097 + b"/>"),
    ],
    ids=["depth", "attributes", "namespaces of one", "namespaces in scope", "name"],
)
def test_limits_hold_to_the_unit(at_the_bound: bytes, beyond: bytes) -> None:
    """What reaches a limit is read, what passes it by one is refused by name."""
    assert reason_of(at_the_bound) is None
    assert reason_of(beyond) == "xml-limit"


@pytest.mark.parametrize(
    ("piece", "bound"),
    [(b"<a>", 100 * 3), (b"<a b='c'>", 100 * 9), (b"<a xmlns:b='c:d'>", 100 * 17)],
)
def test_a_bomb_is_left_where_it_passes_the_limit(piece: bytes, bound: int) -> None:
    """Megabytes of nesting are refused at the octet of the first element too many, not after them."""
    with pytest.raises(native.XmlRefused) as raised:
        native.locate(piece * (8_000_000 // len(piece)))
    assert raised.value.reason == "xml-limit"
    assert raised.value.offset is not None
    assert raised.value.offset <= bound + len(piece)


def test_a_document_too_large_is_refused() -> None:
    """The limit of octets is the caller's; one more is refused."""
    octets = b"<a>" + b" " * 100 + b"</a>"
    assert reason_of(octets, native.Limits(octets=len(octets))) is None
    assert reason_of(octets, native.Limits(octets=len(octets) - 1)) == "xml-limit"


@pytest.mark.parametrize(
    "text",
    [
        b"urn:partner<!--.evil-->",
        b"urn:<![CDATA[partner]]>",
        b"urn:<?evil data?>partner",
        b"&#117;rn:partner",
    ],
)
def test_no_part_of_a_value_is_dropped(text: bytes) -> None:
    """A comment, CDATA section, instruction or reference inside a value never cuts it: all its text counts."""
    octets = b'<a:Assertion xmlns:a="%b"><a:Issuer>%b</a:Issuer></a:Assertion>' % (SAML, text)
    received = native.locate(octets).assertion
    assert received is not None
    assert received.claimed_issuer == "urn:partner"


def test_an_assertion_elsewhere_is_not_found() -> None:
    """In a SOAP message only the assertion directly in the first security header counts: not one in the Body, not one deeper."""
    assertion = make_unsigned(Statement(id="_1"))
    message = wrap(assertion)
    in_body = message.replace(assertion, b"").replace(b"<urn:Ping/>", assertion)
    deeper = message.replace(assertion, b"<wrap>" + assertion + b"</wrap>")
    twice = message.replace(assertion, assertion + assertion.replace(b"_1", b"_2"))
    beside = message.replace(b"</soapenv:Header>", assertion + b"</soapenv:Header>").replace(
        assertion, b"", 1
    )
    faults = [native.locate(octets).fault for octets in (in_body, deeper, twice, beside)]
    assert faults == [
        "assertion-missing",
        "assertion-missing",
        "several-assertions",
        "assertion-missing",
    ]
    found = native.locate(message).assertion
    assert found is not None


def test_a_namespace_decides_not_a_prefix() -> None:
    """Elements named like an envelope, a header or an assertion in another namespace are none."""
    assertion = make_unsigned(Statement(id="_1"))
    message = wrap(assertion)
    other_soap = message.replace(SOAP["1.1"].encode(), b"urn:evil")
    other_security = message.replace(WSSE.encode(), b"urn:evil")
    other_saml = message.replace(SAML, b"urn:evil")
    assert native.locate(other_soap).kind == "other"
    assert native.locate(other_security).fault == "security-header-missing"
    assert native.locate(other_saml).fault == "assertion-missing"
    assert native.locate(assertion.replace(SAML, b"urn:evil")).kind == "other"


@pytest.mark.hsm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("octets", "status", "reason"),
    [
        (b"", 400, "malformed-xml"),
        (b"<a><b></a>", 400, "malformed-xml"),
        (b"\xff\xfe<", 400, "malformed-xml"),
        (b"<a>&xxe;</a>", 400, "malformed-xml"),
        (b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", 400, "dtd-forbidden"),
        (b"<a>" * 101 + b"</a>" * 101, 400, "xml-limit"),
        (b"<a>" * 3_000_000, 400, "xml-limit"),
        (b"<a" + b"".join(b" a%d=''" % n for n in range(257)) + b"/>", 400, "xml-limit"),
        (b"<a>" + b" " * 10 * 1024 * 1024 + b"</a>", 413, "body-too-large"),
    ],
    ids=["empty", "unbalanced", "utf-16", "entity", "dtd", "depth", "bomb", "attributes", "octets"],
)
def test_the_service_refuses_by_name(
    service: RunningService, octets: bytes, status: int, reason: str
) -> None:
    """Over HTTP each of them is the contract's error, and the service goes on."""
    answer = service.verify(octets)
    assert (answer.status, answer.json["error"]["reason"]) == (status, reason)
    assert service.issue().status == 200
