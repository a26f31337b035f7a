"""Every kind of signature we can emit holds for libxmlsec and for `cryptography`, and for us."""

import base64
import hashlib
from itertools import product
from pathlib import Path

import pytest
import xmlsec
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings, strategies as st
from lxml import etree

from appliance import native
from appliance.vectors.characters import is_xml_text
from tests.messages import DIGESTS, DS, EXCLUSIVE
from tests.native_signing import Suite
from tests.pki import make_pki, write_pem

PKI = make_pki("partner")
P384 = PKI.certify_leaf("p384", ec.generate_private_key(ec.SECP384R1()))
P256 = PKI.certify_leaf("p256", ec.generate_private_key(ec.SECP256R1()))
HASH_NAMES = ("sha256", "sha384", "sha512")
SUITES = [
    Suite(holder, family, hash_name, digest_name)
    for holder, family in ((PKI.leaf, "rsa"), (PKI.leaf, "pss"), (P256, "ecdsa"), (P384, "ecdsa"))
    for hash_name, digest_name in product(HASH_NAMES, HASH_NAMES)
]
KINDS = [
    pytest.param(
        suite,
        variant,
        id=f"{suite.uri.rpartition('#')[2]}-{suite.holder.name.rfc4514_string()}-{suite.digest_name}-{variant}",
    )
    for suite in SUITES
    for variant in "AB"
]

markup = st.text("<>&\"'/=!?-[]; \t\r\n:xé", max_size=30)
texts = (markup | st.text(max_size=30)).filter(is_xml_text)


@pytest.mark.parametrize(("suite", "variant"), KINDS)
def test_a_kind_holds_for_others(suite: Suite, variant: str, tmp_path: Path) -> None:
    """Libxmlsec verifies it, `cryptography` over what libxml2 canonicalizes too, and a changed vector neither."""
    octets = suite.issue(variant, name_id="<é> & 😀").octets
    leaf = tmp_path / "leaf.pem"
    write_pem(leaf, suite.holder)
    check_with_xmlsec(octets, leaf)
    check_with_cryptography(octets, suite, variant)
    with pytest.raises(xmlsec.Error):
        check_with_xmlsec(octets.replace(b"PAGM_GESTION", b"PAGM_GESTIOM"), leaf)


@pytest.mark.parametrize("variant", ["A", "B"])
@settings(max_examples=200)
@given(st.data())
def test_whatever_a_vector_states_both_variants_hold(variant: str, data: st.DataObject) -> None:
    """No caller's string becomes markup: the vector is its own canonical form, and libxml2 reads from it what was stated."""
    suite = SUITES[0]
    stated = {name: data.draw(texts, label=name) for name in ("issuer", "name_id", "audience")}
    pagms = data.draw(st.lists(texts, max_size=3))
    others = data.draw(
        st.dictionaries(texts.filter(lambda name: name != "PAGM"), st.lists(texts, max_size=2))
    )
    octets = suite.issue(variant, **stated, pagms=pagms, attributes=others).octets
    root = etree.fromstring(octets)
    assert etree.tostring(root, method="c14n", exclusive=True) == octets
    saml = "{urn:oasis:names:tc:SAML:2.0:assertion}"
    read = {
        name: root.findtext(f".//{saml}{tag}")
        for name, tag in (("issuer", "Issuer"), ("name_id", "NameID"), ("audience", "Audience"))
    }
    assert read == stated
    values = [
        (attribute.get("Name"), [value.text or "" for value in attribute])
        for attribute in root.iter(f"{saml}Attribute")
    ]
    assert values == [("PAGM", pagms), *others.items()]
    check_with_cryptography(octets, suite, variant)


def test_a_variant_is_a_or_b() -> None:
    """Another word is refused."""
    with pytest.raises(ValueError, match="the variant is A or B"):
        SUITES[0].profile("C")


def test_variant_b_has_the_shape_of_the_client_library() -> None:
    """Signature last, in the default namespace, an empty Reference with one transform (DOMAIN 2.4)."""
    root = etree.fromstring(SUITES[0].issue("B").octets)
    signature = root[-1]
    assert signature.tag == f"{{{DS}}}Signature"
    assert signature.prefix is None
    references = signature.findall(f".//{{{DS}}}Reference")
    assert [one.get("URI") for one in references] == [""]
    transforms = [one.get("Algorithm") for one in signature.iter(f"{{{DS}}}Transform")]
    assert transforms == [f"{DS}enveloped-signature"]


def check_with_xmlsec(octets: bytes, leaf: Path) -> None:
    """Verify with libxmlsec; it raises when it does not hold."""
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(leaf), xmlsec.constants.KeyDataFormatCertPem)
    context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))


def check_with_cryptography(octets: bytes, suite: Suite, variant: str) -> None:
    """Check digest and signature over what libxml2 canonicalizes: A exclusively, B as Canonical XML 1.0 says."""
    root = etree.fromstring(octets)
    signature = root.find(f"{{{DS}}}Signature")
    assert signature is not None
    methods = {
        name: signature.find(f".//{{{DS}}}{name}").get("Algorithm")  # type: ignore[union-attr]  # it is there
        for name in ("CanonicalizationMethod", "SignatureMethod", "DigestMethod")
    }
    assert methods == {
        "CanonicalizationMethod": EXCLUSIVE,
        "SignatureMethod": suite.uri,
        "DigestMethod": DIGESTS[suite.digest_name],
    }
    signed_info = etree.tostring(
        signature.find(f"{{{DS}}}SignedInfo"), method="c14n", exclusive=True
    )
    value = base64.b64decode(signature.findtext(f"{{{DS}}}SignatureValue", ""))
    assert suite.holds(value, signed_info)
    assert not suite.holds(value, signed_info + b" ")
    stated = base64.b64decode(signature.findtext(f".//{{{DS}}}DigestValue", ""))
    root.remove(signature)
    canonical = etree.tostring(root, method="c14n", exclusive=variant == "A")
    assert stated == hashlib.new(suite.digest_name, canonical).digest()


def test_our_verifier_accepts_both_variants() -> None:
    """What comes back is the vector without its Signature, of the variant that was asked for; B has to be allowed."""
    suite = SUITES[0]
    for variant in "AB":
        claim = native.locate(suite.issue(variant).octets).assertion.signature_claim()  # type: ignore[union-attr]  # it is there
        assert claim.variant == variant
        verified = claim.verify(lambda _: suite.holder.public_key, allow_variant_b=variant == "B")
        assert verified.read().name_id == "agent-0042"
