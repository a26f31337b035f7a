"""Three defects of lxml's own canonicalizer, where we and libxml2 do as the standards say."""

from collections.abc import Sequence

import pytest
from lxml import etree

from appliance.native import C14N_10, C14N_EXCLUSIVE, c14n
from tests import libxml2


@pytest.mark.parametrize(
    ("octets", "algorithm", "prefixes", "expected"),
    [
        pytest.param(
            b'<a xmlns="urn:d"><b ID="i"><c><e/></c></b></a>',
            *(C14N_10, ()),
            b'<b xmlns="urn:d" ID="i"><c><e></e></c></b>',
            id="invents an undeclaration two levels below the default namespace's element",
        ),
        pytest.param(
            b'<a xml:lang="fr" xml:space="preserve" xml:base="http://x/"><b ID="i"/></a>',
            *(C14N_10, ()),
            b'<b ID="i" xml:base="http://x/" xml:lang="fr" xml:space="preserve"></b>',
            id="inherits no xml: attributes from ancestors (Canonical XML 2.4)",
        ),
        pytest.param(
            b'<a xmlns="urn:d" xmlns:p="urn:p"><p:b ID="i"/></a>',
            *(C14N_EXCLUSIVE, ("#default",)),
            b'<p:b xmlns="urn:d" xmlns:p="urn:p" ID="i"></p:b>',
            id="ignores #default in the PrefixList (Exclusive Canonicalization 3)",
        ),
    ],
)
def test_where_lxml_is_wrong(
    octets: bytes, algorithm: str, prefixes: Sequence[str], expected: bytes
) -> None:
    """Ours is the standard's form and libxml2's, and not lxml's: so lxml is no oracle for it."""
    assert c14n(octets, algorithm, inclusive_prefixes=prefixes, id="i") == expected
    with libxml2.read(octets) as document:
        assert document.canonicalize(algorithm, prefixes, "i") == expected
    element = etree.fromstring(octets).find(".//*[@ID='i']")
    theirs = etree.tostring(
        element,
        method="c14n",
        exclusive=algorithm == C14N_EXCLUSIVE,
        inclusive_ns_prefixes=list(prefixes),
        with_comments=False,
    )
    assert theirs != expected
