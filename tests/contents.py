"""What the extension is given to issue vectors: contents with every field overridable, and profiles of keys in memory."""

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from appliance.native import AssertionContent, SignatureProfile
from tests.messages import AUDIENCE, DIGESTS, ISSUER, LEVEL, MORE, RECIPIENT, UNSPECIFIED
from tests.pki import HASHES, HashName, Holder

FIELDS = {
    "id": "_0f7d1b8e-41ba-4ad3-a3e1-1cf9c0e1a4c1",
    "issue_instant": "2026-03-02T10:00:00.000Z",
    "issuer": ISSUER,
    "name_id": "agent-0042",
    "name_id_format": UNSPECIFIED,
    "recipient": RECIPIENT,
    "audience": AUDIENCE,
    "not_before": "2026-03-02T09:59:50.000Z",
    "not_on_or_after": "2026-03-02T11:00:00.000Z",
    "authn_instant": "2026-03-02T09:58:00.000Z",
    "authn_context": LEVEL,
}


def make_content(**fields: object) -> AssertionContent:
    """Make the content of a vector."""
    return AssertionContent(**(FIELDS | {"pagms": ["PAGM_CONSULTATION"]} | fields))


def make_profile(
    holder: Holder, hash_name: HashName = "sha256", **fields: object
) -> SignatureProfile:
    """Make the profile of a key, its vectors digested with the hash it signs."""
    family = "rsa" if isinstance(holder.key, rsa.RSAPrivateKey) else "ecdsa"
    profile = {
        "signature_algorithm": f"{MORE}{family}-{hash_name}",
        "digest_algorithm": DIGESTS[hash_name],
        "public_key": holder.public_key,
        "certificates": holder.chain,
    }
    return SignatureProfile(**(profile | fields))


def sign_digest(holder: Holder, digest: bytes, hash_name: HashName = "sha256") -> bytes:
    """Sign as a lane does: PKCS#1 v1.5, or r‖s."""
    prehashed = Prehashed(HASHES[hash_name])
    if isinstance(holder.key, rsa.RSAPrivateKey):
        return holder.key.sign(digest, padding.PKCS1v15(), prehashed)
    assert isinstance(holder.key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(holder.key.sign(digest, ec.ECDSA(prehashed)))
    size = (holder.key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")
