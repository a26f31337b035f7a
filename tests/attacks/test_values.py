"""What a vector states is what was signed: no reader sees less of a value, and no two readers see different ones.

Comments go away in exclusive canonicalization, so they can be put in after signing; everything else here is signed as it stands.
"""

import re
import unicodedata
from pathlib import Path

import pytest

from appliance.conventions.registry import Registry
from appliance.errors import MalformedRequest
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from tests.messages import AUDIENCE, ISSUER, LEVEL, Signing, Statement, make_vector, sign_body
from tests.partners import make_partner
from tests.pki import NOW, Pki, make_pki
from tests.templates import ID

WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
CUTS = ("<!---->", "<!-- x -->", "<!--><-->", "<!--</saml2:NameID>-->")
INSTRUCTIONS = ("<?p?>", "<?p </saml2:NameID>?>")


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def registry(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The partner's convention."""
    return make_partner(tmp_path_factory.mktemp("partner"), pki)


def verdict(octets: bytes, registry: Registry) -> Verdict:
    """Judge a message."""
    return verdict_of(judge(Question(octets), registry, NOW))


def reason(octets: bytes, registry: Registry) -> str:
    """Why a message is refused."""
    fault = verdict(octets, registry).fault
    return "accepted" if fault is None else fault.reason.value


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "value", ["agent-0042.attacker", ISSUER, AUDIENCE, LEVEL, "PAGM_CONSULTATION"]
)
def test_a_comment_truncates_nothing(pki: Pki, registry: Registry, value: str, cut: str) -> None:
    """A comment put into a value, at any place, after signing: the digest still holds, and the value is still whole."""
    octets = make_vector(Signing(pki.leaf), name_id="agent-0042.attacker").decode()
    for at in (0, 1, len(value) // 2, len(value)):
        message = octets.replace(f">{value}<", f">{value[:at]}{cut}{value[at:]}<")
        assert message != octets
        accepted = verdict(message.encode(), registry).accepted
        assert accepted is not None
        vector = accepted.vector
        assert (vector.name_id, vector.issuer, vector.level) == (
            "agent-0042.attacker",
            ISSUER,
            LEVEL,
        )
        assert accepted.pagms == ("PAGM_CONSULTATION",)


@pytest.mark.parametrize(
    "inside", [*INSTRUCTIONS, "<x/>", "<![CDATA[x]]>", "&#32;", "&#x200B;", "\u200b"]
)
@pytest.mark.parametrize("value", ["agent-0042", ISSUER, AUDIENCE, LEVEL, "PAGM_CONSULTATION"])
def test_anything_else_breaks_the_signature(
    pki: Pki, registry: Registry, value: str, inside: str
) -> None:
    """An instruction, an element, a CDATA section with something in it, a reference, an invisible character."""
    octets = make_vector(Signing(pki.leaf)).decode()
    message = octets.replace(f">{value}<", f">{value[:4]}{inside}{value[4:]}<")
    assert message != octets
    assert reason(message.encode(), registry) in {"digest-mismatch", "structure-invalid"}


@pytest.mark.parametrize("inside", INSTRUCTIONS)
def test_signed_instructions_do_not_split(pki: Pki, registry: Registry, inside: str) -> None:
    """Where the partner itself signed an instruction inside a name, both halves count."""
    body = Statement(id=ID).body(hole_last=False, indent="")
    message = sign_body(Signing(pki.leaf), ID, body.replace("agent-0042", f"agent{inside}-0042"))
    accepted = verdict(message, registry).accepted
    assert accepted is not None
    assert accepted.vector.name_id == "agent-0042"


@pytest.mark.parametrize("value", ["agent-0042", ISSUER, AUDIENCE, LEVEL, "PAGM_CONSULTATION"])
def test_signed_markup_in_a_value_is_no_value(pki: Pki, registry: Registry, value: str) -> None:
    """Where the partner itself signed an element inside a simple value, the vector is refused, not read in part."""
    body = Statement(id=ID).body(hole_last=False, indent="")
    for inside in ("<x/>", "<saml2:NameID>attacker</saml2:NameID>", f"<x>{value}</x>"):
        marked = body.replace(f">{value}<", f">{value}{inside}<")
        assert marked != body
        assert reason(sign_body(Signing(pki.leaf), ID, marked), registry) == "structure-invalid"


@pytest.mark.parametrize(
    ("field", "expected"),
    [("issuer", "issuer-unknown"), ("audiences", "audience-mismatch"), ("pagms", "pagm-unknown")],
)
@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda value: unicodedata.normalize("NFKC", value.replace("e", "\u0435", 1)),
        lambda value: f"{value}\u00a0",
        lambda value: f"\u200b{value}",
        lambda value: value.replace(":", "\uff1a").replace("_", "\uff3f"),
        lambda value: f"{value}/",
        lambda value: f"{value}\n.",
    ],
    ids=["case", "homoglyph", "no-break space", "zero width", "full width", "slash", "line"],
)
def test_identifiers_are_compared_octet_for_octet(
    pki: Pki, registry: Registry, field: str, expected: str, change
) -> None:
    """No case folding, no Unicode normalisation, no trimming beyond XML's own white space."""
    original = {"issuer": ISSUER, "audiences": AUDIENCE, "pagms": "PAGM_CONSULTATION"}[field]
    other = change(original)
    if other == original:
        other = original[:-1]
    value = other if field == "issuer" else (other,)
    assert reason(make_vector(Signing(pki.leaf), **{field: value}), registry) == expected


@pytest.mark.parametrize(
    "decoy",
    [
        "<saml2:Issuer>urn:attacker</saml2:Issuer>",
        "<saml2:Subject><saml2:NameID>attacker</saml2:NameID></saml2:Subject>",
        '<saml2:Conditions NotOnOrAfter="2099-01-01T00:00:00Z"/>',
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_doubled_parts(pki: Pki, registry: Registry, decoy: str, place: str) -> None:
    """Two Issuers, Subjects or Conditions, signed or not: refused before anybody chooses one of them."""
    body = Statement(id=ID).body(hole_last=False, indent="")
    at = ("<saml2:Issuer>", f"{decoy}<saml2:Issuer>")
    if place == "last":
        at = ("</saml2:Assertion>", f"{decoy}</saml2:Assertion>")
    signed = sign_body(Signing(pki.leaf), ID, body.replace(*at, 1))
    assert reason(signed, registry) == "structure-invalid"
    unsigned = make_vector(Signing(pki.leaf)).decode().replace(*at, 1)
    assert reason(unsigned.encode(), registry) == "structure-invalid"


@pytest.mark.parametrize("attribute", ["ID", "Id", "AssertionID", "wsu:Id"])
def test_an_id_that_stands_twice(pki: Pki, registry: Registry, attribute: str) -> None:
    """One ID for two elements, under any of the names that an ID goes by, refuses the vector, though the partner signed it so."""
    body = Statement(id=ID).body(hole_last=False, indent="")
    twin = f'<saml2:Advice xmlns:wsu="{WSU}" {attribute}="{ID}"/>'
    message = sign_body(
        Signing(pki.leaf), ID, body.replace("<saml2:Subject>", f"{twin}<saml2:Subject>")
    )
    assert reason(message, registry) == "signature-profile"
    once = message.replace(f'{attribute}="{ID}"/>'.encode(), f'{attribute}="x{ID}"/>'.encode())
    assert reason(once, registry) == "digest-mismatch"


def test_an_xml_id_that_stands_twice(pki: Pki, registry: Registry) -> None:
    """Of `xml:id` the reader itself says that it stands twice, or is no name."""
    message = make_vector(Signing(pki.leaf)).decode()
    for ids in ('xml:id="x"/><x xml:id="x"', 'xml:id="1"', 'xml:id=" x"', 'xml:id=""'):
        changed = message.replace("<saml2:Subject>", f"<x {ids}/><saml2:Subject>")
        with pytest.raises(MalformedRequest):
            reason(changed.encode(), registry)


@pytest.mark.parametrize(
    ("genuine", "other"),
    [
        ("<saml2:NameID ", "<saml2::NameID "),
        ("<saml2:NameID ", "<:NameID "),
        ("<saml2:NameID ", "<saml2:x:NameID "),
        ('<saml2:NameID Format="', '<saml2:NameID :attr="" Format="'),
        ('<saml2:NameID Format="', '<saml2:NameID xmlns:="x" Format="'),
        ('<saml2:NameID Format="', '<saml2:NameID xmlns::saml2="x" Format="'),
        ('<saml2:NameID Format="', '<saml2:NameID saml2="" saml2="" Format="'),
        (
            '<saml2:NameID Format="',
            '<saml2:NameID xmlns:a="urn:a" xmlns:b="urn:a" a:x="" b:x="" Format="',
        ),
        ("<saml2:Subject>", "<!x><saml2:Subject>"),
        ("<saml2:Subject>", "<![x[]]><saml2:Subject>"),
        ("<saml2:Subject>", "<!---x--><!-- -- --><saml2:Subject>"),
    ],
)
def test_what_does_not_survive_a_round_trip(
    pki: Pki, registry: Registry, genuine: str, other: str
) -> None:
    """Names, attributes and declarations that some parsers write back as something else are not well-formed here."""
    message = make_vector(Signing(pki.leaf)).decode()
    changed = message.replace(genuine, other, 1)
    assert changed != message
    with pytest.raises(MalformedRequest):
        reason(changed.encode(), registry)


@pytest.mark.parametrize(
    ("genuine", "other"),
    [
        ("saml2:NameID", "saml2:nameID"),
        ("saml2:NameID", "NameID"),
        ("saml2:AttributeValue", "evil:AttributeValue"),
        ("urn:oasis:names:tc:SAML:2.0:assertion", "urn:oasis:names:tc:SAML:2.0:Assertion"),
    ],
)
def test_names_are_namespaces_and_local_names(
    pki: Pki, registry: Registry, genuine: str, other: str
) -> None:
    """Namespace confusion: an element of another case or namespace is another element, whatever its prefix."""
    message = make_vector(Signing(pki.leaf)).decode()
    declared = message.replace("<saml2:Assertion ", '<saml2:Assertion xmlns:evil="urn:evil" ')
    changed = declared.replace(genuine, other)
    assert changed != declared
    assert reason(changed.encode(), registry) != "accepted"


def test_another_prefix_is_another_signature(pki: Pki, registry: Registry) -> None:
    """Prefixes are signed: renaming one, or declaring it elsewhere, breaks the digest; a declaration nobody uses does not."""
    message = make_vector(Signing(pki.leaf)).decode()
    renamed = re.sub(
        r"(?<=[</])saml2:|(?<=xmlns:)saml2(?==)", lambda m: m[0].replace("saml2", "saml"), message
    )
    assert reason(renamed.encode(), registry) == "digest-mismatch"
    unused = message.replace("<saml2:Assertion ", '<saml2:Assertion xmlns:unused="urn:u" ')
    accepted = verdict(unused.encode(), registry).accepted
    assert accepted is not None
    assert b"unused" not in accepted.vector.octets.octets


def test_a_prefix_in_a_value_is_only_text(pki: Pki, registry: Registry) -> None:
    """Exclusive canonicalization does not sign what a prefix in a value stands for: it can be rebound, and means nothing here."""
    body = Statement(id=ID).body(hole_last=False, indent="")
    body = body.replace("<saml2:Assertion ", f'<saml2:Assertion xmlns:xs="{SCHEMA}" ')
    typed = f'<saml2:AttributeValue xmlns:xsi="{SCHEMA}-instance" xsi:type="xs:string">'
    message = sign_body(
        Signing(pki.leaf), ID, body.replace("<saml2:AttributeValue>", typed)
    ).decode()
    rebound = message.replace(f'xmlns:xs="{SCHEMA}"', 'xmlns:xs="urn:evil"')
    for each in (message, rebound):
        accepted = verdict(each.encode(), registry).accepted
        assert accepted is not None
        assert accepted.pagms == ("PAGM_CONSULTATION",)
        assert SCHEMA.encode() + b'"' not in accepted.vector.octets.octets


def test_the_verified_octets_are_all_that_is_read(pki: Pki, tmp_path: Path) -> None:
    """What comes back is canonical, without Signature and comments, and holds every value that was read."""
    registry = make_partner(tmp_path, pki)
    message = make_vector(Signing(pki.leaf)).decode()
    message = message.replace("<saml2:Subject>", "<!--attacker--><saml2:Subject>")
    accepted = verdict(message.encode(), registry).accepted
    assert accepted is not None
    octets = accepted.vector.octets.octets
    assert b"attacker" not in octets
    assert b"Signature" not in octets
    for value in (accepted.vector.name_id, ISSUER, AUDIENCE, LEVEL, *accepted.pagms):
        assert value is not None
        assert value.encode() in octets


def test_a_canonical_form_without_end(pki: Pki, registry: Registry) -> None:
    """Exclusive canonicalization repeats a declaration wherever it is used anew: what would grow beyond the limit is refused."""
    message = make_vector(Signing(pki.leaf)).decode()
    many = "<p:x/>" * 2_000
    advice = f'<saml2:Advice xmlns:p="urn:{"x" * 20_000}">{many}</saml2:Advice>'
    grown = message.replace("<saml2:Subject>", f"{advice}<saml2:Subject>")
    assert reason(grown.encode(), registry) == "signature-profile"


ENCODED = {
    "UTF-7": lambda text: text.replace("<", "+ADw-").encode("utf-7"),
    "UTF-7, declared": lambda text: b'<?xml version="1.0" encoding="UTF-7"?>' + text.encode(),
    "UTF-16 declared, UTF-8": lambda text: (
        b'<?xml version="1.0" encoding="UTF-16"?>' + text.encode()
    ),
    "UTF-8 declared, UTF-16": lambda text: f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(
        "utf-16"
    ),
    "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
    "UTF-16 without mark, declared": lambda text: (
        f'<?xml version="1.0" encoding="UTF-16LE"?>{text}'.encode("utf-16-le")
    ),
    "UTF-32": lambda text: text.encode("utf-32"),
    "EBCDIC": lambda text: f'<?xml version="1.0" encoding="cp037"?>{text}'.encode("cp037"),
    "Latin-1": lambda text: f'<?xml version="1.0" encoding="ISO-8859-1"?>{text}'.encode("latin-1"),
    "windows-1252": lambda text: (
        b'<?xml version="1.0" encoding="windows-1252"?>' + text.encode("windows-1252")
    ),
    "overlong": lambda text: text.encode().replace(b"<saml2:Subject>", b"\xc0\xbcsaml2:Subject>"),
    "CESU-8": lambda text: text.encode().replace("é".encode(), b"\xed\xa0\xbd\xed\xb8\x80"),
    "a lone surrogate": lambda text: text.encode().replace("é".encode(), b"\xed\xa0\x80"),
    "U+FFFE": lambda text: text.replace("é", "\ufffe").encode(),
    "U+0000": lambda text: text.replace("é", "\0").encode(),
    "a reference to U+0000": lambda text: text.replace("é", "&#0;").encode(),
    "a reference to a surrogate": lambda text: text.replace("é", "&#xD83D;&#xDE00;").encode(),
    "two marks": lambda text: "\ufeff\ufeff".encode() + text.encode(),
}


@pytest.mark.parametrize("name", ENCODED)
def test_encodings_that_hide_something(pki: Pki, registry: Registry, name: str) -> None:
    """Another encoding than UTF-8, or UTF-16 with its mark, or one that the declaration denies, is not read at all."""
    text = make_vector(Signing(pki.leaf), name_id="agent é").decode()
    octets = ENCODED[name](text)
    assert octets != text.encode()
    with pytest.raises(MalformedRequest):
        reason(octets, registry)


def test_encodings_that_hide_nothing(pki: Pki, registry: Registry) -> None:
    """UTF-8 with a mark, and UTF-16 with one in either order, are the same vector."""
    text = make_vector(Signing(pki.leaf), name_id="agent é").decode()
    for octets in (
        text.encode("utf-8-sig"),
        text.encode("utf-16"),
        "\ufeff".encode("utf-16-be") + text.encode("utf-16-be"),
        f'<?xml version="1.0" encoding="UTF-16"?>{text}'.encode("utf-16"),
    ):
        accepted = verdict(octets, registry).accepted
        assert accepted is not None
        assert accepted.vector.name_id == "agent é"
