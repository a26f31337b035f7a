"""Canonicalization cases of libxml2, Apache Santuario and ucarion/c14n: exact octets, or refused for the reason we document.

A case is *expressible* when what it canonicalizes is a document or one whole element; XPath node-sets that are neither have no place
in our interface. The cases lie outside the project (`shared/corpora/SOURCES.md` states origin and licence).
"""

import base64
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from appliance import native
from tests.canonical import c14n

Expectation = Literal["exact", "dtd-forbidden", "malformed-xml", "inexpressible"]

# It holds a processing instruction with the target `xml`, which is reserved (XML 1.0, production 17).
NOT_WELL_FORMED = "ucarion/c14n/procinst"
# The XPath expressions that select one element with all it holds; the element's name is their last word.
ONE_ELEMENT = re.compile(
    r"\(//\. \| //@\* \| //namespace::\*\)\s*\[\s*ancestor-or-self::([\w:]+)\s*\]|SUBTREE:(\w+)"
)
MARK = b' ID="the-apex"'


@dataclass(frozen=True)
class Case:
    """One canonicalization that somebody else made."""

    id: str
    algorithm: str
    inclusive_prefixes: tuple[str, ...]
    octets: bytes
    expected: bytes
    has_doctype: bool
    xpath: str | None

    @property
    def element(self) -> str | None:
        """The qualified name of the one element that is canonicalized."""
        found = ONE_ELEMENT.fullmatch(self.xpath.strip()) if self.xpath else None
        return found and (found[1] or found[2])

    @property
    def expectation(self) -> Expectation:
        """What our canonicalizer owes this case."""
        if self.has_doctype:
            return "dtd-forbidden"
        if self.id == NOT_WELL_FORMED:
            return "malformed-xml"
        is_whole = self.xpath is None or self.element is not None
        return "exact" if is_whole else "inexpressible"

    def canonicalize(self) -> bytes:
        """Canonicalize; an element is named by an ID that is put on its first start tag and taken from the result."""
        prefixes = self.inclusive_prefixes
        if self.element is None:
            return c14n(self.octets, self.algorithm, inclusive_prefixes=prefixes)
        tag = re.compile(rb"<(?:\w+:)?" + self.element.rpartition(":")[2].encode() + rb"\b")
        marked = tag.sub(lambda start: start[0] + MARK, self.octets, count=1)
        canonical = c14n(marked, self.algorithm, inclusive_prefixes=prefixes, id="the-apex")
        return canonical.replace(MARK, b"", 1)


@pytest.fixture(scope="module")
def cases(corpora: Path) -> list[Case]:
    """Every case of the corpus."""
    return [
        Case(
            id=case["id"],
            algorithm=case["algorithm"],
            inclusive_prefixes=tuple(case["inclusive_prefixes"] or ()),
            octets=base64.b64decode(case["input"]),
            expected=base64.b64decode(case["expected"]),
            has_doctype=case["doctype"],
            xpath=case["xpath"],
        )
        for case in json.loads((corpora / "c14n.json").read_text())
    ]


def test_expressible_cases_are_exact(cases: list[Case]) -> None:
    """What others state as the canonical form, of a document or of an element, is what we write, to the octet."""
    expressible = [case for case in cases if case.expectation == "exact"]
    wrong = {case.id: case.canonicalize() for case in expressible}
    expected = {case.id: case.expected for case in expressible}
    assert wrong == expected
    families = Counter(case.algorithm.partition("#")[0].rpartition("/")[2] for case in expressible)
    assert set(families) == {"REC-xml-c14n-20010315", "xml-exc-c14n"}


def test_what_has_a_dtd_is_refused(cases: list[Case]) -> None:
    """A document type declaration is refused by name, at its octet, whatever it declares."""
    with_doctype = [case for case in cases if case.expectation == "dtd-forbidden"]
    assert with_doctype
    for case in with_doctype:
        with pytest.raises(native.XmlRefused) as raised:
            c14n(case.octets)
        assert raised.value.reason == "dtd-forbidden", case.id
        assert raised.value.offset == case.octets.index(b"<!DOCTYPE"), case.id


def test_what_is_not_well_formed_is_refused(cases: list[Case]) -> None:
    """The one case that is not XML is refused, though another canonicalizer lets it pass."""
    [case] = [case for case in cases if case.expectation == "malformed-xml"]
    with pytest.raises(native.XmlRefused) as raised:
        c14n(case.octets)
    assert raised.value.reason == "malformed-xml"


def test_every_case_is_accounted_for(cases: list[Case]) -> None:
    """Only node-sets that are no element stay untried: each has an XPath predicate that picks nodes one by one."""
    untried = [case for case in cases if case.expectation == "inexpressible"]
    picking = re.compile(r"self::|count\(|name\(\)|namespace-uri\(\)|string\(")
    for case in untried:
        assert case.xpath is not None
        within = case.xpath.replace("ancestor-or-self::bar:Something", "", 1)
        assert picking.search(within), case.id
    assert len({case.id for case in cases}) == len(cases)
