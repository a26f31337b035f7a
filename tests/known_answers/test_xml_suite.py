"""The reader against the W3C XML Conformance Suite (`xmltest`), and against libxml2: what it refuses, we refuse."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from appliance.native import C14N_10, C14N_11, C14N_EXCLUSIVE, XmlRefused
from tests.canonical import c14n


@dataclass(frozen=True, slots=True)
class Case:
    """One document, and whether it is to be read."""

    id: str
    octets: bytes
    expected: str
    has_doctype: bool


@pytest.fixture(scope="module")
def cases(corpora: Path) -> list[Case]:
    """Every document of the suite."""
    return [
        Case(case["id"], base64.b64decode(case["input"]), case["expected"], case["doctype"])
        for case in json.loads((corpora / "xml.json").read_text())
    ]


def refusal(octets: bytes) -> XmlRefused | None:
    """Why we do not read it."""
    try:
        c14n(octets, C14N_10)
    except XmlRefused as exc:
        return exc
    return None


def libxml2_reads(octets: bytes) -> bool:
    """Whether libxml2 finds it well-formed and namespace-well-formed, without loading anything it names."""
    parser = etree.XMLParser(load_dtd=False, no_network=True, resolve_entities=False)
    try:
        etree.fromstring(octets, parser)
    except etree.XMLSyntaxError:
        return False
    return not parser.error_log.filter_from_errors()


def test_documents_are_judged_as_labelled(cases: list[Case]) -> None:
    """What is well-formed and has no DOCTYPE is read; everything else is refused with a reason and an octet of the input."""
    wrong = []
    for case in cases:
        refused = refusal(case.octets)
        if (refused is None) != (case.expected == "parse"):
            wrong.append(case.id)
        if refused is not None:
            assert refused.reason in {"malformed-xml", "dtd-forbidden"}, case.id
            assert refused.offset is not None
            assert 0 <= refused.offset <= len(case.octets), case.id
    assert wrong == []
    assert len(cases) == 365


def test_a_doctype_is_refused_by_name(cases: list[Case]) -> None:
    """A DOCTYPE is refused at its octet, whatever it declares; where something else is, libxml2 refuses the document too."""
    with_doctype = [case for case in cases if case.has_doctype]
    assert with_doctype
    for case in with_doctype:
        refused = refusal(case.octets)
        assert refused is not None, case.id
        if refused.reason == "dtd-forbidden":
            text = case.octets[refused.offset :].replace(b"\0", b"")
            assert text.startswith(b"<!DOCTYPE"), case.id
        else:
            assert not libxml2_reads(case.octets), case.id


def test_what_libxml2_refuses_is_refused(cases: list[Case]) -> None:
    """Nothing is read here that a partner's libxml2 would not read."""
    lenient = [c.id for c in cases if refusal(c.octets) is None and not libxml2_reads(c.octets)]
    assert lenient == []


def test_what_is_read_has_the_canonical_form_of_libxml2(cases: list[Case]) -> None:
    """What comes out of a document that is read is what libxml2 finds in it, by each algorithm."""
    for case in cases:
        if case.expected != "parse":
            continue
        tree = etree.fromstring(case.octets).getroottree()
        for algorithm in (C14N_10, C14N_11, C14N_EXCLUSIVE):
            theirs = etree.tostring(tree, method="c14n", exclusive=algorithm == C14N_EXCLUSIVE)
            # lxml's default keeps comments.
            ours = c14n(case.octets, f"{algorithm.removesuffix('#')}#WithComments")
            assert ours == theirs, (case.id, algorithm)
