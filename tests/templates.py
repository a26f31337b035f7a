"""Signatures of any shape, made and found good by libxmlsec with a partner's real key.

What a verifier would accept that takes all of XMLDSig: so that a refusal of ours is one of shape, not of a wrong digest.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import xmlsec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree

from tests.messages import DIGESTS, DS, EXCLUSIVE, HOLE, MORE, Statement
from tests.pki import Holder

ENVELOPED: Final = f"{DS}enveloped-signature"
RSA_SHA256: Final = f"{MORE}rsa-sha256"
ID: Final = "8c1f5f0e-6d5a-4c39-9a57-6d2f4e1a7b01"


def write_transform(algorithm: str, inside: str = "") -> str:
    """Write one Transform."""
    return f'<ds:Transform Algorithm="{algorithm}">{inside}</ds:Transform>'


def write_reference(
    uri: str | None = f"#{ID}",
    transforms: Sequence[str] = (write_transform(ENVELOPED), write_transform(EXCLUSIVE)),
    digest: str = DIGESTS["sha256"],
) -> str:
    """Write one Reference, its DigestValue to be filled in."""
    inside = f"<ds:Transforms>{''.join(transforms)}</ds:Transforms>" if transforms else ""
    place = "" if uri is None else f' URI="{uri}"'
    return (
        f"<ds:Reference{place}>{inside}"
        f'<ds:DigestMethod Algorithm="{digest}"/><ds:DigestValue/></ds:Reference>'
    )


@dataclass(frozen=True)
class Template:
    """A Signature to be filled in; the default is variant A, which we accept.

    Attributes:
        method_inside: what stands inside SignatureMethod.
        behind: what follows KeyInfo.
    """

    references: str = write_reference()
    canonicalization: str = f'<ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
    method: str = RSA_SHA256
    method_inside: str = ""
    key_info: str | None = None
    behind: str = ""

    def write(self, signer: Holder) -> str:
        """Write it with the signer's chain in KeyInfo, unless that is given."""
        key_info = write_x509(signer.chain) if self.key_info is None else self.key_info
        return (
            f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo>{self.canonicalization}'
            f'<ds:SignatureMethod Algorithm="{self.method}">{self.method_inside}</ds:SignatureMethod>'
            f"{self.references}</ds:SignedInfo><ds:SignatureValue/>"
            f"<ds:KeyInfo>{key_info}</ds:KeyInfo>{self.behind}</ds:Signature>"
        )


def write_x509(certificates: Sequence[bytes]) -> str:
    """Write X509Data with these certificates."""
    written = "".join(
        f"<ds:X509Certificate>{base64.b64encode(each).decode()}</ds:X509Certificate>"
        for each in certificates
    )
    return f"<ds:X509Data>{written}</ds:X509Data>"


def sign_template(
    signer: Holder, template: Template, body: str | None = None, key: xmlsec.Key | None = None
) -> bytes:
    """Have libxmlsec fill in a template inside an assertion, and make sure that it finds the result good."""
    body = Statement(id=ID).body(hole_last=False, indent="") if body is None else body
    document = etree.fromstring(body.replace(HOLE, template.write(signer)))
    key = key or private_key(signer)
    _context(document, key).sign(document.find(f".//{{{DS}}}Signature"))
    signed = etree.tostring(document)
    again = etree.fromstring(signed)
    _context(again, key).verify(again.find(f".//{{{DS}}}Signature"))
    return signed


def private_key(signer: Holder) -> xmlsec.Key:
    """The signer's key as libxmlsec holds it."""
    encoding = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    octets = signer.key.private_bytes(*encoding)  # type: ignore[union-attr]  # partners hold their keys
    return xmlsec.Key.from_memory(octets, xmlsec.constants.KeyDataFormatPem, None)


def _context(document: "etree._Element", key: xmlsec.Key) -> xmlsec.SignatureContext:
    xmlsec.tree.add_ids(document, ["ID", "Id"])
    context = xmlsec.SignatureContext()
    context.key = key
    return context
