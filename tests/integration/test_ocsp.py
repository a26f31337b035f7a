"""OCSP where a convention asks: OpenSSL's responder as the real one, and one of our own for the answers that must not count."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.operations.asking import judge_with_ocsp
from appliance.operations.judge import Question
from appliance.operations.verify import verdict_of
from tests.issuing import make_room
from tests.messages import Signing, make_vector
from tests.partners import CONTEXT, make_partner, make_provider, make_registry
from tests.pki import NOW, Holder, Pki, make_crl, make_pki, rsa_key, sign_again_with_sha1, write_pem
from tests.publisher import ENDLESS, trickle
from tests.service import wait_until


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@dataclass
class Answers:
    """What the responder answers, and how often it was asked."""

    pki: Pki
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD
    signer: Holder | None = None
    about: Holder | None = None
    begins: datetime = NOW - timedelta(minutes=5)
    ends: datetime | None = NOW + timedelta(minutes=30)
    octets: bytes | None = None
    code: int = 200
    asked: list[bytes] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def write(self) -> bytes:
        """Write the response."""
        if self.octets is not None:
            return self.octets
        issuing, signer = self.pki.issuing, self.signer or self.pki.issuing
        revoked = self.status is ocsp.OCSPCertStatus.REVOKED
        certificate = x509.load_der_x509_certificate(signer.certificate)
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                x509.load_der_x509_certificate((self.about or self.pki.leaf).certificate),
                x509.load_der_x509_certificate(issuing.certificate),
                hashes.SHA256(),
                self.status,
                self.begins,
                self.ends,
                NOW - timedelta(days=1) if revoked else None,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        )
        if signer is not issuing:
            builder = builder.certificates([certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


@contextmanager
def responder(answers: Answers) -> Iterator[str]:
    """Serve the answers on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answers.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            answers.may_answer.wait(30)
            body = answers.write()
            self.send_response(answers.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ocsp"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reason(directory: Path, pki: Pki, address: str, at: datetime = NOW) -> str:
    """Judge a vector under a convention that asks this responder."""
    registry = make_partner(directory, pki, ocsp=address)
    verdict = verdict_of(judge_with_ocsp(Question(make_vector(Signing(pki.leaf))), registry, at))
    if verdict.fault is None:
        return "accepted"
    assert verdict.fault.code == "wsse:FailedCheck"
    return verdict.fault.reason.value


def delegate(
    pki: Pki,
    *,
    may_sign: bool = True,
    issuer: Holder | None = None,
    bits: int = 2048,
    hash_name: str = "sha256",
    is_twice: bool = False,
) -> Holder:
    """A responder's certificate; one that says everything twice cannot be read."""
    issuer = issuer or pki.issuing
    key = rsa_key("responder") if bits == 2048 else rsa.generate_private_key(65537, bits)
    usage = ExtendedKeyUsageOID.OCSP_SIGNING if may_sign else ExtendedKeyUsageOID.SERVER_AUTH
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=responder,O=Tests,C=FR"))
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(issuer.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    if hash_name == "sha1":
        certificate = sign_again_with_sha1(asn1_x509.Certificate.load(certificate), issuer.key)
    if is_twice:
        stated = asn1_x509.Certificate.load(certificate)
        extensions = stated["tbs_certificate"]["extensions"]
        extensions.append(extensions[0])
        octets = stated["tbs_certificate"].dump(force=True)
        stated["signature_value"] = issuer.key.sign(octets, padding.PKCS1v15(), hashes.SHA256())
        certificate = stated.dump(force=True)
    return Holder(key, certificate, issuer)


def test_answers_that_count(pki: Pki, tmp_path: Path) -> None:
    """Good is accepted, revoked is not, unknown fails closed; signed by the CA or by whom it certified for that."""
    answers = Answers(pki)
    with responder(answers) as address:
        assert reason(tmp_path, pki, address) == "accepted"
        answers.signer = delegate(pki)
        assert reason(tmp_path, pki, address) == "accepted"
        answers.status = ocsp.OCSPCertStatus.REVOKED
        assert reason(tmp_path, pki, address) == "certificate-revoked"
        answers.status = ocsp.OCSPCertStatus.UNKNOWN
        assert reason(tmp_path, pki, address) == "revocation-unknown"


def test_answers_that_do_not_count(pki: Pki, tmp_path: Path) -> None:
    """Another signer, a certificate that is not for OCSP, has a short key or an old hash, another certificate, another time, rubbish, an error, silence."""
    stranger = make_pki("stranger")
    wrong = [
        Answers(pki, signer=stranger.issuing),
        Answers(pki, signer=delegate(pki, may_sign=False)),
        Answers(pki, signer=delegate(pki, issuer=stranger.issuing)),
        Answers(pki, signer=delegate(pki, bits=1024)),
        Answers(pki, signer=delegate(pki, hash_name="sha1")),
        Answers(pki, signer=delegate(pki, is_twice=True)),
        Answers(pki, signer=pki.leaf),
        Answers(pki, about=pki.certify_leaf("other", rsa_key("front"))),
        Answers(pki, ends=NOW - timedelta(minutes=1)),
        Answers(pki, begins=NOW + timedelta(minutes=5)),
        Answers(pki, begins=NOW - timedelta(hours=2), ends=None),
        Answers(pki, octets=b"rubbish"),
        Answers(
            pki,
            octets=ocsp.OCSPResponseBuilder.build_unsuccessful(
                ocsp.OCSPResponseStatus.TRY_LATER
            ).public_bytes(Encoding.DER),
        ),
        Answers(pki, code=503),
    ]
    for answers in wrong:
        with responder(answers) as address:
            assert reason(tmp_path, pki, address) == "revocation-unknown"
    assert reason(tmp_path, pki, address) == "revocation-unknown"


def test_answers_are_remembered_until_they_run_out(pki: Pki, tmp_path: Path) -> None:
    """One question serves many vectors; after the answer's end, and after ten seconds of silence, it is asked again."""
    answers = Answers(pki)
    with responder(answers) as address:
        registry = make_partner(tmp_path, pki, ocsp=address)

        def judged(at: datetime) -> bool:
            message = make_vector(Signing(pki.leaf))
            return judge_with_ocsp(Question(message), registry, at).accepted is not None

        assert [judged(NOW) for _ in range(3)] == [True] * 3
        assert len(answers.asked) == 1
        answers.status = ocsp.OCSPCertStatus.REVOKED
        assert judged(NOW + timedelta(minutes=29))
        answers.begins, answers.ends = NOW + timedelta(minutes=29), NOW + timedelta(hours=1)
        assert not judged(NOW + timedelta(minutes=30))
        assert len(answers.asked) == 2


def test_the_service_asks_beside_its_other_requests(pki: Pki, tmp_path: Path) -> None:
    """The route of a received vector fetches in a thread and judges again; CRLs count as before."""
    pki.write(tmp_path)
    answers = Answers(pki)

    async def run(address: str) -> list[bool]:
        convention = make_provider(tmp_path, ocsp=address, replay="off")
        async with make_room(tmp_path, {}, convention) as room:
            messages = [make_vector(Signing(pki.leaf)) for _ in range(2)]
            verdicts = [await room.verify.verify(m, CONTEXT, None, None) for m in messages]
            said = {entry.ocsp for entry in room.entries() if entry.verdict == "accepted"}
            assert said == {address}  # of the first round: the room keeps its log
            return [verdict.accepted is not None for verdict in verdicts]

    with responder(answers) as address:
        assert asyncio.run(run(address)) == [True, True]
        (tmp_path / "crl" / "2.crl").write_bytes(make_crl(pki.issuing, [pki.leaf]))
        assert asyncio.run(run(address)) == [False, False]
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    "beginning", [ENDLESS, b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
)
def test_responder_that_never_ends(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """A responder that keeps sending, ever so slowly, is given up at the one deadline, by name, and its connection closed."""
    monkeypatch.setattr("appliance.trust.ocsp._WITHIN", 0.3)
    with trickle(beginning) as (address, gone):
        assert not gone.is_set()
        assert reason(tmp_path, pki, address) == "revocation-unknown"


def test_several_slow_responders_have_one_deadline(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of an issuer's conventions may name a responder: what is waited for all of them together has its own end."""
    monkeypatch.setattr("appliance.operations.asking._WITHIN", 0.3)
    pki.write(tmp_path)
    with trickle(ENDLESS) as (first, _), trickle(ENDLESS) as (second, _):
        registry = make_registry(
            make_provider(tmp_path, id="a", ocsp=first),
            make_provider(tmp_path, id="b", ocsp=second, audience="urn:other"),
        )
        verdict = verdict_of(
            judge_with_ocsp(Question(make_vector(Signing(pki.leaf))), registry, NOW)
        )
        second_port = int(second.rpartition(":")[2].rstrip("/"))
        socket.create_connection(("127.0.0.1", second_port)).close()  # nobody came this far
    assert verdict.fault is not None
    assert verdict.fault.reason.value == "revocation-unknown"
    failed = next(check for check in verdict.checks if check.outcome == "failed")
    assert "have not all answered" in (failed.detail or "")


def test_slow_responder_holds_up_nobody_else(pki: Pki, tmp_path: Path) -> None:
    """A hundred vectors wait for a responder: each signer is asked about once, eight at a time; all other work goes on."""
    pki.write(tmp_path)
    stranger = make_pki("stranger")
    stranger.write(tmp_path / "other")
    answers = Answers(pki, octets=b"rubbish")
    answers.may_answer.clear()
    signers = [pki.certify_leaf(f"app-{at}", rsa_key("front")) for at in range(20)]

    async def run(address: str) -> tuple[list[str], int]:
        asking = make_provider(tmp_path, ocsp=address, replay="off")
        plain = make_provider(tmp_path / "other", id="plain", issuer="urn:plain", replay="off")
        async with make_room(tmp_path, {}, asking, plain) as room:
            waiting = [
                asyncio.ensure_future(room.verify.verify(message, CONTEXT, None, None))
                for message in [make_vector(Signing(each)) for each in signers] * 5
            ]
            await asyncio.to_thread(wait_until, lambda: len(answers.asked) == 8, 20, "questions")
            message = make_vector(Signing(stranger.leaf), issuer="urn:plain")
            for _ in range(3):
                assert (await room.verify.verify(message, CONTEXT, None, None)).accepted
            at_once = len(answers.asked)
            assert not any(each.done() for each in waiting)
            answers.may_answer.set()
            verdicts = await asyncio.gather(*waiting)
            return [each.fault.reason.value for each in verdicts if each.fault], at_once

    with responder(answers) as address:
        faults, at_once = asyncio.run(run(address))
    assert faults == ["revocation-unknown"] * 100
    assert at_once == 8
    assert len(answers.asked) == len(set(answers.asked)) == len(signers)


@pytest.mark.parametrize(("mark", "expected"), [("V", "accepted"), ("R", "certificate-revoked")])
def test_openssls_responder(pki: Pki, tmp_path: Path, mark: str, expected: str) -> None:
    """The responder of OpenSSL, which knows nothing of us, is understood."""
    now = datetime.now(UTC)
    write_pem(tmp_path / "ca.pem", pki.issuing)
    key = pki.issuing.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(key)
    revoked = (now - timedelta(days=1)).strftime("%y%m%d%H%M%SZ") if mark == "R" else ""
    line = f"{mark}\t350101000000Z\t{revoked}\t{pki.leaf.serial:X}\tunknown\t/CN=application\n"
    (tmp_path / "index.txt").write_text(
        line.replace(f"{pki.leaf.serial:X}", _even(pki.leaf.serial))
    )
    with responder(Answers(pki)) as free:
        port = int(free.rpartition(":")[2].partition("/")[0])
    command = [
        *("openssl", "ocsp", "-index", "index.txt", "-port", str(port), "-CA", "ca.pem"),
        *("-rsigner", "ca.pem", "-rkey", "ca.key", "-nmin", "30", "-rmd", "sha256"),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until(lambda: b"waiting for" in (tmp_path / "log").read_bytes(), 20, "the responder")
        period = {"begins": now - timedelta(hours=1), "ends": now + timedelta(days=2)}
        registry = make_partner(tmp_path, pki, ocsp=f"http://127.0.0.1:{port}/")
        for at, authority in enumerate(pki.authorities):
            (tmp_path / "crl" / f"{at}.crl").write_bytes(make_crl(authority, **period))
        message = make_vector(
            Signing(pki.leaf),
            not_before=(now - timedelta(minutes=5)).isoformat(),
            not_on_or_after=(now + timedelta(hours=2)).isoformat(),
            confirmation_not_on_or_after=(now + timedelta(hours=2)).isoformat(),
        )
        verdict = verdict_of(judge_with_ocsp(Question(message), registry, now))
        found = "accepted" if verdict.fault is None else verdict.fault.reason.value
        assert found == expected, (tmp_path / "log").read_text()
    finally:
        process.terminate()
        process.wait(20)


def _even(serial: int) -> str:
    """Write a serial number as OpenSSL's index has it: whole octets."""
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"
