"""Signature wrapping: a genuine vector, moved to where its signature still holds, beside or around a forged one.

The eight shapes are those of Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be" (USENIX Security 2012), under the numbers
that SAML Raider gave them; a vector is what is signed, so 1 and 2, which there move a signed Response, move the assertion here.
Where the enveloped-signature transform would take the original away with the Signature around it, the original keeps a Signature of
its own, so that libxmlsec finds that one good. Each shape can stand in each of many places.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from appliance.native import AssertionContent, SignatureProfile, prepare
from tests.messages import (
    AUDIENCE,
    DIGESTS,
    ISSUER,
    LEVEL,
    MORE,
    RECIPIENT,
    UNSPECIFIED,
    WSSE,
)
from tests.pki import HASHES, Holder

SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
SOAP11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
GENUINE_ID: Final = "8c1f5f0e-6d5a-4c39-9a57-6d2f4e1a7b01"
FORGED_ID: Final = "e0e0e0e0-6d5a-4c39-9a57-6d2f4e1a7b02"
GENUINE_NAME: Final = "agent-0042"
FORGED_NAME: Final = "attacker"
GENUINE_PAGM: Final = "PAGM_CONSULTATION"
FORGED_PAGM: Final = "PAGM_GESTION"

_SIGNATURE: Final = re.compile(r"<ds:Signature .*</ds:Signature>", re.DOTALL)


def issue(holder: Holder, **fields: str) -> bytes:
    """Issue a vector as the appliance does, with a key in software; valid at `tests.pki.NOW`."""
    family = "rsa" if isinstance(holder.key, rsa.RSAPrivateKey) else "ecdsa"
    profile = SignatureProfile(
        signature_algorithm=f"{MORE}{family}-sha256",
        digest_algorithm=DIGESTS["sha256"],
        public_key=holder.public_key,
        certificates=holder.chain,
    )
    prepared = prepare(make_content(**fields), profile)
    return prepared.splice(sign(holder, prepared.digest)).octets


def make_content(**fields: str) -> AssertionContent:
    """What the genuine vector states; `fields` override."""
    stated = {
        "id": GENUINE_ID,
        "issue_instant": "2026-03-02T09:59:00.000Z",
        "issuer": ISSUER,
        "name_id": GENUINE_NAME,
        "name_id_format": UNSPECIFIED,
        "recipient": RECIPIENT,
        "audience": AUDIENCE,
        "not_before": "2026-03-02T08:00:00.000Z",
        "not_on_or_after": "2026-03-02T12:00:00.000Z",
        "authn_instant": "2026-03-02T09:58:00.000Z",
        "authn_context": LEVEL,
    }
    return AssertionContent(pagms=[GENUINE_PAGM], **(stated | fields))


def sign(holder: Holder, digest: bytes) -> bytes:
    """Sign a SHA-256; ECDSA as r‖s."""
    if isinstance(holder.key, rsa.RSAPrivateKey):
        return holder.key.sign(digest, padding.PKCS1v15(), Prehashed(HASHES["sha256"]))
    assert isinstance(holder.key, ec.EllipticCurvePrivateKey)
    pair = decode_dss_signature(holder.key.sign(digest, ec.ECDSA(Prehashed(HASHES["sha256"]))))
    return b"".join(number.to_bytes(32, "big") for number in pair)


@dataclass(frozen=True)
class Parts:
    """What an attacker has: one genuine vector.

    Attributes:
        whole: as it came.
        bare: without its Signature; its digest is still the signed one.
        signature: the Signature alone.
        forged: the bare one with another ID, name and PAGM.
    """

    whole: str
    bare: str
    signature: str
    forged: str

    @classmethod
    def of(cls, vector: bytes) -> "Parts":
        """Take a genuine vector apart."""
        whole = vector.decode()
        found = _SIGNATURE.search(whole)
        assert found is not None
        bare = whole.replace(found[0], "")
        return cls(whole, bare, found[0], forge(bare))

    def forged_with(self, inside: str) -> str:
        """The forged assertion with something where its Signature belongs."""
        return self.forged.replace("</saml2:Issuer>", f"</saml2:Issuer>{inside}", 1)

    def signature_with(self, inside: str) -> str:
        """The Signature with something behind its KeyInfo."""
        return self.signature.replace("</ds:Signature>", f"{inside}</ds:Signature>")


def forge(assertion: str) -> str:
    """State something else under another ID."""
    for stated, forged in (
        (r' ID="([^"]+)"', FORGED_ID),
        (r">([^<]+)</saml2:NameID>", FORGED_NAME),
        (r">([^<]+)</saml2:AttributeValue>", FORGED_PAGM),
    ):
        found = re.search(stated, assertion)
        assert found is not None
        assertion = assertion.replace(found[1], forged)
    return assertion


def _in_key_info(parts: Parts) -> str:
    return parts.signature.replace("</ds:KeyInfo>", f"{parts.whole}</ds:KeyInfo>")


SHAPES: Final[dict[str, Callable[[Parts], str]]] = {
    "1 forged around the Signature around the original": lambda it: it.forged_with(
        it.signature_with(it.whole)
    ),
    "2 forged around the original and beside it its Signature": lambda it: it.forged_with(
        it.bare + it.signature
    ),
    "3 forged before the original": lambda it: it.forged + it.whole,
    "4 forged around the original": lambda it: it.forged_with(it.whole),
    "5 forged takes the Signature, the original stands behind": lambda it: (
        it.forged_with(it.signature) + it.bare
    ),
    "6 forged takes the Signature, the original stands in its KeyInfo": lambda it: it.forged_with(
        _in_key_info(it)
    ),
    "7 forged in Extensions before the original": lambda it: (
        f'<samlp:Extensions xmlns:samlp="{SAMLP}">{it.forged}</samlp:Extensions>{it.whole}'
    ),
    "8 forged takes the Signature, the original stands in its Object": lambda it: it.forged_with(
        it.signature_with(f"<ds:Object>{it.whole}</ds:Object>")
    ),
}
"""Each writes one or two elements, the forged one first."""


def _alone(_: Parts, shape: str) -> str:
    """One element is its own document; two need a root, and any will do."""
    depth, outermost = 0, 0
    for end in re.findall(r"<(/?)(?:saml2:Assertion|samlp:Extensions)\b", shape):
        outermost += depth == 0
        depth += -1 if end else 1
    return shape if outermost == 1 else f"<root>{shape}</root>"


def _response(_: Parts, shape: str) -> str:
    return (
        f'<samlp:Response xmlns:samlp="{SAMLP}" ID="r" Version="2.0" IssueInstant="2026-03-02T10:00:00Z">'
        f"{shape}</samlp:Response>"
    )


def _envelope(headers: str, body: str = '<u:Ping xmlns:u="urn:u"/>') -> str:
    return (
        f'<s:Envelope xmlns:s="{SOAP11}" xmlns:wsse="{WSSE}"><s:Header>{headers}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )


def _security(inside: str, actor: str = "") -> str:
    return f"<wsse:Security{actor}>{inside}</wsse:Security>"


_OTHER_ACTOR: Final = ' s:actor="urn:another"'

PLACES: Final[dict[str, Callable[[Parts, str], str]]] = {
    "alone": _alone,
    "in a SAML Response": _response,
    "in wsse:Security": lambda _, shape: _envelope(_security(shape)),
    "in a second wsse:Security with another actor": lambda it, shape: _envelope(
        _security(it.forged) + _security(shape, _OTHER_ACTOR)
    ),
    "in a first wsse:Security with another actor": lambda it, shape: _envelope(
        _security(shape, _OTHER_ACTOR) + _security(it.forged_with(it.signature))
    ),
    "in soap:Body behind the genuine vector": lambda it, shape: _envelope(
        _security(it.whole), shape
    ),
    "in soap:Body": lambda it, shape: _envelope(_security(it.forged_with(it.signature)), shape),
    "in Advice": lambda it, shape: it.forged.replace(
        "</saml2:Conditions>", f"</saml2:Conditions><saml2:Advice>{shape}</saml2:Advice>"
    ),
    "in ds:Object": lambda it, shape: it.forged_with(
        it.signature_with(f"<ds:Object>{shape}</ds:Object>")
    ),
}
"""Each writes a message with a shape in it, and (but for one) a forged vector where ours is looked for."""


def make_message(vector: bytes, shape: str, place: str) -> bytes:
    """Wrap a genuine vector."""
    parts = Parts.of(vector)
    return PLACES[place](parts, SHAPES[shape](parts)).encode()
