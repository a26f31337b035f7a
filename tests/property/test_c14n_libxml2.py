"""Generated documents: our canonical forms, our well-formedness and our verdicts, beside libxml2's own and libxmlsec's."""

from collections import Counter

import pytest

from appliance.native import C14N_10, C14N_EXCLUSIVE, XmlRefused, c14n
from tests import libxml2
from tests.differential import (
    check_canonical_forms,
    check_generic_verdict,
    check_verdict,
    check_well_formedness,
)

SEED = 20260302
DOCUMENTS = 10_000
DAMAGED = 20_000
TAMPERED = 4_000
SIGNED = 1_000
PART = 1_000


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, DOCUMENTS, PART))
def test_canonical_forms_are_libxml2s(first: int) -> None:
    """Octet for octet, by every algorithm, of the whole and of an element: or neither of us has one."""
    compared = sum(check_canonical_forms(SEED, number) for number in range(first, first + PART))
    assert compared > PART


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, DAMAGED, PART))
def test_what_libxml2_refuses_is_refused(first: int) -> None:
    """A damaged document that libxml2 does not read we do not read; what we alone refuse we refuse on purpose."""
    verdicts = Counter(check_well_formedness(SEED, number) for number in range(first, first + PART))
    assert verdicts["neither"] > verdicts["both"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, TAMPERED, PART))
def test_what_we_accept_libxmlsec_accepts(first: int) -> None:
    """A damaged vector that we accept states what was signed, and libxmlsec accepts it; what it alone accepts is outside our profile."""
    verdicts = Counter(check_verdict(SEED, number) for number in range(first, first + PART))
    assert verdicts["neither"] > verdicts["both"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SIGNED, PART))
def test_a_signature_anywhere_is_good_for_both_or_for_neither(first: int) -> None:
    """What libxmlsec signed in a generated document, by any form and from any place, verifies with the generic profile; damaged, with neither."""
    verdicts = Counter(check_generic_verdict(SEED, number) for number in range(first, first + PART))
    assert verdicts["genuine"] > PART / 3
    assert verdicts["neither"] > verdicts["both"] > 0


@pytest.mark.parametrize(
    ("octets", "element_id"),
    [
        (b'<a xmlns="urn:a"><b xmlns="relative"/><c ID="i"/></a>', "i"),
        (b'<a xmlns:r="relative"><c ID="i"/></a>', "i"),
        (b'<a><b xmlns:r="./r"/></a>', None),
        (b'<a><b xmlns:r="//host/r"/></a>', None),
    ],
)
@pytest.mark.parametrize("algorithm", [C14N_10, C14N_EXCLUSIVE])
def test_one_relative_namespace_and_there_is_no_form(
    octets: bytes, element_id: str | None, algorithm: str
) -> None:
    """Canonical XML 1.3: a document with a relative namespace has no canonical form, wherever it stands, and no part of it has."""
    with pytest.raises(XmlRefused, match="relative namespace"):
        c14n(octets, algorithm, id=element_id)
    with libxml2.read(octets) as document, pytest.raises(libxml2.Refused):
        document.canonicalize(algorithm, (), element_id)


@pytest.mark.parametrize(
    ("algorithm", "prefixes", "element_id"),
    [
        (C14N_10, (), None),
        (C14N_10, (), "i"),
        (C14N_EXCLUSIVE, (), None),
        (C14N_EXCLUSIVE, ("p",), "i"),
    ],
)
def test_ampersand_in_a_namespace(
    algorithm: str, prefixes: tuple[str, ...], element_id: str | None
) -> None:
    """A namespace is escaped as Canonical XML 2.3 says of any attribute; libxml2 forgets to, and its output is no XML."""
    octets = b'<a xmlns:p="urn:a?b&amp;c"><p:b ID="i"/></a>'
    ours = c14n(octets, algorithm, inclusive_prefixes=prefixes, id=element_id)
    assert b'xmlns:p="urn:a?b&amp;c"' in ours
    assert c14n(ours, algorithm, inclusive_prefixes=prefixes) == ours
    with libxml2.read(octets) as document:
        theirs = document.canonicalize(algorithm, prefixes, element_id)
    assert theirs == ours.replace(b"&amp;", b"&")
