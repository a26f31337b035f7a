"""Vectors and messages signed by the extension with keys in memory: no appliance, no token, every algorithm there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from appliance import native
from tests.messages import AUDIENCE, DIGESTS, ISSUER, LEVEL, MORE, RECIPIENT, UNSPECIFIED
from tests.pki import HASHES, HashName, Holder

Family = Literal["rsa", "pss", "ecdsa"]
CONTENT = {
    "id": "_6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "issue_instant": "2026-03-02T09:59:00.000Z",
    "issuer": ISSUER,
    "name_id": "agent-0042",
    "name_id_format": UNSPECIFIED,
    "recipient": RECIPIENT,
    "audience": AUDIENCE,
    "not_before": "2026-03-02T08:00:00.000Z",
    "not_on_or_after": "2026-03-02T12:00:00.000Z",
    "authn_instant": "2026-03-02T09:58:00.000Z",
    "authn_context": LEVEL,
    "pagms": ("PAGM_CONSULTATION", "PAGM_GESTION"),
}


@dataclass(frozen=True)
class Suite:
    """A key with the way it signs."""

    holder: Holder
    family: Family
    hash_name: HashName = "sha256"
    digest_name: HashName = "sha256"

    @property
    def uri(self) -> str:
        """SignatureMethod."""
        if self.family == "pss":
            return f"http://www.w3.org/2007/05/xmldsig-more#{self.hash_name}-rsa-MGF1"
        return f"{MORE}{self.family}-{self.hash_name}"

    def profile(self, variant: str = "A") -> native.SignatureProfile:
        """As a signing key of the appliance has it."""
        return native.SignatureProfile(
            signature_algorithm=self.uri,
            digest_algorithm=DIGESTS[self.digest_name],
            public_key=self.holder.public_key,
            certificates=self.holder.chain,
            variant=variant,
        )

    def sign(self, digest: bytes) -> bytes:
        """Sign as a token would; ECDSA as r‖s."""
        key, algorithm = self.holder.key, HASHES[self.hash_name]
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(digest, self._padding(), Prehashed(algorithm))
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(algorithm))))
        width = (key.key_size + 7) // 8
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")

    def holds(self, signature: bytes, octets: bytes) -> bool:
        """Whether `cryptography` finds a signature over octets right."""
        key = x509.load_der_x509_certificate(self.holder.certificate).public_key()
        algorithm = HASHES[self.hash_name]
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, octets, self._padding(), algorithm)
            else:
                assert isinstance(key, ec.EllipticCurvePublicKey)
                half = len(signature) // 2
                r, s = (int.from_bytes(part) for part in (signature[:half], signature[half:]))
                key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(algorithm))
        except InvalidSignature:
            return False
        return True

    def issue(self, variant: str = "A", **fields: object) -> native.SignedAssertion:
        """One vector."""
        content = native.AssertionContent(**{**CONTENT, **fields})  # type: ignore[arg-type]  # overrides of a builder
        prepared = native.prepare(content, self.profile(variant))
        return prepared.splice(self.sign(prepared.digest))

    def secure(
        self, message: bytes, header: native.SecurityHeader, signed: Sequence[str]
    ) -> native.SecuredMessage:
        """One message with parts of it signed."""
        prepared = native.prepare_message(message, header, self.profile(), signed)
        return prepared.splice(self.sign(prepared.digest))

    def _padding(self) -> padding.PKCS1v15 | padding.PSS:
        if self.family == "rsa":
            return padding.PKCS1v15()
        algorithm: hashes.HashAlgorithm = HASHES[self.hash_name]
        return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
