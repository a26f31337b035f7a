"""Other people's signed documents, good and bad: SAML responses of node-saml, attacks on xml-crypto and pysaml2 (`shared/corpora/SOURCES.md`).

By the generic profile, as they are, and by the profile of vectors, each assertion taken out as a document of its own. The signer's
key is pinned; all are of the time of SHA-1.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lxml import etree

from appliance import native
from appliance.native import SignatureRefused, StructureRefused, XmlRefused
from tests.jailed import UNPROVABLE
from tests.messages import DS
from tests.wrapping import SAML

ENCRYPTED = {
    "response.root-signed.assertion-unsigned-encrypted.xml",
    "response.root-signed.assertion-invalidly-signed-encrypted.xml",
}
NEVER = {
    "pysaml2__signed-assertion-with-hmac.xml": "algorithm-not-allowed",
    "pysaml2__signed-response-with-hmac.xml": "algorithm-not-allowed",
    "xml-crypto__id_with_quotes.xml": "signature-profile",
    "xml-crypto__invalid_saml_no_signed_info.xml": "signature-profile",
    "xml-crypto__saml_multiple_signed_info_nodes.xml": "signature-profile",
    "xml-crypto__saml_wrapped_signed_info_node.xml": "signature-profile",
    "xml-crypto__valid_saml_signature_wrapping.xml": "several-signatures",
    "xml-crypto__valid_saml_with_digest_comment.xml": "signature-profile",
}
GENUINE_INSIDE = "xml-crypto__invalid_saml_no_signed_info.xml"
"""Its response is attacked; the assertion in it is genuine, and holds by itself with its own signer's key."""
FOREIGN_CERTIFICATE = "pysaml2__signed-assertion-random-embedded-cert.xml"


@pytest.fixture(scope="module")
def pinned(corpora: Path) -> bytes:
    """The key of the signer of node-saml's responses."""
    return spki((corpora / "saml" / "cert.pem").read_bytes())


def spki(pem: bytes) -> bytes:
    """The key of a certificate as DER SubjectPublicKeyInfo."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def generic(octets: bytes, key: bytes) -> bytes | str:
    """The verified octets, or the reason of the refusal."""
    try:
        return native.verify_signature(octets, key, allow_sha1=True)
    except (SignatureRefused, XmlRefused) as exc:
        return exc.reason


def as_vectors(octets: bytes, key: bytes) -> dict[str, bytes | str]:
    """Every assertion with an ID of its own, by the profile of vectors: what is signed, or the reason of the refusal."""
    verdicts: dict[str, bytes | str] = {}
    for element in etree.fromstring(octets).iter(f"{{{SAML}}}Assertion"):
        assertion_id = element.get("ID", "")
        try:
            received = native.locate(native.c14n(octets, id=assertion_id)).assertion
            assert received is not None
            claim = received.signature_claim()
            verified = claim.verify(lambda _: key, allow_sha1=True)
            verdicts[assertion_id] = verified.octets
        except (SignatureRefused, StructureRefused) as exc:
            verdicts[assertion_id] = exc.reason
        except ValueError:  # of two elements with one ID none is canonicalized
            verdicts[assertion_id] = "duplicate-id"
    return verdicts


def files(corpora: Path, folder: str) -> list[Path]:
    """The responses of one folder."""
    return sorted(corpora.glob(f"saml/{folder}/*.xml"))


def test_valid_responses_hold(corpora: Path, pinned: bytes) -> None:
    """A response is accepted for exactly the element that its outermost signature names, without that signature."""
    valid = files(corpora, "valid")
    assert len(valid) == 16
    for file in valid:
        octets = file.read_bytes()
        if file.name in ENCRYPTED:
            with pytest.raises(SignatureRefused, match="EncryptedAssertion"):
                native.verify_signature(octets, pinned, allow_sha1=True)
            continue
        verified = generic(octets, pinned)
        assert isinstance(verified, bytes), (file.name, verified)
        signed = "Assertion" if "root-unsigned" in file.name else "Response"
        root = etree.fromstring(verified)
        assert etree.QName(root).localname == signed, file.name
        assert root.find(f"{{{DS}}}Signature") is None, file.name


def test_invalid_responses_do_not(corpora: Path, pinned: bytes) -> None:
    """Changed, re-signed by somebody else, unsigned, with two roots, with a transform too many: refused, each for its reason."""
    invalid = files(corpora, "invalid")
    assert len(invalid) == 20
    reasons = {file.name: generic(file.read_bytes(), pinned) for file in invalid}
    assert set(reasons.values()) <= {
        *("digest-mismatch", "signature-invalid", "signature-missing", "signature-profile"),
        "malformed-xml",
    }
    assert reasons["response.root-signed.multiple-root-elements.xml"] == "malformed-xml"
    for name, reason in reasons.items():
        if "transforms" in name or name in ENCRYPTED:
            assert reason == "signature-profile", name
        elif "root-unsigned.assertion-unsigned" in name:
            assert reason == "signature-missing", name
        elif "attacker" in name:
            assert reason == "signature-invalid", name


def test_responses_are_no_vectors(corpora: Path) -> None:
    """A response as it is yields no assertion: nobody looks for one in it."""
    for file in [*files(corpora, "valid"), *corpora.glob("attacks/[px]*.xml")]:
        message = native.locate(file.read_bytes())
        assert (message.kind, message.assertion) == ("other", None), file.name


def test_assertions_of_valid_responses(corpora: Path, pinned: bytes) -> None:
    """Taken out, an assertion holds by its own signature or by none; what a response signs says nothing of its parts."""
    accepted = {}
    for file in files(corpora, "valid"):
        verdicts = as_vectors(file.read_bytes(), pinned)
        accepted[file.name] = [one for one in verdicts.values() if isinstance(one, bytes)]
        reasons = {one for one in verdicts.values() if isinstance(one, str)}
        assert reasons <= {"signature-missing", "certificate-missing"}, file.name
        assert all(b"Signature" not in one for one in accepted[file.name]), file.name
    holding = {name for name, found in accepted.items() if found}
    assert holding == {
        "response.root-signed.assertion-signed.1advice-unsigned.xml",
        "response.root-signed.assertion-signed.2advice-unsigned.xml",
        "response.root-signed.assertion-signed.xml",
        "response.root-unsigned.assertion-signed.1advice-unsigned.xml",
        "response.root-unsigned.assertion-signed.xml",
    }


def test_assertions_of_invalid_responses(corpora: Path, pinned: bytes) -> None:
    """Taken out of a response that is invalid, none holds."""
    for file in files(corpora, "invalid"):
        if "multiple-root" not in file.name:
            verdicts = as_vectors(file.read_bytes(), pinned)
            assert not [one for one in verdicts.values() if isinstance(one, bytes)], file.name


def test_attacks_on_others(corpora: Path, pinned: bytes) -> None:
    """Two SignedInfo, one wrapped, none, a comment in DigestValue, quotes in an ID, HMAC: refused, whatever key is pinned."""
    for name, reason in NEVER.items():
        octets = (corpora / "attacks" / name).read_bytes()
        for key in {pinned, embedded_key(octets) or pinned}:
            assert generic(octets, key) == reason, name
            verdicts = as_vectors(octets, key)
            is_signed = any(isinstance(one, bytes) for one in verdicts.values())
            assert not is_signed or (name, key) == (GENUINE_INSIDE, embedded_key(octets)), name


def embedded_key(octets: bytes) -> bytes | None:
    """The key of the certificate in a document; None where it is no certificate (two of the attacks embed a private key)."""
    encoded = etree.fromstring(octets).findtext(f".//{{{DS}}}X509Certificate") or ""
    try:
        return spki(f"-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n".encode())
    except ValueError:
        return None


def test_an_embedded_certificate_is_not_the_signer(corpora: Path, pinned: bytes) -> None:
    """A certificate beside a signature that another key made is never the key: not by itself, and not for another pin."""
    octets = (corpora / "attacks" / FOREIGN_CERTIFICATE).read_bytes()
    for key in (pinned, embedded_key(octets)):
        assert key is not None
        assert generic(octets, key) == "signature-invalid"
        assert set(as_vectors(octets, key).values()) == {"signature-invalid"}


def run_python(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run Python in the project's folder; where the kernel cannot lock it in, the test is skipped with that reason.

    Its coverage is not measured: that would open a file at the end, and the jail kills whoever does.
    """
    environment = {name: v for name, v in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    if UNPROVABLE in done.stderr:
        pytest.skip(UNPROVABLE)
    return done


def test_no_specimen_reaches_out(corpora: Path, pinned: bytes, tmp_path: Path) -> None:
    """All of them by every door, where the kernel kills whoever opens a file, makes a socket, starts a process, takes memory or time."""
    key = tmp_path / "key"
    key.write_bytes(pinned)
    documents = [*corpora.glob("attacks/*.xml"), *corpora.glob("saml/*/*.xml")]
    done = run_python("-m", "tests.jailed", key, *documents)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert len(done.stdout.splitlines()) == len(documents) == 65


@pytest.mark.parametrize("reach", ["open('/dev/null')", "socket.socket()", "os.fork()"])
def test_the_jail_is_locked(reach: str) -> None:
    """Whoever reaches out after locking in is killed by the kernel: the test above can fail."""
    code = f"import os, socket\nfrom tests.jailed import lock_in\nlock_in()\nos.getpid()\n{reach}"
    assert run_python("-c", code).returncode == -signal.SIGSYS
