"""`appliance verify` and `appliance c14n`, as a script meets them."""

import io
import re
import sys
from pathlib import Path

import pytest
from lxml import etree

from appliance.operations.checks import OF_ENVELOPE, checks_of
from tests.homes import CommandLine
from tests.messages import AUDIENCE, EXCLUSIVE, ISSUER, Signing, make_vector, wrap
from tests.partners import write_provider
from tests.pki import Pki, make_pki

AT = ("--at", "2026-03-02T11:00:00+01:00")
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
INCLUSIVE_11 = "http://www.w3.org/2006/12/xml-c14n11"
DOCUMENT = (
    b'<?xml version="1.0"?>\n<!-- before --><a:r xmlns:b="urn:b" xmlns:a="urn:a" z="1" a:y="2"><!--in-->'
    b'<a:e ID="x1"  b="1"/>\r\n<f xmlns="urn:f" Id="x2">t &gt; &#xD;</f></a:r>'
)


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def home(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a strict and a legacy provider convention; no token, no key, no service."""
    home = tmp_path_factory.mktemp("home")
    pki.write(home / "pki" / "partner")
    make_pki("legacy", "sha1", 4096).write(home / "pki" / "legacy")
    (home / "appliance.toml").touch()
    write_provider(home, "partner", "pki/partner")
    write_provider(
        home,
        "legacy",
        "pki/legacy",
        audience='"http://legacy.example"',
        id_style='"uuid"',
        **{"signature.sha1": '"legacy"'},
    )
    return home


@pytest.fixture
def vector(pki: Pki, tmp_path: Path) -> Path:
    """A vector in a file."""
    file = tmp_path / "vector.xml"
    file.write_bytes(make_vector(Signing(pki.leaf), name_id="agent\x85\u202e <é>"))
    return file


def test_accepted(appliance: CommandLine, home: Path, vector: Path) -> None:
    """Exit 0; the verdict, the main facts, every check passed but those that nobody asked for; and that it leaves no trace."""
    ended = appliance("verify", "--home", home, *AT, vector)
    assert ended.code == 0
    text = ended.stdout.decode()
    assert text.startswith("accepted\n  convention  partner\n")
    assert f"  issuer      {ISSUER}\n" in text
    assert "\x85" not in text
    assert "\u202e" not in text
    open_ = {"lifetime", "name-id-format", "signer-name", "tls-peer", "message-signature", "replay"}
    for check in checks_of(None, OF_ENVELOPE | open_):
        assert f"  {check.outcome:<7} {check.name}\n" in f"{text}\n"
    assert "no trace" in ended.stderr
    assert not (home / "spool").exists()


def test_accepted_as_json(appliance: CommandLine, home: Path, vector: Path) -> None:
    """`--json` prints what the API answers, without a trace."""
    ended = appliance("verify", "--home", home, *AT, "--json", vector)
    assert ended.code == 0
    [verdict] = ended.lines
    assert (verdict["verdict"], verdict["convention"]) == ("accepted", "partner")
    assert verdict["vector"]["issuer"] == ISSUER
    assert verdict["vector"]["pagms"] == ["PAGM_CONSULTATION"]
    assert "trace" not in verdict


def test_refused(appliance: CommandLine, home: Path, vector: Path) -> None:
    """Exit 1; the fault, its French sentence, the failed check with what was found, and those that did not run."""
    vector.write_bytes(vector.read_bytes().replace(b"PAGM_CONSULTATION", b"PAGM_GESTION"))
    ended = appliance("verify", "--home", home, *AT, vector)
    assert ended.code == 1
    text = ended.stdout.decode()
    assert text.startswith("refused wsse:FailedCheck\n  reason      digest-mismatch\n")
    assert "La signature ou le chiffrement n'est pas valide" in text
    assert "  passed  certificate-path\n" in text
    assert "  failed  digest: " in text
    assert "  not-run pagm-known" in text


def test_refused_as_json(appliance: CommandLine, home: Path, vector: Path) -> None:
    """The fault as the API states it, with the checks."""
    ended = appliance(
        "verify", "--home", home, *AT, "--json", "--service", "http://elsewhere", vector
    )
    assert ended.code == 1
    [verdict] = ended.lines
    assert verdict["verdict"] == "refused"
    assert verdict["fault"] == {
        "code": "vi:InvalidService",
        "namespace": "urn:iops:vi:faultcodes",
        "reason": "audience-mismatch",
        "string": "Le service visé par le VI n'existe pas ou est invalide",
    }
    outcomes = {check["name"]: check["outcome"] for check in verdict["checks"]}
    assert outcomes["signature-value"] == "passed"
    assert outcomes["audience"] == "failed"
    assert outcomes["issuer"] == "not-run"


def test_legacy_soap_message_from_stdin(
    appliance: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A production-like message: variant B in SOAP, RSA-4096, SHA-1 throughout, judged at its own time."""
    legacy = make_pki("legacy", "sha1", 4096)
    message = wrap(
        make_vector(Signing(legacy.leaf, "B", "sha1"), audiences=("http://legacy.example",))
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(message)))
    ended = appliance("verify", "--home", home, *AT, "--convention", "legacy", "-")
    assert ended.code == 0, ended.stdout
    assert b"(legacy)" in ended.stdout


def test_now_is_the_default(appliance: CommandLine, home: Path, vector: Path) -> None:
    """Without `--at` the machine's clock decides; CRLs of another time are of no use."""
    ended = appliance("verify", "--home", home, vector)
    assert ended.code == 1
    assert b"wsse:FailedCheck" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--convention", "nobody"), "no convention `nobody`"),
        (("--at", "2026-03-02T10:00:00"), "time zone"),
    ],
)
def test_wrong_usage(
    appliance: CommandLine, home: Path, vector: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 2 and a sentence, and no verdict."""
    ended = appliance("verify", "--home", home, *arguments, vector)
    assert (ended.code, ended.stdout) == (2, b"")
    assert said in ended.stderr


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "malformed-xml"),
        (b"not xml", "malformed-xml"),
        (b"<!DOCTYPE a><a/>", "dtd-forbidden"),
        (b" " * (10 * 1024**2 + 1), "body-too-large"),
    ],
    ids=["empty", "text", "dtd", "large"],
)
def test_unusable_input(
    appliance: CommandLine, home: Path, tmp_path: Path, octets: bytes, said: str
) -> None:
    """What cannot be read is exit 2, for both commands alike."""
    file = tmp_path / "input"
    file.write_bytes(octets)
    ended = appliance("verify", "--home", home, *AT, file)
    assert (ended.code, ended.stdout) == (2, b"")
    assert said in ended.stderr
    assert appliance("verify", "--home", home, *AT, tmp_path / "absent").code == 2


def test_a_home_without_provider_conventions(
    appliance: CommandLine, vector: Path, tmp_path: Path
) -> None:
    """There is nothing to verify against: exit 2, and the sentence says what to add."""
    (tmp_path / "appliance.toml").touch()
    ended = appliance("verify", "--home", tmp_path, vector)
    assert (ended.code, ended.stdout) == (2, b"")
    assert "no provider convention" in ended.stderr


def test_a_broken_convention_is_named(
    appliance: CommandLine, pki: Pki, vector: Path, tmp_path: Path
) -> None:
    """A convention that cannot be loaded is exit 2, with its file."""
    (tmp_path / "appliance.toml").touch()
    write_provider(tmp_path, "partner", "pki/partner")
    ended = appliance("verify", "--home", tmp_path, vector)
    assert ended.code == 2
    assert "root.pem" in ended.stderr
    pki.write(tmp_path / "pki" / "partner")
    assert appliance("verify", "--home", tmp_path, *AT, vector).code == 0


@pytest.mark.parametrize("with_comments", [False, True])
@pytest.mark.parametrize("algorithm", [None, EXCLUSIVE, INCLUSIVE, INCLUSIVE_11])
def test_c14n_equals_libxml2(
    appliance: CommandLine, tmp_path: Path, algorithm: str | None, *, with_comments: bool
) -> None:
    """The octets on stdout are libxml2's, for each algorithm, with and without comments, by flag or by URI."""
    file = tmp_path / "document.xml"
    file.write_bytes(DOCUMENT)
    expected = etree.tostring(
        etree.fromstring(DOCUMENT).getroottree(),
        method="c14n",
        exclusive=algorithm not in {INCLUSIVE, INCLUSIVE_11},
        with_comments=with_comments,
    )
    chosen = () if algorithm is None else ("--algorithm", algorithm)
    flags = ("--with-comments",) if with_comments else ()
    assert appliance("c14n", *chosen, *flags, file).stdout == expected
    if with_comments and algorithm is not None:
        named = f"{algorithm.removesuffix('#')}#WithComments"
        assert appliance("c14n", "--algorithm", named, file).stdout == expected


def test_c14n_of_one_element(appliance: CommandLine, tmp_path: Path) -> None:
    """`--id` finds any kind of ID; `--inclusive-prefixes` keeps a namespace that is not visibly used."""
    file = tmp_path / "document.xml"
    file.write_bytes(DOCUMENT)
    assert appliance("c14n", "--id", "x1", file).stdout == (
        b'<a:e xmlns:a="urn:a" ID="x1" b="1"></a:e>'
    )
    kept = appliance("c14n", "--id", "x1", "--inclusive-prefixes", "b c", file)
    assert kept.stdout == b'<a:e xmlns:a="urn:a" xmlns:b="urn:b" ID="x1" b="1"></a:e>'
    assert appliance("c14n", "--id", "x2", file).stdout == (
        b'<f xmlns="urn:f" Id="x2">t &gt; &#xD;</f>'
    )
    file.write_bytes(b'<a xml:id="n" xml:base="b/"><c Id="x" xml:base="../d"/></a>')
    version_1_0 = appliance("c14n", "--id", "x", "--algorithm", INCLUSIVE, file)
    assert version_1_0.stdout == b'<c Id="x" xml:base="../d" xml:id="n"></c>'
    version_1_1 = appliance("c14n", "--id", "x", "--algorithm", INCLUSIVE_11, file)
    assert version_1_1.stdout == b'<c Id="x" xml:base="d"></c>'


@pytest.mark.parametrize(
    ("document", "arguments", "said"),
    [
        (b"<a/>", ("--id", "x"), "x"),
        (b'<a ID="x"><b Id="x"/></a>', ("--id", "x"), "x"),
        (b"<a/>", ("--algorithm", "urn:other"), EXCLUSIVE),
        (b"<a/>", ("--algorithm", INCLUSIVE, "--inclusive-prefixes", "a"), "leave it out"),
        (b"<a>", (), "malformed-xml"),
        (b"<!DOCTYPE a><a/>", (), "dtd-forbidden"),
    ],
    ids=["no-id", "duplicate-id", "algorithm", "prefixes", "malformed", "dtd"],
)
def test_c14n_refuses(
    appliance: CommandLine,
    tmp_path: Path,
    document: bytes,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """No such ID, one that stands twice, an unknown algorithm (the choices are listed), unreadable input: exit 2, no octets."""
    file = tmp_path / "document.xml"
    file.write_bytes(document)
    ended = appliance("c14n", *arguments, file)
    assert (ended.code, ended.stdout) == (2, b"")
    assert said in ended.stderr
    assert re.fullmatch(r"error: .+ \([a-z0-9-]+\)\n", ended.stderr)


def test_c14n_reads_stdin(appliance: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'<a b="2" a="1"/>')))
    assert appliance("c14n", "-").stdout == b'<a a="1" b="2"></a>'


def test_audience_of_the_contract(appliance: CommandLine, home: Path, vector: Path) -> None:
    """The service that was really called is accepted too."""
    assert appliance("verify", "--home", home, *AT, "--service", AUDIENCE, vector).code == 0
