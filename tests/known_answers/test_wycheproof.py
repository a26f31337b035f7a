"""Public-key mathematics against the three Wycheproof files for the schemes vectors are signed with."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA1, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.native import SignatureRefused, verify_digest

MORE = "http://www.w3.org/2001/04/xmldsig-more#"
ALGORITHMS = {
    "rsa_signature_2048_sha256_test.json": f"{MORE}rsa-sha256",
    "rsa_pss_2048_sha256_mgf1_32_test.json": (
        "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"
    ),
    "ecdsa_secp256r1_sha256_p1363_test.json": f"{MORE}ecdsa-sha256",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One signature, and whether it is one."""

    key: bytes
    message: bytes
    signature: bytes
    result: str
    label: str


def cases(file: Path) -> list[Case]:
    """Every case of a Wycheproof file."""
    return [
        Case(
            bytes.fromhex(group["publicKeyDer"]),
            bytes.fromhex(test["msg"]),
            bytes.fromhex(test["sig"]),
            test["result"],
            f"{test['tcId']} {test['comment']}",
        )
        for group in json.loads(file.read_text())["testGroups"]
        for test in group["tests"]
    ]


def verifies(case: Case, algorithm: str) -> bool:
    """Whether we accept it."""
    digest = hashlib.sha256(case.message).digest()
    try:
        verify_digest(case.key, algorithm, digest, case.signature)
    except SignatureRefused:
        return False
    return True


@pytest.mark.parametrize("name", ALGORITHMS)
def test_signatures_are_judged_as_labelled(corpora: Path, name: str) -> None:
    """Every valid signature verifies and every invalid one is refused; the one the label leaves open is refused."""
    wrong = [
        case.label
        for case in cases(corpora / "wycheproof" / name)
        if verifies(case, ALGORITHMS[name]) != (case.result == "valid")
    ]
    assert wrong == []


def spki(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The public key, as trust hands it over."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_vector_is_signed_on_p256_and_p384_and_nothing_else() -> None:
    """P-521 and P-256K1 keys are refused as keys, before the signature is looked at."""
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        with pytest.raises(SignatureRefused):
            verify_digest(
                spki(ec.generate_private_key(curve)), f"{MORE}ecdsa-sha256", bytes(32), b""
            )
    for curve in (ec.SECP521R1(), ec.SECP256K1()):
        with pytest.raises(ValueError, match="not usable"):
            verify_digest(
                spki(ec.generate_private_key(curve)), f"{MORE}ecdsa-sha256", bytes(32), b""
            )


def test_a_der_encoded_ecdsa_signature_is_refused() -> None:
    """The same two numbers verify as r‖s, and not as an ASN.1 sequence."""
    key = ec.generate_private_key(ec.SECP384R1())
    digest = hashlib.sha384(b"").digest()
    encoded = key.sign(digest, ec.ECDSA(utils.Prehashed(SHA384())))
    fixed = b"".join(number.to_bytes(48, "big") for number in utils.decode_dss_signature(encoded))
    verify_digest(spki(key), f"{MORE}ecdsa-sha384", digest, fixed)
    with pytest.raises(SignatureRefused):
        verify_digest(spki(key), f"{MORE}ecdsa-sha384", digest, encoded)


def test_small_rsa_keys_are_for_sha1_only() -> None:
    """A key of 1024 bits is refused with SHA-256, and verifies RSA-SHA1, which only a legacy convention asks for."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - what the test is about
    with pytest.raises(ValueError, match="not usable"):
        verify_digest(spki(key), f"{MORE}rsa-sha256", bytes(32), bytes(128))
    digest = hashlib.sha1(b"").digest()  # noqa: S324 - vectors of old
    signature = key.sign(digest, padding.PKCS1v15(), utils.Prehashed(SHA1()))  # noqa: S303 - vectors of old
    verify_digest(spki(key), "http://www.w3.org/2000/09/xmldsig#rsa-sha1", digest, signature)


@pytest.mark.parametrize("algorithm", ["rsa-sha224", "ecdsa-sha224", "ecdsa-sha1"])
def test_a_vector_has_no_other_old_algorithm(algorithm: str) -> None:
    """SHA-224, and SHA-1 under ECDSA, are no algorithms of vectors, not even of old ones."""
    with pytest.raises(ValueError, match="unknown signature algorithm"):
        verify_digest(spki(ec.generate_private_key(ec.SECP256R1())), f"{MORE}{algorithm}", b"", b"")
