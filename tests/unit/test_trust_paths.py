"""Whom a partner's trust accepts as signer, and for how long that is remembered."""

import asyncio
import itertools
import os
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.clock import SystemClock
from appliance.errors import ConfigurationError, Reason, VectorRefused
from appliance.trust.certificates import MOST_CERTIFICATES
from appliance.trust.paths import PartnerTrust, TrustSettings, load_pins
from appliance.trust.revocation import CrlDirectories
from appliance.trust.watch import CrlWatch, WatchedDirectory
from tests.pki import (
    NOW,
    Holder,
    Pki,
    certify,
    crl_pem,
    ec_key,
    make_crl,
    make_pki,
    rsa_key,
    write_pem,
)


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


def make_trust(directory: Path, **fields: object) -> PartnerTrust:
    """Load the trust that lies in `directory`."""
    values = {
        "roots": (directory / "root.pem",),
        "crl_directory": directory / "crl",
        "allow_sha1": False,
    } | fields
    return PartnerTrust(TrustSettings(**values), CrlDirectories())


def refusal(trust: PartnerTrust, chain: list[bytes], at: datetime = NOW) -> Reason:
    """The reason for which a chain is refused."""
    with pytest.raises(VectorRefused) as raised:
        trust.check(chain, at)
    return raised.value.reason


def test_chain_gives_the_signers_key(pki: Pki, tmp_path: Path) -> None:
    """A good chain gives the key of its first certificate; the message need not bring the root."""
    pki.write(tmp_path)
    trust = make_trust(tmp_path)
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key
    assert trust.check(pki.leaf.chain[:3], NOW).public_key == pki.leaf.public_key
    assert not trust.check(pki.leaf.chain, NOW).legacy_sha1


def test_der_root_and_pem_crls(pki: Pki, tmp_path: Path) -> None:
    """Roots may be DER; CRLs PEM, several in one file, under any name."""
    (tmp_path / "crl").mkdir()
    (tmp_path / "root.pem").write_bytes(pki.root.certificate)
    bundle = b"notes\n" + b"".join(crl_pem(crl) for crl in pki.crls())
    (tmp_path / "crl" / "liste").write_bytes(bundle)
    (tmp_path / "crl" / "LISEZMOI").write_text("not a CRL")
    (tmp_path / "crl" / "old").mkdir()
    trust = make_trust(tmp_path)
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key


def test_ec_signer(pki: Pki, tmp_path: Path) -> None:
    """An EC leaf under RSA CAs."""
    pki.write(tmp_path)
    signer = pki.certify_leaf("ec", ec_key("signer"))
    assert make_trust(tmp_path).check(signer.chain, NOW).public_key == signer.public_key


def test_sha1_chain_under_this_openssl(tmp_path: Path) -> None:
    """OpenSSL verifies a whole SHA-1 chain with SHA-1 CRLs where the convention allows it, and the use is flagged."""
    legacy = make_pki("legacy", "sha1", 4096)
    legacy.write(tmp_path)
    trust = make_trust(tmp_path, allow_sha1=True)
    signer = trust.check(legacy.leaf.chain, NOW)
    assert signer.public_key == legacy.leaf.public_key
    assert signer.legacy_sha1


def test_sha1_chain_is_refused_otherwise(tmp_path: Path) -> None:
    """SHA-1 certificates are refused by a convention that does not say legacy, even with CRLs of today; SHA-1 CRLs count as none."""
    legacy = make_pki("legacy", "sha1", 4096)
    legacy.write(tmp_path)
    trust = make_trust(tmp_path)
    assert refusal(trust, legacy.leaf.chain) is Reason.REVOCATION_UNKNOWN
    for at, authority in enumerate(legacy.authorities):
        (tmp_path / "crl" / f"{at}.crl").write_bytes(make_crl(authority))
    trust = make_trust(tmp_path)
    assert refusal(trust, legacy.leaf.chain) is Reason.CERTIFICATE_NOT_TRUSTED


def test_sha1_signature_of_the_root_proves_nothing(tmp_path: Path) -> None:
    """A root signed with SHA-1 is as good as any: trust in it comes from the file, not from its own signature."""
    root = certify("old", rsa_key("partner root"), None, is_ca=True, hash_name="sha1")
    leaf = certify("leaf", rsa_key("partner leaf 2048"), root)
    (tmp_path / "crl").mkdir()
    write_pem(tmp_path / "root.pem", root)
    (tmp_path / "crl" / "root").write_bytes(make_crl(root))
    assert not make_trust(tmp_path).check(leaf.chain, NOW).legacy_sha1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ends": NOW - timedelta(seconds=1)}, Reason.CERTIFICATE_NOT_TRUSTED),
        ({"begins": NOW + timedelta(seconds=1)}, Reason.CERTIFICATE_NOT_TRUSTED),
        ({"digital_signature": False}, Reason.CERTIFICATE_INVALID),
    ],
    ids=["expired", "not-yet-valid", "key-usage"],
)
def test_unfit_leaf(pki: Pki, tmp_path: Path, fields: dict[str, object], reason: Reason) -> None:
    """A leaf that has expired, is not valid yet, or is not for signatures."""
    pki.write(tmp_path)
    leaf = pki.certify_leaf("unfit", rsa_key("partner leaf 2048"), **fields)
    assert refusal(make_trust(tmp_path), leaf.chain) is reason


def test_key_sizes(pki: Pki, tmp_path: Path) -> None:
    """RSA below 2048 bits is refused, a legacy convention goes down to 1024; above 8192 bits nothing is even tried."""
    pki.write(tmp_path)
    weak = pki.certify_leaf("weak", rsa_key("weak", 1024))
    assert refusal(make_trust(tmp_path), weak.chain) is Reason.CERTIFICATE_INVALID
    legacy = make_trust(tmp_path, allow_sha1=True)
    assert legacy.check(weak.chain, NOW).public_key == weak.public_key


def test_huge_key_is_not_used(pki: Pki, tmp_path: Path) -> None:
    """A certificate with a key over 8192 bits anywhere in KeyInfo refuses, whatever place it has in the path."""
    pki.write(tmp_path)
    modulus = (1 << 8200) + 1
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    huge = _certificate_for(key, pki.issuing)
    chain = [*pki.leaf.chain, huge]
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


def test_dsa_signer(pki: Pki, tmp_path: Path) -> None:
    """A key that is neither RSA nor EC."""
    pki.write(tmp_path)
    certificate = _certificate_for(dsa.generate_private_key(2048).public_key(), pki.issuing)
    chain = [certificate, *pki.issuing.chain]
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


def test_weak_ca(pki: Pki, tmp_path: Path) -> None:
    """A CA with a key that is too short spoils the path, strong as the signer is; a legacy convention takes it."""
    weak = certify("weak CA", rsa_key("weak", 1024), pki.root, is_ca=True)
    signer = certify("signer", rsa_key("partner leaf 2048"), weak)
    pki.write(tmp_path)
    (tmp_path / "crl" / "weak").write_bytes(make_crl(weak))
    trust = make_trust(tmp_path)
    assert refusal(trust, signer.chain) is Reason.CERTIFICATE_NOT_TRUSTED
    legacy = make_trust(tmp_path, allow_sha1=True)
    assert legacy.check(signer.chain, NOW).public_key == signer.public_key


def test_signer_with_unreadable_parts(pki: Pki, tmp_path: Path) -> None:
    """A signer whose key usage cannot be read is refused, not guessed at."""
    pki.write(tmp_path)
    bit_string, octet_string = bytes.fromhex("0404030205a0"), bytes.fromhex("0404040205a0")
    assert pki.leaf.certificate.count(bit_string) == 1
    odd = pki.leaf.certificate.replace(bit_string, octet_string)
    chain = [odd, *pki.issuing.chain]
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


def test_certificate_that_only_openssl_cannot_read(pki: Pki, tmp_path: Path) -> None:
    """A name that is not UTF-8, which one parser puts off and the other refuses, is a refusal and no failure of ours."""
    pki.write(tmp_path)
    odd = pki.root.certificate.replace(b"Tests", b"T\xffsts")
    assert odd != pki.root.certificate
    chain = [*pki.leaf.chain[:3], odd]
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


def test_key_of_no_known_kind(pki: Pki, tmp_path: Path) -> None:
    """A signer with an Ed25519 key, which XML Signature of our profile has no use for."""
    pki.write(tmp_path)
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    chain = [_certificate_for(key, pki.issuing), *pki.issuing.chain]
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


@pytest.mark.parametrize("chain", [[], [b"rubbish"], [b"x"] * (MOST_CERTIFICATES + 1)])
def test_unreadable_chain(pki: Pki, tmp_path: Path, chain: list[bytes]) -> None:
    """None, rubbish, or more certificates than any path has."""
    pki.write(tmp_path)
    assert refusal(make_trust(tmp_path), chain) is Reason.CERTIFICATE_INVALID


def test_leaf_is_no_ca(pki: Pki, tmp_path: Path) -> None:
    """A certificate issued by a leaf is not trusted, good as its mathematics are."""
    pki.write(tmp_path)
    (tmp_path / "crl" / "leaf").write_bytes(make_crl(pki.leaf))
    grandchild = certify("grandchild", rsa_key("stranger"), pki.leaf)
    trust = make_trust(tmp_path)
    assert refusal(trust, grandchild.chain) is Reason.CERTIFICATE_NOT_TRUSTED


def test_intermediate_is_no_anchor(pki: Pki, tmp_path: Path) -> None:
    """Among the roots an intermediate completes a path, but never ends one; alone it makes no trust at all."""
    pki.write(tmp_path)
    stranger = make_pki("stranger")
    write_pem(tmp_path / "mixed.pem", stranger.root, pki.intermediate)
    mixed = make_trust(tmp_path, roots=(tmp_path / "mixed.pem",))
    assert refusal(mixed, pki.leaf.chain[:3]) is Reason.CERTIFICATE_NOT_TRUSTED
    write_pem(tmp_path / "alone.pem", pki.intermediate)
    with pytest.raises(ConfigurationError, match="at least one self-signed root"):
        make_trust(tmp_path, roots=(tmp_path / "alone.pem",))


def test_pins(pki: Pki, tmp_path: Path) -> None:
    """A pin is a certificate's fingerprint, whatever file it stands in."""
    write_pem(tmp_path / "pins.pem", pki.leaf, pki.issuing)
    pins = load_pins([tmp_path / "pins.pem"])
    assert len(pins) == 2
    pki.write(tmp_path)
    trust = make_trust(tmp_path)
    assert trust.check(pki.leaf.chain, NOW).fingerprint in pins


def test_files_that_cannot_be_loaded(pki: Pki, tmp_path: Path) -> None:
    """A missing or wrong file of roots or pins is named."""
    pki.write(tmp_path)
    (tmp_path / "rubbish").write_text("rubbish")
    with pytest.raises(ConfigurationError, match=r"absent\.pem"):
        make_trust(tmp_path, roots=(tmp_path / "absent.pem",))
    with pytest.raises(ConfigurationError, match="rubbish"):
        load_pins([tmp_path / "rubbish"])


def test_time_is_the_argument(pki: Pki, tmp_path: Path) -> None:
    """One trust judges one chain by any instant, in any order: what was accepted then is not accepted now, nor the reverse."""
    pki.write(tmp_path)
    trust = make_trust(tmp_path)
    later = NOW + timedelta(days=7)
    for _ in range(2):
        assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key
        assert refusal(trust, pki.leaf.chain, later) is Reason.REVOCATION_UNKNOWN


def test_acceptance_ends_with_its_crl(pki: Pki, tmp_path: Path) -> None:
    """An acceptance is not remembered past the next update of a CRL it rests on."""
    pki.write(tmp_path)
    ends = NOW + timedelta(seconds=10)
    (tmp_path / "crl" / "2.crl").write_bytes(make_crl(pki.issuing, ends=ends))
    trust = make_trust(tmp_path)
    trust.check(pki.leaf.chain, NOW)
    trust.check(pki.leaf.chain, ends - timedelta(seconds=1))
    assert refusal(trust, pki.leaf.chain, ends + timedelta(seconds=1)) is Reason.REVOCATION_UNKNOWN


def test_acceptance_ends_with_the_certificate(pki: Pki, tmp_path: Path) -> None:
    """Nor past the end of a certificate."""
    pki.write(tmp_path)
    ends = NOW + timedelta(seconds=10)
    leaf = pki.certify_leaf("short", rsa_key("partner leaf 2048"), ends=ends)
    trust = make_trust(tmp_path)
    trust.check(leaf.chain, NOW)
    late = ends + timedelta(seconds=1)
    assert refusal(trust, leaf.chain, late) is Reason.CERTIFICATE_NOT_TRUSTED


def test_crl_published_while_serving(pki: Pki, tmp_path: Path) -> None:
    """A CRL that appears, changes or goes counts from the next look on, whatever is remembered; no vector waits for the look."""
    pki.write(tmp_path)
    file = tmp_path / "crl" / "2.crl"
    trust = make_trust(tmp_path)
    trust.check(pki.leaf.chain, NOW)

    def publish(crl: bytes | None) -> None:
        if crl is None:
            file.unlink()
        else:
            new = tmp_path / "new"
            new.write_bytes(crl)
            new.replace(file)

    publish(make_crl(pki.issuing, [pki.leaf]))
    trust.check(pki.leaf.chain, NOW)  # nobody has looked yet
    trust.crls.look()
    assert refusal(trust, pki.leaf.chain) is Reason.CERTIFICATE_REVOKED
    publish(make_crl(pki.issuing))
    trust.crls.look()
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key
    publish(None)
    trust.crls.look()
    assert refusal(trust, pki.leaf.chain) is Reason.REVOCATION_UNKNOWN


def test_file_renamed_during_the_look(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that goes while the directory is looked at, as one that takes another's place does, costs none of the others."""
    pki.write(tmp_path)
    (tmp_path / "crl" / "2.new").write_bytes(make_crl(pki.issuing, [pki.leaf]))
    trust, scan = make_trust(tmp_path), os.scandir

    def rename_after(listed: Path) -> AbstractContextManager[list[os.DirEntry[str]]]:
        with scan(listed) as entries:
            listing = nullcontext(list(entries))
        (tmp_path / "crl" / "2.new").replace(tmp_path / "crl" / "2.crl")
        return listing

    with monkeypatch.context() as racing:
        racing.setattr("appliance.trust.revocation.os.scandir", rename_after)
        assert len(trust.crls.look().crls) == 3
    trust.crls.look()
    assert refusal(trust, pki.leaf.chain) is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize(
    ("said", "instead"), [(b"Tests", b"T\xffsts"), (b"\x02\x01\x01", b"\x02\x01\x63")]
)
def test_crl_that_can_be_read_in_part(
    pki: Pki, tmp_path: Path, said: bytes, instead: bytes
) -> None:
    """A list that is well-formed but for a name or its version is left out, and ends neither the look at the others nor the watch over them."""
    pki.write(tmp_path)
    odd = make_crl(pki.issuing).replace(said, instead, 1)
    (tmp_path / "crl" / "odd.crl").write_bytes(odd)
    trust = make_trust(tmp_path)
    watch = CrlWatch(lambda: [WatchedDirectory(trust.crls, 1.0)], SystemClock())
    watch.look()
    assert len(trust.crls.current().crls) == 3
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key


def test_look_that_fails_does_not_end_the_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with one look stands in the log, and the next one sees what is there by then."""
    monkeypatch.setattr("appliance.trust.watch._PAUSE", 0.001)
    looks: list[None] = []

    async def run() -> None:
        seen = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watched() -> list[WatchedDirectory]:
            looks.append(None)
            if len(looks) > 2:
                loop.call_soon_threadsafe(seen.set)
                return []
            raise ArithmeticError("beyond all bounds")

        watching = asyncio.create_task(CrlWatch(watched, SystemClock()).run())
        await asyncio.wait_for(seen.wait(), 20)
        watching.cancel()

    asyncio.run(run())
    assert [record.msg for record in caplog.records] == ["crl-look-failed"] * 2


def test_newer_of_two_crls_counts(pki: Pki, tmp_path: Path) -> None:
    """A stale CRL left beside the current one of the same CA does no harm."""
    pki.write(tmp_path)
    stale = make_crl(pki.issuing, begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=2))
    (tmp_path / "crl" / "0-stale").write_bytes(stale)
    trust = make_trust(tmp_path)
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key


def make_stale(directory: Path, pki: Pki, age: timedelta) -> None:
    """Let the CRL of the issuing CA have run out so long ago."""
    pki.write(directory)
    stale = make_crl(pki.issuing, begins=NOW - timedelta(days=9), ends=NOW - age)
    (directory / "crl" / "2.crl").write_bytes(stale)


def test_stale_crl_counts_within_its_grace(pki: Pki, tmp_path: Path) -> None:
    """A CRL past its next update counts for as long as the grace says, is flagged, and refuses afterwards."""
    make_stale(tmp_path, pki, timedelta(hours=1))
    assert refusal(make_trust(tmp_path), pki.leaf.chain) is Reason.REVOCATION_UNKNOWN
    trust = make_trust(tmp_path, crl_grace=2 * 3600.0)
    assert trust.check(pki.leaf.chain, NOW).in_grace
    late = NOW + timedelta(hours=1)
    assert refusal(trust, pki.leaf.chain, late) is Reason.REVOCATION_UNKNOWN
    (tmp_path / "crl" / "2.crl").write_bytes(make_crl(pki.issuing))
    trust.crls.look()
    assert not trust.check(pki.leaf.chain, NOW).in_grace


def test_grace_beside_a_crl_without_end(pki: Pki, tmp_path: Path) -> None:
    """A CRL that runs to the last date there is counts beside one in its grace; no sum of the two is ever made."""
    make_stale(tmp_path, pki, timedelta(hours=1))
    endless = make_crl(pki.authorities[0], ends=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    (tmp_path / "crl" / "0.crl").write_bytes(endless)
    trust = make_trust(tmp_path, crl_grace=2 * 3600.0)
    assert trust.check(pki.leaf.chain, NOW).in_grace


def test_grace_is_for_crls_only(pki: Pki, tmp_path: Path) -> None:
    """In the grace of a CRL a certificate is judged by the true time, and whom the stale CRL revokes stays revoked."""
    make_stale(tmp_path, pki, timedelta(hours=1))
    trust = make_trust(tmp_path, crl_grace=2 * 3600.0)
    for fields in ({"ends": NOW - timedelta(minutes=1)}, {"begins": NOW + timedelta(minutes=1)}):
        leaf = pki.certify_leaf("untimely", rsa_key("partner leaf 2048"), **fields)
        assert refusal(trust, leaf.chain) is Reason.CERTIFICATE_NOT_TRUSTED
    revoking = make_crl(
        pki.issuing, [pki.leaf], begins=NOW - timedelta(days=9), ends=NOW - timedelta(hours=1)
    )
    (tmp_path / "crl" / "2.crl").write_bytes(revoking)
    trust.crls.look()
    assert refusal(trust, pki.leaf.chain) is Reason.CERTIFICATE_REVOKED


def test_key_size_of_the_convention(pki: Pki, tmp_path: Path) -> None:
    """A convention may want longer keys than we do, of the signer and of every CA."""
    pki.write(tmp_path)
    trust = make_trust(tmp_path, minimum_rsa_bits=3072)
    assert refusal(trust, pki.leaf.chain) is Reason.CERTIFICATE_INVALID
    long = pki.certify_leaf("long", rsa_key("long", 3072))
    assert refusal(trust, long.chain) is Reason.CERTIFICATE_NOT_TRUSTED


def test_directories_are_shared(tmp_path: Path) -> None:
    """One directory is parsed once, whoever asks, until nobody does."""
    directories = CrlDirectories()
    first = directories.at(tmp_path, allow_sha1=False)
    assert directories.at(tmp_path, allow_sha1=False) is first
    assert directories.at(tmp_path, allow_sha1=True) is not first


def test_absent_crl_directory_fails_closed(pki: Pki, tmp_path: Path) -> None:
    """Without the directory nothing is accepted; once it is there, it is used."""
    write_pem(tmp_path / "root.pem", pki.root)
    trust = make_trust(tmp_path)
    assert refusal(trust, pki.leaf.chain) is Reason.REVOCATION_UNKNOWN
    pki.write(tmp_path)
    trust.crls.look()
    assert trust.check(pki.leaf.chain, NOW).public_key == pki.leaf.public_key


def test_refusal_names_the_ca_that_is_missing(pki: Pki, tmp_path: Path) -> None:
    """Whoever must fetch a CRL or a certificate is told of which CA."""
    pki.write(tmp_path)
    (tmp_path / "crl" / "1.crl").unlink()
    trust = make_trust(tmp_path)
    for chain, missing, of_which in (
        (pki.leaf.chain, "CN=partner intermediate,O=Tests,C=FR: unable to get certificate CRL", 1),
        ([pki.leaf.certificate], "CN=partner issuing,O=Tests,C=FR: unable to get local issuer", 0),
    ):
        with pytest.raises(VectorRefused) as raised:
            trust.check(chain, NOW)
        assert raised.value.detail.startswith(f"certificate {of_which} of the path")
        assert missing in raised.value.detail


def test_memory_is_bounded(pki: Pki, tmp_path: Path) -> None:
    """Chains that differ only in what they carry beside the path do not pile up; the latest are kept."""
    pki.write(tmp_path)
    trust = make_trust(tmp_path)
    leaf, *others = pki.leaf.chain
    beside = itertools.islice(itertools.product(others, repeat=7), 1100)
    for extra in beside:
        trust.check([leaf, *others, *extra], NOW)
    assert len(trust._accepted) == 1024
    assert trust.check([leaf, *others, *extra], NOW).public_key == pki.leaf.public_key


def _certificate_for(public_key: object, issuer: Holder) -> bytes:
    """Certify a public key of which nobody holds the private half."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    builder = x509.CertificateBuilder(
        issuer.name, name, public_key, x509.random_serial_number(), NOW, NOW + timedelta(days=1)
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)
