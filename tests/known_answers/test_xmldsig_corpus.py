"""The generic profile against documents that another library's authors signed, with KeyInfo ignored and the keys pinned."""

import base64
import json
import re
from pathlib import Path

import pytest

from appliance.native import SignatureRefused, verify_signature

OLD = ("SHA-1", "SHA1", "SHA-224", "SHA224")
"""How a refusal names an algorithm of old."""


def verdict(corpora: Path, case: dict, *, allow_sha1: bool) -> str:
    """`accept`, or why the candidate keys all refuse; one that is of another kind says the least."""
    octets = (corpora / case["file"]).read_bytes()
    refusals: list[str] = []
    for key in case["keys"]:
        try:
            verified = verify_signature(octets, base64.b64decode(key), allow_sha1=allow_sha1)
        except SignatureRefused as exc:
            refusals.append(f"{exc.reason}: {exc}")
        else:
            assert verified
            return "accept"
    return max(refusals, key=lambda refusal: "the signer's key is not for" not in refusal)


def refusal(octets: bytes, key: str) -> str | None:
    """Why one key refuses, with everything old allowed."""
    try:
        verify_signature(octets, base64.b64decode(key), allow_sha1=True)
    except SignatureRefused as exc:
        return exc.reason
    return None


@pytest.fixture(scope="module")
def cases(corpora: Path) -> list[dict]:
    """Every document, what its label says, and the keys that may have signed it."""
    return json.loads((corpora / "xmldsig.json").read_text())


def test_modern_signatures_are_accepted(corpora: Path, cases: list[dict]) -> None:
    """RSA from 1024 bits on, RSA-PSS, and ECDSA on three curves, one by a Java that forgot zeros, verify by default."""
    modern = [
        case for case in cases if case["profile"] == "modern" and case["expected"] == "accept"
    ]
    wrong = {
        c["file"]: v for c in modern if (v := verdict(corpora, c, allow_sha1=False)) != "accept"
    }
    assert wrong == {}
    assert len(modern) == 33


def test_signatures_of_old_need_a_policy(corpora: Path, cases: list[dict]) -> None:
    """SHA-1 and SHA-224 are refused by name, and accepted where the policy allows SHA-1."""
    old = [case for case in cases if case["profile"] == "legacy-sha1"]
    for case in old:
        refusal = verdict(corpora, case, allow_sha1=False)
        assert refusal.startswith("algorithm-not-allowed: "), case["file"]
        assert any(name in refusal for name in OLD), refusal
    assert {verdict(corpora, case, allow_sha1=True) for case in old} == {"accept"}
    assert len(old) == 16


def test_ecdsa_values_are_r_and_s_of_full_width(corpora: Path, cases: list[dict]) -> None:
    """A DER-encoded value is refused, and so is one whose numbers are padded beyond the width of the order (RFC 4050, 3.3)."""
    left = [case for case in cases if case["expected"] in {"reject", "declare"}]
    assert [Path(case["file"]).stem.split("__")[1] for case in left] == [
        "enveloping-sha256-ecdsa-sha256_padded",
        "enveloping-sha512-ecdsa-sha512-with-asn1",
    ]
    for case in left:
        assert verdict(corpora, case, allow_sha1=True).startswith("signature-invalid"), case["file"]


def test_one_changed_bit_is_refused(corpora: Path, cases: list[dict]) -> None:
    """Whoever does the arithmetic of an algorithm, one changed bit of a signature or of a digest it covers is refused as such."""
    for case in cases:
        if case["expected"] != "accept":
            continue
        octets = (corpora / case["file"]).read_bytes()
        for value in (b"SignatureValue", b"DigestValue"):
            start, text, end = re.split(rb"(<(?:\w+:)?%b[^>]*>[^<]*)" % value, octets, maxsplit=1)
            tag, _, encoded = text.rpartition(b">")
            changed = bytearray(base64.b64decode(encoded))
            changed[len(changed) // 2] ^= 1
            document = start + tag + b">" + base64.b64encode(changed) + end
            found = {refusal(document, key) for key in case["keys"]}
            assert None not in found, case["file"]
            assert "signature-invalid" in found, (case["file"], value)
