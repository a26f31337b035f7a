"""What we put into a SOAP message leaves every other octet as it came, and what we sign of it holds for others."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import xmlsec
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, strategies as st
from lxml import etree

from appliance import native
from appliance.vectors.characters import is_xml_text
from tests.messages import DIGESTS, DS, EXCLUSIVE, SOAP, WSSE
from tests.native_signing import Suite
from tests.pki import make_pki, write_pem

PKI = make_pki("partner")
SUITE = Suite(PKI.leaf, "rsa")
P384 = PKI.certify_leaf("p384", ec.generate_private_key(ec.SECP384R1()))
SUITES = {
    "rsa": SUITE,
    "pss": Suite(PKI.leaf, "pss", "sha512"),
    "ecdsa": Suite(P384, "ecdsa", "sha384", "sha384"),
}
WSU = WSSE.replace("secext", "utility")
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
EC = "http://www.w3.org/2001/10/xml-exc-c14n#"
STR_TRANSFORM = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform"
PARTS = ("timestamp", "body", "assertion")

markup = st.text("<>&\"'/=!?-[]; \t\r\n:xé", max_size=20)
texts = (markup | st.text(max_size=20)).filter(is_xml_text)
spaces = st.sampled_from(["", " ", "\n", "\t\r\n", "<!-- <s:Header/> -->", "<?p </s:Body> ?>"])
bodies = st.sampled_from(
    [
        "",
        "<urn:Ping/>",
        "text &amp; <![CDATA[</s:Body>]]>&#13;",
        '<v xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="urn:t">é😀</v>',
        '<a xmlns="urn:other" xml:lang="fr"><b xmlns=""/></a>',
        "<x:Envelope xmlns:x='http://schemas.xmlsoap.org/soap/envelope/'><x:Header/><x:Body/></x:Envelope>",
    ]
)
blocks = st.sampled_from(
    [
        "",
        '<wsa:To xmlns:wsa="http://www.w3.org/2005/08/addressing">urn:to</wsa:To>',
        "<urn:t>é<!-- --></urn:t>",
    ]
)
ours = st.sampled_from(["", "<w:Security><w:UsernameToken/></w:Security>", "<w:Security />"])
others = st.sampled_from(["", '<w:Security {0}="urn:other"><w:x/></w:Security>'])


@st.composite
def messages(draw: st.DrawFn, *, with_security: bool = True, with_default: bool = True) -> bytes:
    """Make envelopes of every prefix, with every kind of Header and Body, and with a default namespace or not."""
    version = draw(st.sampled_from(["1.1", "1.2"]))
    prefixes = ["s", "soapenv", "SOAP-ENV", "é", "wsse", "wsu"]
    prefix = draw(st.sampled_from([*prefixes, ""] if with_default else prefixes))
    p = f"{prefix}:" if prefix else ""
    declared = f'xmlns:{prefix}="{SOAP[version]}"' if prefix else f'xmlns="{SOAP[version]}"'
    default = draw(st.sampled_from(["", " xmlns='urn:default'"])) if prefix and with_default else ""
    header = draw(st.sampled_from(["none", "empty", "closed", "full"]))
    own, other = "", ""
    if header == "full" and with_security:
        actor = f"{p}actor" if version == "1.1" else f"{p}role"
        own = draw(ours)
        other = draw(others).format(actor) if prefix else ""
    gap = draw(spaces)
    headers = {
        "none": "",
        "closed": f"<{p}Header{gap if gap.isspace() else ''}/>",
        "empty": f"<{p}Header\n></{p}Header >",
        "full": f"<{p}Header>{gap}{own}{draw(blocks)}{other}{draw(spaces)}</{p}Header>",
    }
    ids = [
        "",
        f" xmlns:u='{WSU}' u:Id='mine'",
        f" xmlns:u='{WSU}'",
        f" xmlns:wsu='{SOAP[version] if prefix == 'wsu' else 'urn:mine'}' wsu:x=''",
    ]
    id_ = draw(st.sampled_from(ids))
    envelope = (
        f"<{p}Envelope {declared}{default} xmlns:urn='urn:x' xmlns:w=\"{WSSE}\">{draw(spaces)}{headers[header]}"
        f"{draw(spaces)}<{p}Body{id_}>{draw(bodies)}</{p}Body >{draw(spaces)}</{p}Envelope\n>"
    )
    start = draw(
        st.sampled_from(["", "\ufeff", "<?xml version='1.0' encoding='UTF-8'?>\r\n", "<!-- -->\n"])
    )
    return (start + envelope + draw(spaces)).encode()


@given(messages(), st.sampled_from(["keep", "replace"]), texts, st.none() | st.tuples(texts, texts))
def test_every_other_octet_stays(
    message: bytes, existing: str, name_id: str, timestamp: tuple[str, str] | None
) -> None:
    """Taking out what was put in gives the message back; the vector stands first; no string of ours became markup."""
    vector = SUITE.issue(name_id=name_id)
    header = native.SecurityHeader(vector, timestamp=timestamp, existing=existing)
    secured = native.insert_header(message, header)
    assert undone(message, secured) == message
    assert not any(octets == b"" for _, _, octets in secured.edits) or existing == "replace"
    security = first_security(secured.octets)
    assertion = security.find(f"{{{SAML}}}Assertion")
    assert assertion is not None
    assert assertion.findtext(f".//{{{SAML}}}NameID") == name_id
    stated = tuple(one.text or "" for one in security.iterfind(f"{{{WSU}}}Timestamp/*"))
    assert stated == (timestamp or ())
    located = native.locate(secured.octets).assertion
    assert located is not None
    assert located.sha256 == vector.sha256


@given(messages(with_security=False))
def test_an_independent_reader_finds_the_message_unchanged_around_the_header(
    message: bytes,
) -> None:
    """For libxml2 the message without our block is the message as it came (canonical, comments included)."""
    secured = native.insert_header(message, native.SecurityHeader(SUITE.issue()))
    before, after = (
        etree.ElementTree(etree.fromstring(octets)) for octets in (message, secured.octets)
    )
    root = after.getroot()
    soap = f"{{{etree.QName(root).namespace}}}"
    header = next(root.iterchildren(f"{soap}Header"))
    remove(next(header.iterchildren(f"{{{WSSE}}}Security")))
    if before.getroot().find(f"{soap}Header") is None:
        remove(header)
    assert canonical(after) == canonical(before)


@given(
    messages(
        with_default=False
    ),  # lxml ignores #default in a PrefixList; libxmlsec, below, does not
    st.sampled_from(sorted(SUITES)),
    st.permutations(PARTS).flatmap(
        lambda parts: st.integers(1, 3).map(lambda count: parts[:count])
    ),
)
def test_what_is_signed_holds_over_independent_canonical_forms(
    message: bytes, family: str, signed: Sequence[str]
) -> None:
    """Every digest is that of what libxml2 canonicalizes, and `cryptography` finds the signature over SignedInfo right."""
    suite = SUITES[family]
    header = native.SecurityHeader(
        suite.issue(), timestamp=("2026-03-02T10:00:00Z", "2026-03-02T10:05:00Z"), existing="keep"
    )
    secured = suite.secure(message, header, signed)
    assert undone(message, secured) == message
    digests, canonical_parts = check_with_libxml2(secured.octets, suite)
    assert digests == [
        hashlib.new(suite.digest_name, octets).digest() for octets in canonical_parts
    ]
    claim = native.message_signature(secured.octets)
    assert claim.parts == list(signed)
    verified = claim.verify(
        lambda certificates: (
            suite.holder.public_key if certificates == [suite.holder.certificate] else b""
        )
    )
    assert [verified.parts[part] for part in signed] == canonical_parts
    assert (verified.timestamp() is not None) == ("timestamp" in signed)


@given(messages(with_security=False), st.sampled_from([("body",), ("timestamp", "body")]))
def test_libxmlsec_accepts_signed_bodies_and_timestamps(
    tmp_path_factory: pytest.TempPathFactory, message: bytes, signed: Sequence[str]
) -> None:
    """Where no STR-Transform is needed, which it lacks, libxmlsec verifies the message in place."""
    leaf = tmp_path_factory.getbasetemp() / "message-leaf.pem"
    write_pem(leaf, PKI.leaf)
    header = native.SecurityHeader(SUITE.issue(), timestamp=("a", "b"))
    octets = SUITE.secure(message, header, signed).octets
    verify_with_xmlsec(octets, leaf)
    end = octets.rindex(b"<", 0, octets.rindex(b"Body >"))
    with pytest.raises(xmlsec.Error):
        verify_with_xmlsec(octets[:end] + b"<t/>" + octets[end:], leaf)


def undone(message: bytes, secured: native.SecuredMessage) -> bytes:
    """Take out what was put in, put back what was taken out."""
    rest, original, done = secured.octets, b"", 0
    for start, end, octets in secured.edits:
        kept, rest = rest[: start - done], rest[start - done :]
        assert rest.startswith(octets)
        original += kept + message[start:end]
        rest, done = rest[len(octets) :], end
    return original + rest


def first_security(octets: bytes) -> etree._Element:
    """The first security header, which is the only one with an assertion."""
    root = etree.fromstring(octets)
    all_of_them = root.findall(f"*/{{{WSSE}}}Security")
    assert [one.find(f"{{{SAML}}}Assertion") is not None for one in all_of_them] == [
        True,
        *[False] * (len(all_of_them) - 1),
    ]
    return all_of_them[0]


def remove(element: etree._Element) -> None:
    """Take an element out and leave what follows it."""
    parent = element.getparent()
    assert parent is not None
    before, tail = element.getprevious(), element.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(element)


def canonical(tree: etree._ElementTree) -> bytes:
    """Canonical XML 1.0 with comments."""
    return etree.tostring(tree, method="c14n", with_comments=True)


def check_with_libxml2(octets: bytes, suite: Suite) -> tuple[list[bytes], list[bytes]]:
    """The digests a message signature states, and the octets they must be of; the signature itself is checked here."""
    security = first_security(octets)
    [signature] = security.findall(f"{{{DS}}}Signature")
    signed_info = signature.find(f"{{{DS}}}SignedInfo")
    value = base64.b64decode(signature.findtext(f"{{{DS}}}SignatureValue", ""))
    assert suite.holds(value, etree.tostring(signed_info, method="c14n", exclusive=True))
    references = signature.findall(f".//{{{DS}}}Reference")
    methods = {one.get("Algorithm") for one in signature.iter(f"{{{DS}}}DigestMethod")}
    assert methods == {DIGESTS[suite.digest_name]}
    digests = [base64.b64decode(one.findtext(f"{{{DS}}}DigestValue", "")) for one in references]
    return digests, [dereference(security, one) for one in references]


def dereference(security: etree._Element, reference: etree._Element) -> bytes:
    """What a Reference leads to, as WSS 1.1 and exclusive canonicalization say, by libxml2."""
    id_ = (reference.get("URI") or "").removeprefix("#")
    [element] = security.getroottree().xpath("//*[@u:Id=$id]", namespaces={"u": WSU}, id=id_)
    [transform] = reference.iter(f"{{{DS}}}Transform")
    if transform.get("Algorithm") == EXCLUSIVE:
        prefixes = [
            one.get("PrefixList", "").split()
            for one in transform.iter(f"{{{EC}}}InclusiveNamespaces")
        ]
        return exclusive(element, prefixes[0] if prefixes else [])
    assert transform.get("Algorithm") == STR_TRANSFORM
    assertion_id = (element.findtext(f"{{{WSSE}}}KeyIdentifier") or "").strip()
    [assertion] = security.getroottree().xpath("//*[@ID=$id]", id=assertion_id)
    name, _, rest = exclusive(assertion, []).partition(b" ")
    return name + b' xmlns="" ' + rest


def exclusive(element: etree._Element, prefixes: list[str]) -> bytes:
    """Exclusive canonicalization of one element where it stands."""
    return etree.tostring(
        element, method="c14n", exclusive=True, inclusive_ns_prefixes=prefixes, with_tail=False
    )


def verify_with_xmlsec(octets: bytes, leaf: Path) -> None:
    """Verify the message's own signature; it raises when it does not hold."""
    root = etree.fromstring(octets)
    xmlsec.tree.add_ids(root, ["Id"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(leaf), xmlsec.constants.KeyDataFormatCertPem)
    [signature] = root.findall(f"*/{{{WSSE}}}Security/{{{DS}}}Signature")
    context.verify(signature)
