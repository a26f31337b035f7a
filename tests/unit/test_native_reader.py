"""The reader's bounds and encodings as Python sees them."""

import pytest

from appliance.native import C14N_10, C14N_EXCLUSIVE, Limits, XmlRefused
from tests.canonical import c14n


@pytest.mark.parametrize(
    ("bounds", "document", "said"),
    [
        ({"octets": 3}, b"<a/>", "more than 3 octets (octet 3)"),
        ({"depth": 1}, b"<a><b/></a>", "more than 1 levels of elements (octet 3)"),
        (
            {"attributes": 1},
            b"<a b='' c=''/>",
            "more than 1 attributes on one element (octet 8)",
        ),
        (
            {"namespaces": 1},
            b"<a xmlns='x:'><b xmlns:p='y:'/></a>",
            "more than 1 namespace declarations in scope (octet 29)",
        ),
        ({"name": 2}, b"<abc/>", "more than 2 octets in a name (octet 4)"),
        ({"value": 2}, b"<a b='123'/>", "more than 2 octets in an attribute value (octet 8)"),
        ({"references": 1}, b"<a b='&lt;'>&gt;</a>", "more than 1 references (octet 12)"),
        (
            {"growth": 2},
            b"<a xmlns:p='http://example.org/a/long/one/indeed'>" + b"<p:b/>" * 9 + b"</a>",
            "more than 294 octets in a canonical form (octet 80)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_limit_has_its_own_error(bounds: dict[str, int], document: bytes, said: str) -> None:
    """Passing a bound says which it is, its value, and where; a wider one lets the same document pass."""
    with pytest.raises(XmlRefused) as raised:
        c14n(document, limits=Limits(**bounds))
    assert raised.value.reason == "xml-limit"
    assert str(raised.value) == said
    assert said.endswith(f"(octet {raised.value.offset})")
    wider = {name: 10 * bound for name, bound in bounds.items()}
    assert c14n(document, limits=Limits(**wider)) == c14n(document)


def test_the_defaults_are_those_of_the_contract() -> None:
    """100 levels, 256 attributes and 64 namespaces pass; one more of each does not."""
    deep = b"<a>" * 100 + b"</a>" * 100
    wide = b"<a" + b"".join(b" a%d=''" % n for n in range(256)) + b"/>"
    bound = b"<a" + b"".join(b" xmlns:p%d='x:'" % n for n in range(64)) + b"/>"
    for document, more in (
        (deep, b"<a>" + deep + b"</a>"),
        (wide, wide.replace(b"<a", b"<a b=''")),
        (bound, bound.replace(b"<a", b"<a xmlns='x:'")),
    ):
        assert c14n(document)
        with pytest.raises(XmlRefused, match="more than"):
            c14n(more)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_needs_its_mark_and_no_contradiction(encoding: str) -> None:
    """UTF-16 with a byte order mark is read as what it says; without, or declared as something else, it is refused."""
    text = "<a b='é'>😀</a>"
    canonical = c14n(text.encode())
    assert c14n(("\ufeff" + text).encode(encoding)) == canonical
    declared = "\ufeff<?xml version='1.0' encoding='UTF-16'?>" + text
    assert c14n(declared.encode(encoding)) == canonical
    for wrong in (text, declared.replace("UTF-16", "UTF-8"), declared.replace("UTF-16", "UCS-2")):
        with pytest.raises(XmlRefused) as raised:
            c14n(wrong.encode(encoding))
        assert raised.value.reason == "malformed-xml"


@pytest.mark.parametrize("algorithm", [C14N_EXCLUSIVE, C14N_10])
def test_what_has_no_canonical_form_yields_no_octets(algorithm: str) -> None:
    """A relative namespace, an ID nobody has and one that two have are refused; nothing comes back empty."""
    with pytest.raises(XmlRefused, match="relative namespace"):
        c14n(b"<a xmlns='b'/>", algorithm)
    for document in (b"<a/>", b"<a ID='x'><b xml:id='x'/></a>"):
        with pytest.raises(ValueError, match="the ID"):
            c14n(document, algorithm, id="x")
