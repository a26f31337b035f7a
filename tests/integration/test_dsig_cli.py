"""`appliance dsig verify`, as a script meets it."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from tests.homes import CommandLine
from tests.messages import Signing, make_vector, wrap
from tests.pki import Holder, Pki, make_pki, write_pem


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture(scope="module")
def pki() -> Pki:
    """Whoever signs."""
    return make_pki("signer")


@pytest.fixture
def certificate(pki: Pki, tmp_path: Path) -> Path:
    """The signer's certificate."""
    file = tmp_path / "signer.pem"
    write_pem(file, pki.leaf)
    return file


def key_file(path: Path, spki: bytes) -> Path:
    """A public key in PEM."""
    key = load_der_public_key(spki)
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_the_verified_octets_are_the_result(
    appliance: CommandLine, pki: Pki, certificate: Path, tmp_path: Path
) -> None:
    """What is signed comes out canonical, from an envelope as from alone, by key as by certificate; what is around does not."""
    alone, enveloped = tmp_path / "alone.xml", tmp_path / "enveloped.xml"
    vector = make_vector(Signing(pki.leaf))
    alone.write_bytes(vector)
    enveloped.write_bytes(wrap(vector))
    key = key_file(tmp_path / "key.pem", pki.leaf.public_key)
    ended = appliance("dsig", "verify", "--cert", certificate, enveloped)
    assert ended.code == 0
    assert ended.stdout.startswith(b"<saml2:Assertion ")
    assert b"Signature" not in ended.stdout
    assert b"agent-0042" in ended.stdout
    assert appliance("dsig", "verify", "--key", key, alone).stdout == ended.stdout


def test_what_is_refused_prints_nothing(
    appliance: CommandLine, pki: Pki, certificate: Path, tmp_path: Path
) -> None:
    """Changed content, another key and SHA-1 without the flag end with 1, each by name."""
    file = tmp_path / "vector.xml"
    old = make_vector(Signing(pki.leaf, hash_name="sha1"))
    other: Holder = make_pki("other").leaf
    changed = make_vector(Signing(pki.leaf)).replace(b"agent-0042", b"agent-0043")
    for octets, signer, reason in (
        (changed, certificate, "digest-mismatch"),
        (make_vector(Signing(other)), certificate, "signature-invalid"),
        (old, certificate, "algorithm-not-allowed"),
        (b"<a/>", certificate, "signature-missing"),
    ):
        file.write_bytes(octets)
        ended = appliance("dsig", "verify", "--cert", signer, file)
        assert (ended.code, ended.stdout) == (1, b"")
        assert f"({reason})" in ended.stderr
    file.write_bytes(old)
    assert appliance("dsig", "verify", "--allow-sha1", "--cert", certificate, file).code == 0


def test_unusable_input_is_no_verdict(
    appliance: CommandLine, pki: Pki, certificate: Path, tmp_path: Path
) -> None:
    """A DTD, octets that are no XML, and a file that holds no key end with 2 and say which."""
    file = tmp_path / "vector.xml"
    for octets, reason in ((b"<!DOCTYPE a><a/>", "dtd-forbidden"), (b"<a>", "malformed-xml")):
        file.write_bytes(octets)
        ended = appliance("dsig", "verify", "--cert", certificate, file)
        assert (ended.code, ended.stdout) == (2, b"")
        assert f"({reason})" in ended.stderr
    file.write_bytes(make_vector(Signing(pki.leaf)))
    ended = appliance("dsig", "verify", "--key", certificate, file)
    assert ended.code == 2
    assert "expected a public key in PEM" in ended.stderr
    ended = appliance("dsig", "verify", "--cert", file, file)
    assert ended.code == 2
    assert "expected a certificate in PEM" in ended.stderr


def test_p521_and_an_enveloping_signature(
    appliance: CommandLine, corpora: Path, tmp_path: Path
) -> None:
    """The generic profile serves what vectors never have: the Object inside the Signature comes out."""
    name = "xmldsig/xmldsig11-interop-2012__signature-enveloping-p521_sha512.xml"
    cases = json.loads((corpora / "xmldsig.json").read_text())
    spki = next(case["keys"][0] for case in cases if case["file"] == name)
    key = key_file(tmp_path / "key.pem", base64.b64decode(spki))
    ended = appliance("dsig", "verify", "--key", key, corpora / name)
    assert ended.code == 0
    assert b"Object" in ended.stdout.partition(b">")[0]
