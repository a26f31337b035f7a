"""The keyring: certificates read from files, profiles for what fits, and a refusal with the file for what does not."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from appliance import native
from appliance.errors import ConfigurationError
from appliance.signing.keyring import Keyring
from tests.contents import make_content, sign_digest
from tests.messages import DS, MORE
from tests.pki import Holder, Pki, certify, ec_key, make_pki, write_pem


@dataclass(frozen=True)
class Table:
    """A `[[key]]`."""

    name: str
    certificates: Path
    mechanism: str = ""


@pytest.fixture(scope="module")
def pki() -> Pki:
    """Who certifies our keys."""
    return make_pki("partner")


def write_chain(file: Path, holder: Holder) -> Path:
    """Write a certificate and those above it."""
    chain = [holder]
    while chain[-1].issuer is not None:
        chain.append(chain[-1].issuer)
    write_pem(file, *chain)
    return file


@pytest.fixture
def keyring(pki: Pki, tmp_path: Path) -> Keyring:
    """An RSA key and a P-256 key; the RSA key twice more, to sign in other ways."""
    curve = pki.certify_leaf("ec", ec_key("signer"))
    chain = write_chain(tmp_path / "rsa.pem", pki.leaf)
    return Keyring.load(
        [
            Table("rsa", chain),
            Table("ec", write_chain(tmp_path / "ec.pem", curve)),
            Table("pss", chain, "rsa-pss"),
            Table("hashed", chain, "rsa-hash-in-token"),
        ]
    )


def test_keys_are_known_by_name(keyring: Keyring, pki: Pki) -> None:
    """Names keep the order of the configuration; key and fingerprint are those of the leaf."""
    assert keyring.names() == ("rsa", "ec", "pss", "hashed")
    assert keyring.public_key("rsa") == pki.leaf.public_key
    fingerprint = hashlib.sha256(pki.leaf.certificate).hexdigest()
    assert keyring.trace_facts("rsa").certificate_sha256 == fingerprint


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_profile_signs_with_key_and_algorithm(keyring: Keyring, pki: Pki, hash_name: str) -> None:
    """The profile carries the algorithm, its hash for the digests too, and the whole chain; it is made once."""
    algorithm = f"{MORE}rsa-{hash_name}"
    profile = keyring.profile("rsa", algorithm)
    assert profile.hash_name == hash_name
    assert keyring.profile("rsa", algorithm) is profile
    prepared = native.prepare(make_content(), profile)
    signature = sign_digest(pki.leaf, prepared.digest, hash_name)
    received = native.locate(prepared.splice(signature).octets).assertion
    assert received is not None
    claim = received.signature_claim()
    assert claim.signature_algorithm == algorithm
    assert claim.digest_algorithm.endswith(f"#{hash_name}")
    assert claim.certificates == pki.leaf.chain


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("rsa", f"{MORE}ecdsa-sha256"),
        ("ec", f"{MORE}rsa-sha256"),
        ("rsa", f"{DS}rsa-sha1"),
        ("rsa", "urn:unknown"),
        ("ec", ""),
    ],
)
def test_an_algorithm_of_another_kind_is_refused(
    keyring: Keyring, key: str, algorithm: str
) -> None:
    """A key signs only with an algorithm of its kind, and never with SHA-1; the error names file, key, and what it can do."""
    with pytest.raises(ConfigurationError) as raised:
        keyring.profile(key, algorithm)
    assert raised.value.file.endswith(f"{key}.pem")
    can = {"rsa": "rsa-sha256, rsa-sha384 or rsa-sha512", "ec": "ecdsa-sha256 or ecdsa-sha384"}
    assert raised.value.expected.startswith(f"{can[key]}: `{key}` is an {key.upper()} key")


def test_the_mechanism_decides_the_algorithms(keyring: Keyring) -> None:
    """A key configured for PSS takes the MGF1 algorithms and no other; one whose token hashes wants the octets."""
    pss = "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"
    assert keyring.profile("pss", pss).hash_name == "sha256"
    assert keyring.profile("hashed", f"{MORE}rsa-sha256").hash_name == "sha256"
    for key, algorithm, needs in (
        ("pss", f"{MORE}rsa-sha256", "PKCS #1 v1.5"),
        ("rsa", pss, 'mechanism = "rsa-pss"'),
        ("hashed", pss, 'mechanism = "rsa-pss"'),
    ):
        with pytest.raises(ConfigurationError, match=f"`{key}` is an RSA key .*{needs}$"):
            keyring.profile(key, algorithm)
    assert [keyring.hashes_in_token(name) for name in keyring.names()] == [
        False,
        False,
        False,
        True,
    ]


def test_an_unknown_key_is_refused(keyring: Keyring) -> None:
    """A name that no [[key]] has is named."""
    for ask in (
        lambda: keyring.profile("other", f"{MORE}rsa-sha256"),
        lambda: keyring.public_key("other"),
        lambda: keyring.trace_facts("other"),
    ):
        with pytest.raises(ConfigurationError, match="`other`"):
            ask()


def test_an_unusable_file_is_named(tmp_path: Path) -> None:
    """Absent, no PEM, cut short, a directory: the file is named with what it should be."""
    absent = tmp_path / "absent.pem"
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("no certificate")
    cut = tmp_path / "cut.pem"
    cut.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for file, expected in [
        (absent, "a readable file"),
        (tmp_path, "a readable file"),
        (no_pem, "a PEM certificate chain"),
        (cut, "a PEM certificate chain"),
    ]:
        with pytest.raises(ConfigurationError) as raised:
            Keyring.load([Table("key", file)])
        assert (raised.value.file, raised.value.key) == (str(file), "")
        assert raised.value.expected.startswith(expected)


def test_a_certificate_for_another_kind_of_key_is_refused(pki: Pki, tmp_path: Path) -> None:
    """Only RSA, P-256 and P-384 sign vectors: another curve or Ed25519 is refused when the home is read."""
    for name, key in [
        ("p-521", ec.generate_private_key(ec.SECP521R1())),
        ("ed25519", ed25519.Ed25519PrivateKey.generate()),
    ]:
        file = tmp_path / f"{name}.pem"
        write_pem(file, certify(name, key, pki.authorities[0]))
        with pytest.raises(ConfigurationError, match="RSA, P-256 or P-384"):
            Keyring.load([Table("key", file)])
