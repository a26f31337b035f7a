"""What the shapes of DOMAIN 11 leave out: white space, signers that are not fit to sign, and what the trace says of a legacy vector."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from appliance.trace.record import TraceEntry
from tests.issuing import make_room
from tests.messages import AUDIENCE, ISSUER, LEVEL, RECIPIENT, Signing, make_vector
from tests.partners import CONTEXT, make_partner, make_provider
from tests.pki import NOW, Holder, Pki, certify, make_crl, make_pki, rsa_key

WHITE = (" ", "\n   ", "\t", "\r\n", "\n\t \r\n")
FAILED_CHECK = "wsse:FailedCheck"


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A convention that takes both variants."""
    directory = tmp_path_factory.mktemp("partner")
    return make_partner(directory, pki, variants=frozenset({"A", "B"}), unknown_pagms="refuse")


def decide(octets: bytes, registry: Registry) -> Verdict:
    """Judge a message."""
    return verdict_of(judge(Question(octets), registry, NOW))


@pytest.mark.parametrize("white", WHITE, ids=repr)
@pytest.mark.parametrize("variant", ["A", "B"])
def test_white_space_that_is_trimmed(
    pki: Pki, registry: Registry, variant: str, white: str
) -> None:
    """Around Issuer, level and PAGM, at both ends, in either variant; what comes out has none of it."""
    message = make_vector(
        Signing(pki.leaf, variant),
        issuer=f"{white}{ISSUER}{white}",
        level=f"{white}{LEVEL}{white}",
        pagms=(f"{white}PAGM_CONSULTATION{white}", f"PAGM_GESTION{white}"),
    )
    accepted = decide(message, registry).accepted
    assert accepted is not None
    vector = accepted.vector
    assert (vector.issuer, vector.level) == (ISSUER, LEVEL)
    assert accepted.pagms == vector.pagms == ("PAGM_CONSULTATION", "PAGM_GESTION")


@pytest.mark.parametrize("white", WHITE, ids=repr)
@pytest.mark.parametrize("variant", ["A", "B"])
def test_white_space_that_counts(pki: Pki, registry: Registry, variant: str, white: str) -> None:
    """Audience and Recipient are compared as they are, NameID is passed on as it is; inside a value it always counts."""
    signing = Signing(pki.leaf, variant)
    for fields, reason in (
        ({"audiences": (f"{AUDIENCE}{white}",)}, "audience-mismatch"),
        ({"recipient": f"{RECIPIENT} "}, "recipient-mismatch"),
        ({"issuer": ISSUER.replace(":", f":{white}", 1)}, "issuer-unknown"),
        ({"level": LEVEL.replace(":", f":{white}", 1)}, "level-mismatch"),
        ({"pagms": (f"PAGM{white}_CONSULTATION",)}, "pagm-unknown"),
        ({"pagms": (white,)}, "pagm-absent"),
    ):
        fault = decide(make_vector(signing, **fields), registry).fault
        assert fault is not None
        assert fault.reason.value == reason
    named = decide(make_vector(signing, name_id=f"agent{white}"), registry).accepted
    assert named is not None
    assert named.vector.name_id == f"agent{white}".replace("\r\n", "\n")  # XML 1.0, 2.11


def huge(pki: Pki) -> Holder:
    """A certified key of 8200 bits; whose factors nobody knows, so another one signs in its name."""
    key = rsa.RSAPublicNumbers(65537, (1 << 8200) + 1).public_key()
    issuer = pki.issuing
    builder = x509.CertificateBuilder(
        issuer.name, issuer.name, key, 7, NOW - timedelta(days=1), NOW + timedelta(days=1)
    )
    certificate = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
    return Holder(rsa_key("front"), certificate, issuer)


def under_leaf(pki: Pki) -> Holder:
    """A certificate that a signer issued, who is no CA."""
    return certify("child", rsa_key("front"), pki.leaf)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(huge, "certificate-invalid", id="more than 8192 bits"),
        pytest.param(
            lambda pki: pki.certify_leaf("weak", rsa_key("weak", 1024)),
            "certificate-invalid",
            id="1024 bits",
        ),
        pytest.param(
            lambda pki: pki.certify_leaf("tls", rsa_key("front"), digital_signature=False),
            "certificate-invalid",
            id="key usage",
        ),
        pytest.param(
            lambda pki: pki.certify_leaf("old", rsa_key("front"), ends=NOW - timedelta(hours=1)),
            "certificate-not-trusted",
            id="expired",
        ),
        pytest.param(
            lambda pki: pki.certify_leaf("new", rsa_key("front"), begins=NOW + timedelta(hours=1)),
            "certificate-not-trusted",
            id="not valid yet",
        ),
        pytest.param(under_leaf, "certificate-not-trusted", id="issued by no CA"),
        pytest.param(lambda pki: pki.issuing, "certificate-invalid", id="the CA itself"),
    ],
)
def test_signer_that_is_not_fit(pki: Pki, registry: Registry, make: object, reason: str) -> None:
    """Whoever has it certified, a key that is too large to be used, too weak, out of its time or not for this signs nothing."""
    fault = decide(make_vector(Signing(make(pki))), registry).fault  # type: ignore[operator]  # of the table above
    assert fault is not None
    assert (fault.code, fault.reason.value) == (FAILED_CHECK, reason)


def trace_of(directory: Path, message: bytes, **fields: object) -> TraceEntry:
    """Have the service's route decide, and read what it traced."""

    async def run() -> TraceEntry:
        async with make_room(directory, {}, make_provider(directory, **fields)) as room:
            await room.verify.verify(message, CONTEXT, None, None)
            [entry] = room.entries()
            return entry

    return asyncio.run(run())


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_trace_flags_what_is_legacy(tmp_path: Path, hash_name: str) -> None:
    """SHA-1 that a convention takes stands in the trace, whether the signature or only the chain uses it."""
    legacy = make_pki("legacy", "sha1", 4096)
    legacy.write(tmp_path)
    entry = trace_of(
        tmp_path, make_vector(Signing(legacy.leaf, hash_name=hash_name)), allow_sha1=True
    )
    assert (entry.verdict, entry.legacy_sha1) == ("accepted", True)


def test_trace_does_not_flag_what_is_not(pki: Pki, tmp_path: Path) -> None:
    """Nor is a vector of today flagged for being accepted under a convention that would take SHA-1."""
    pki.write(tmp_path)
    entry = trace_of(tmp_path, make_vector(Signing(pki.leaf)), allow_sha1=True)
    assert (entry.verdict, entry.legacy_sha1) == ("accepted", False)


def test_trace_states_the_crls_relied_on(pki: Pki, tmp_path: Path) -> None:
    """By digest, for each CA of the path, the newest of its lists: what a later check of the decision needs."""
    pki.write(tmp_path)
    older = make_crl(pki.issuing, begins=NOW - timedelta(days=2))
    (tmp_path / "crl" / "older.crl").write_bytes(older)
    entry = trace_of(tmp_path, make_vector(Signing(pki.leaf)))
    by_issuer = {
        x509.load_der_x509_crl(file.read_bytes()).issuer: sha256(file.read_bytes()).hexdigest()
        for file in (tmp_path / "crl").glob("[012].crl")
    }
    authorities = (pki.issuing, pki.intermediate, pki.root)
    assert entry.verdict == "accepted"
    assert entry.crl_sha256 == tuple(by_issuer[authority.name] for authority in authorities)
    assert not entry.crl_in_grace
    assert entry.ocsp is None


def test_trace_says_when_a_list_was_past_its_end(pki: Pki, tmp_path: Path) -> None:
    """A grace that was used stands in the entry, with the list that it was used for."""
    pki.write(tmp_path)
    stale = make_crl(pki.issuing, ends=NOW - timedelta(hours=1))
    (tmp_path / "crl" / "2.crl").write_bytes(stale)
    entry = trace_of(tmp_path, make_vector(Signing(pki.leaf)), crl_grace=7200.0)
    assert (entry.verdict, entry.crl_in_grace) == ("accepted", True)
    assert entry.crl_sha256[0] == sha256(stale).hexdigest()


def test_trace_of_a_revoked_signer(pki: Pki, tmp_path: Path) -> None:
    """A refusal says which rule failed and whose certificate it was."""
    pki.write(tmp_path)
    (tmp_path / "crl" / "2.crl").write_bytes(make_crl(pki.issuing, [pki.leaf]))
    entry = trace_of(tmp_path, make_vector(Signing(pki.leaf)))
    assert (entry.verdict, entry.fault, entry.reason, entry.rule) == (
        *("refused", FAILED_CHECK),
        *("certificate-revoked", "certificate-path"),
    )
