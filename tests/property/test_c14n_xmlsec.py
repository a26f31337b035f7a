"""Canonical octets are libxml2's, on generated documents.

The oracle is xmlsec: it canonicalizes with libxml2 what a Reference names and writes the digest of the octets into the document, so what
is compared is what a partner's verifier would digest. lxml's own `c14n` is no oracle here (`shared/corpora/SOURCES.md` says why).
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace

import xmlsec
from hypothesis import given, note, settings, strategies as st
from lxml import etree

from appliance import native
from tests.messages import DIGESTS, DS, EXCLUSIVE

ALGORITHMS = [
    native.C14N_EXCLUSIVE,
    native.C14N_EXCLUSIVE + "WithComments",
    native.C14N_10,
    native.C14N_10 + "#WithComments",
    native.C14N_11,
    native.C14N_11 + "#WithComments",
]
PREFIXES = ("", "a", "b", "n1")
# None with `&`: libxml2 writes it unescaped, against Canonical XML 1.0, 2.3 (a namespace node is written as an attribute).
NAMESPACES = ("urn:x", "urn:y", "http://example.org/a?b=c", "urn:%C3%A9")
# None that ends in `..`, starts with `./` or is a query: libxml2 joins those by RFC 2396, against Canonical XML 1.1, 2.4.
BASES = [f'"{base}"' for base in ("http://h/x/y?z", "a/b", "../c/", "d", "/e/f")]
KEY = xmlsec.Key.from_binary_data(xmlsec.constants.KeyDataHmac, b"any key will do")
EXAMPLES = 300


@dataclass(frozen=True)
class Node:
    """An element before its prefixes are known to be declared.

    Attributes:
        prefix: wanted; the default namespace where it turns out not to be bound.
        declarations: prefix → namespace; the empty namespace undeclares the default one.
        attributes: (prefix, local name, escaped value).
        content: elements, and escaped text, comments and the like.
    """

    prefix: str
    name: str
    declarations: dict[str, str]
    attributes: list[tuple[str, str, str]]
    content: "list[Node | str]" = field(default_factory=list)

    def write(self, bound: dict[str, str]) -> str:
        """Write the element where `bound` maps the prefixes in scope to their namespaces."""
        bound = {**bound, **self.declarations}
        tag = f"{self.prefix}:{self.name}" if bound.get(self.prefix) and self.prefix else self.name
        written = [
            f'xmlns{":" if prefix else ""}{prefix}="{namespace}"'
            for prefix, namespace in self.declarations.items()
        ]
        seen = set()
        for prefix, name, value in self.attributes:
            qualified = f"{prefix}:{name}" if prefix else name
            expanded = (bound.get(prefix) if prefix else None, name)
            if (prefix not in ("", "xml") and not bound.get(prefix)) or expanded in seen:
                continue
            seen.add(expanded)
            written.append(f"{qualified}={value}")
        start = " ".join([tag, *written])
        inside = "".join(
            piece if isinstance(piece, str) else piece.write(bound) for piece in self.content
        )
        return f"<{start}>{inside}</{tag}>" if inside else f"<{start}/>"


characters = st.sampled_from(
    [
        *(
            "a",
            "Z",
            "9",
            " ",
            "\t",
            "\n",
            "\r\n",
            "\r",
            "é",
            "😀",
            "\u0085",
            "\u2028",
            ">",
            "]]",
            "'",
        ),
        *("&amp;", "&lt;", "&gt;", "&apos;", "&quot;"),
        *("&#13;", "&#xD;", "&#9;", "&#10;", "&#xe9;", "&#x1F600;", "&#32;"),
    ]
)
texts = st.lists(characters, max_size=8).map(
    lambda parts: re.sub(r"\]\]>+", "]]", "".join(parts)).rstrip(
        "]"
    )  # the next text may begin with >
)
double_quoted = texts.map(lambda text: f'"{text}"')
single_quoted = texts.map(lambda text: "'{}'".format(text.replace("'", '"')))
plain = st.text("ab <&é\n", max_size=6)
miscellany = st.one_of(
    plain.map(lambda text: f"<!--{text}-->"),
    plain.map(lambda text: f"<?target {text.lstrip()}?>"),
    st.just("<?target?>"),
)
attribute_values = double_quoted | single_quoted
attributes = st.one_of(
    st.tuples(st.sampled_from(PREFIXES), st.sampled_from(["c", "d", "É"]), attribute_values),
    st.tuples(st.just("xml"), st.just("lang"), st.sampled_from(['"fr"', '"en"', '""'])),
    st.tuples(st.just("xml"), st.just("space"), st.sampled_from(['"preserve"', '"default"'])),
    st.tuples(st.just("xml"), st.just("base"), st.sampled_from(BASES)),
)
declarations = st.dictionaries(
    st.sampled_from(PREFIXES), st.sampled_from(NAMESPACES), max_size=3
) | st.just({"": ""})


def elements(content: st.SearchStrategy[list[Node | str]]) -> st.SearchStrategy[Node]:
    """Elements around a content."""
    return st.builds(
        Node,
        prefix=st.sampled_from(PREFIXES),
        name=st.sampled_from(["e", "f", "élément"]),
        declarations=declarations,
        attributes=st.lists(attributes, max_size=4),
        content=content,
    )


pieces = st.one_of(
    texts,
    miscellany,
    plain.map(lambda text: f"<![CDATA[{text}]]>"),
)
trees = st.recursive(
    elements(st.lists(pieces, max_size=3)),
    lambda inner: elements(st.lists(st.one_of(inner, pieces), max_size=4)),
    max_leaves=12,
)
prologs = st.lists(miscellany, max_size=2).map("\n".join)
prefix_lists = st.lists(st.sampled_from(["#default", "a", "b", "n1"]), unique=True, max_size=3)


def libxml2_digest(octets: bytes, uri: str, algorithm: str, prefixes: list[str]) -> bytes:
    """SHA-256 of what libxml2 makes of the node-set that `uri` names; the document holds an empty Signature."""
    document = etree.fromstring(octets)
    xmlsec.tree.add_ids(document, ["ID"])
    signature = xmlsec.tree.find_node(document, xmlsec.constants.NodeSignature)
    reference = signature.find(f".//{{{DS}}}Reference")
    reference.set("URI", uri)
    transform = reference.findall(f".//{{{DS}}}Transform")[-1]
    transform.set("Algorithm", algorithm)
    if prefixes:
        prefix_list = etree.SubElement(transform, f"{{{EXCLUSIVE}}}InclusiveNamespaces")
        prefix_list.set("PrefixList", " ".join(prefixes))
    context = xmlsec.SignatureContext()
    context.key = KEY
    context.sign(signature)
    return base64.b64decode(reference.findtext(f"{{{DS}}}DigestValue"))


SIGNATURE = (
    f'<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{EXCLUSIVE}"/>'
    f'<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"/>'
    f'<ds:Reference><ds:Transforms><ds:Transform Algorithm="{DS}enveloped-signature"/><ds:Transform/></ds:Transforms>'
    f'<ds:DigestMethod Algorithm="{DIGESTS["sha256"]}"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>'
    "<ds:SignatureValue/></ds:Signature>"
)


def check(
    signed: bytes, unsigned: bytes, name: str | None, algorithm: str, prefixes: list[str]
) -> None:
    """Compare our octets, of a document or of the element with this ID, with the digest of libxml2's."""
    listed = prefixes if algorithm.startswith(native.C14N_EXCLUSIVE) else []
    ours = native.c14n(unsigned, algorithm, inclusive_prefixes=listed, id=name)
    note(f"document: {unsigned.decode()}\nours: {ours.decode()}")
    uri = "#xpointer(/)" if name is None else f"#xpointer(id('{name}'))"
    assert hashlib.sha256(ours).digest() == libxml2_digest(signed, uri, algorithm, listed)


@settings(max_examples=EXAMPLES)
@given(trees, prologs, prologs, st.sampled_from(ALGORITHMS), prefix_lists)
def test_documents_are_canonical_as_libxml2_writes_them(
    tree: Node, before: str, after: str, algorithm: str, prefixes: list[str]
) -> None:
    """A whole document, with what stands beside its root, has libxml2's canonical form."""
    start, end = f"{before}<root>{tree.write({})}", f"</root>{after}"
    signed = f"{start}{SIGNATURE}{end}".encode()
    check(signed, f"{start}{end}".encode(), None, algorithm, prefixes)


@settings(max_examples=EXAMPLES)
@given(
    st.lists(elements(st.just([])), max_size=3), trees, st.sampled_from(ALGORITHMS), prefix_lists
)
def test_elements_are_canonical_as_libxml2_writes_them(
    around: list[Node], apex: Node, algorithm: str, prefixes: list[str]
) -> None:
    """An element inside others has libxml2's canonical form: what it inherits of namespaces and `xml:` attributes included."""
    tree = replace(apex, attributes=[("", "ID", '"apex"'), *apex.attributes])
    for ancestor in reversed(around):
        tree = replace(ancestor, content=[tree, " "])
    start, end = f"<root>{tree.write({})}", "</root>"
    signed = f"{start}{SIGNATURE}{end}".encode()
    check(signed, f"{start}{end}".encode(), "apex", algorithm, prefixes)


@given(trees, st.sampled_from(ALGORITHMS), prefix_lists)
def test_a_canonical_form_is_its_own(tree: Node, algorithm: str, prefixes: list[str]) -> None:
    """Canonicalizing twice is canonicalizing once."""
    once = native.c14n(tree.write({}).encode(), algorithm, inclusive_prefixes=prefixes)
    assert native.c14n(once, algorithm, inclusive_prefixes=prefixes) == once
