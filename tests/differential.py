"""What libxml2 and libxmlsec say of generated documents, beside what we say; every difference that is not ours on purpose is an error.

A document is named by a seed and a number, and so is a failure. `make test` runs the first thousands; `make fuzz` runs
`python -m tests.differential SECONDS [SEED]`, from a new seed each time.
"""

import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import xmlsec
from lxml import etree

from appliance.native import (
    C14N_10,
    C14N_EXCLUSIVE,
    SignatureRefused,
    XmlRefused,
    locate,
    verify_signature,
)
from tests import libxml2
from tests.canonical import c14n
from tests.documents import PREFIXES, URIS, Generated, damage
from tests.messages import DS, EXCLUSIVE, MORE, Signing, make_vector
from tests.pki import Holder, certify, ec_key, rsa_key
from tests.templates import (
    ENVELOPED,
    RSA_SHA256,
    Template,
    private_key,
    write_reference,
    write_transform,
)
from tests.wrapping import issue

RELATIVE_URIS: Final = ("x", "./y", "../urn:a", "//host/z")
PREFIX_LISTS: Final = (
    (),
    ("#default",),
    ("a",),
    ("b", "#default", "é"),
    ("prefix-two", "a"),
    ("unknown",),
    PREFIXES,
)

READING: Final = f"{C14N_10}#WithComments"
"""The form that keeps most of what was read."""
STRICTER: Final = {
    "the declared encoding is not the one of the octets": b"encoding",
    "the octets are not UTF-8": b"\0",
    "the octets are not UTF-16": b"\0",
    "a character that XML 1.0 cannot carry": b"\0",
    "the XML declaration states no version 1.x": b"1.",
    "the value of xml:id is not a name": b"xml:id",
    "the value of xml:id stands twice": b"xml:id",
    "a document type declaration is not accepted": b"<!DOCTYPE",
}
"""What we refuse and libxml2 may read, and what must stand in the document for that to be.

A DTD is never read. No encoding but UTF-8 and UTF-16, under their own names, and no UTF-16 without its mark. libxml2 stops at
U+0000 behind the root as C does, drops half a UTF-16 character at the end, and reads version `1.`. `xml:id` must be an ID
(xml:id 1.0, 4).
"""


def make_document(seed: int, number: int) -> tuple[bytes, list[str], random.Random]:
    """Generate a document: octets, its IDs, and what further choices about it are made with."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - to be had again, not to be secret
    uris = URIS if chance.random() < 0.95 else URIS + RELATIVE_URIS
    generated = Generated(chance, uris)
    text = generated.document()
    encodings = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")
    encoding = chance.choice(encodings) if "UTF-8" not in text else chance.choice(encodings[:-1])
    return text.encode(encoding), generated.ids, chance


def check_canonical_forms(seed: int, number: int) -> int:
    """Compare the canonical forms of a document and of one of its elements, by every algorithm; how many there were."""
    octets, ids, chance = make_document(seed, number)
    compared = 0
    with libxml2.read(octets) as document:
        for algorithm in libxml2.ALGORITHMS:
            exclusive = algorithm.startswith(C14N_EXCLUSIVE)
            prefixes = chance.choice(PREFIX_LISTS) if exclusive else ()
            for element_id in (None, chance.choice(ids)) if ids else (None,):
                theirs = form_or_refusal(document.canonicalize, algorithm, prefixes, element_id)
                ours = form_or_refusal(
                    lambda *of: c14n(octets, of[0], inclusive_prefixes=of[1], id=of[2]),
                    *(algorithm, prefixes, element_id),
                )
                what = f"{algorithm} {prefixes} of {element_id or 'the document'}"
                assert ours == theirs, explain(seed, number, octets, what, ours, theirs)
                compared += theirs is not None
    return compared


def form_or_refusal(
    canonicalize: Callable[[str, Sequence[str], str | None], bytes],
    *of: object,
) -> bytes | None:
    """The canonical form, never empty, or None where there is none."""
    try:
        form = canonicalize(*of)  # type: ignore[arg-type]  # handed through as they came
    except (libxml2.Refused, XmlRefused):
        return None
    assert form, "a canonical form of no octets"
    return form


def check_well_formedness(seed: int, number: int) -> str:
    """Compare the verdicts on a damaged document; `both`, `neither`, or the rule by which we alone refuse it."""
    octets, _, chance = make_document(seed, number)
    octets = damage(octets, chance)
    ours, theirs = our_refusal(octets), libxml2_refusal(octets)
    what = explain(seed, number, octets, "well-formed or not", ours, theirs)
    if theirs is not None:
        assert ours is not None, what
        return "neither"
    if ours is not None:
        assert STRICTER.get(ours, b"\xff\xff") in octets, what
        return ours
    check_same_reading(seed, number, octets)
    return "both"


def check_same_reading(seed: int, number: int, octets: bytes) -> None:
    """Compare what the two readers made of a document that both accept."""
    with libxml2.read(octets) as document:
        theirs = form_or_refusal(document.canonicalize, READING, (), None)
    ours = form_or_refusal(lambda algorithm, *_: c14n(octets, algorithm), READING, (), None)
    is_unescaped = theirs is not None and libxml2_refusal(theirs) is not None
    what = explain(seed, number, octets, "read as", ours, theirs)
    assert ours == theirs or is_unescaped, what  # `&` in a namespace: libxml2 writes it as it is


def our_refusal(octets: bytes) -> str | None:
    """The rule by which our reader refuses octets, without the place."""
    try:
        c14n(octets)
    except XmlRefused as exc:
        rule = str(exc).rpartition(" (octet ")[0]
        return None if rule == "a relative namespace URI has no canonical form" else rule
    return None


def libxml2_refusal(octets: bytes) -> str | None:
    """What libxml2 finds wrong."""
    try:
        with libxml2.read(octets):
            return None
    except libxml2.Refused as exc:
        return str(exc)


OUR_PROFILE: Final = frozenset(
    {
        *("signature-missing", "several-signatures", "signature-profile", "certificate-missing"),
        *("certificate-invalid", "no-assertion"),
    }
)
"""What we refuse and libxmlsec may accept: it takes any shape and place of a signature, and needs no certificate."""


@cache
def signed_vectors() -> list[tuple[Holder, bytes]]:
    """Genuine vectors of both variants and families, and their signers."""
    signers = [certify("rsa", rsa_key("differential"), None), certify("ec", ec_key("x"), None)]
    vectors = [(signer, issue(signer)) for signer in signers]
    return vectors + [(signer, make_vector(Signing(signer, "B"))) for signer in signers]


def check_verdict(seed: int, number: int) -> str:
    """Compare the verdicts on a damaged vector; `both`, `neither`, or why we alone refuse it."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - to be had again, not to be secret
    signer, genuine = chance.choice(signed_vectors())
    octets = damage(genuine, chance)
    ours, theirs = our_verdict(octets, signer), libxmlsec_accepts(octets, signer)
    what = explain(seed, number, octets, "signed or not", ours, theirs)
    if isinstance(ours, bytes):
        assert theirs, what
        assert ours == our_verdict(genuine, signer), what
        return "both"
    assert not theirs or ours in OUR_PROFILE, what
    return ours if theirs else "neither"


def our_verdict(octets: bytes, signer: Holder) -> bytes | str:
    """What we find signed, or why we refuse it."""
    try:
        assertion = locate(octets).assertion
        if assertion is None:
            return "no-assertion"
        return assertion.signature_claim().verify(lambda _: signer.public_key).octets
    except (SignatureRefused, XmlRefused) as exc:
        return exc.reason


def sign_somewhere(seed: int, number: int) -> tuple[Holder, bytes, random.Random] | None:
    """Have libxmlsec sign a generated document, or an element of it, from anywhere in it; None where it has no form to sign.

    Returns:
        The signer, the document, and what further choices about it are made with.
    """
    octets, ids, chance = make_document(seed, number)
    signer, method, key = chance.choice(signers())
    document = etree.fromstring(octets)
    named = chance.choice((None, *ids))
    (target,) = [document] if named is None else document.xpath(f"//*[@ID='{named}']")
    home = chance.choice([each for each in document.iter() if isinstance(each.tag, str)])
    steps = [write_transform(ENVELOPED)] if target in (home, *home.iterancestors()) else []
    if chance.random() < 0.8:
        steps.append(write_transform(*choose_form(chance)))
    algorithm, inside = choose_form(chance)
    template = Template(
        write_reference("" if named is None else f"#{named}", steps),
        f'<ds:CanonicalizationMethod Algorithm="{algorithm}">{inside}</ds:CanonicalizationMethod>',
        method,
        key_info="<ds:KeyName/>",
    )
    home.insert(chance.randrange(len(home) + 1), etree.fromstring(template.write(signer)))
    document = etree.fromstring(etree.tostring(document.getroottree(), encoding="utf-8"))
    xmlsec.tree.add_ids(document, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = key
    try:
        context.sign(document.find(f".//{{{DS}}}Signature"))
    except xmlsec.Error:
        return None
    return signer, etree.tostring(document.getroottree(), encoding="utf-8"), chance


@cache
def signers() -> list[tuple[Holder, str, xmlsec.Key]]:
    """Who signs, how, and with what."""
    methods = {
        RSA_SHA256: certify("rsa", rsa_key("differential"), None),
        f"{MORE}ecdsa-sha256": certify("ec", ec_key("x"), None),
    }
    return [(signer, method, private_key(signer)) for method, signer in methods.items()]


def choose_form(chance: random.Random) -> tuple[str, str]:
    """A canonicalization, and what stands inside it."""
    algorithm = chance.choice(list(libxml2.ALGORITHMS))
    prefixes = " ".join(chance.choice(PREFIX_LISTS))
    if not prefixes or not algorithm.startswith(EXCLUSIVE):
        return algorithm, ""
    parameter = f'<ec:InclusiveNamespaces xmlns:ec="{EXCLUSIVE}" PrefixList="{prefixes}"/>'
    return algorithm, parameter


def check_generic_verdict(seed: int, number: int) -> str:
    """Compare the verdicts on a signature anywhere in a generated document, damaged or not.

    Returns:
        `genuine`, `both` or `neither`, why we alone refuse it, or `no form`.
    """
    signed = sign_somewhere(seed, number)
    if signed is None:
        return "no form"
    signer, genuine, chance = signed
    octets = genuine if chance.random() < 0.5 else damage(genuine, chance)
    ours, theirs = our_generic_verdict(octets, signer), libxmlsec_accepts(octets, signer)
    what = explain(seed, number, octets, "signed or not", ours, theirs)
    if isinstance(ours, bytes):
        assert theirs, what
        assert ours == our_generic_verdict(genuine, signer), what
        return "genuine" if octets == genuine else "both"
    assert octets != genuine, what
    if theirs and ours == "malformed-xml":
        assert libxml2_refusal(octets) or our_refusal(octets) in STRICTER, what
    else:
        assert not theirs or ours in OUR_PROFILE, what
    return ours if theirs else "neither"


def our_generic_verdict(octets: bytes, signer: Holder) -> bytes | str:
    """What we find signed with the signer's key, or why we refuse it."""
    try:
        return verify_signature(octets, signer.public_key)
    except (SignatureRefused, XmlRefused) as exc:
        return exc.reason


def libxmlsec_accepts(octets: bytes, signer: Holder) -> bool:
    """Whether libxmlsec finds the first Signature good."""
    try:
        document = etree.fromstring(
            octets, etree.XMLParser(resolve_entities=False, no_network=True)
        )
        xmlsec.tree.add_ids(document, ["ID"])
        signature = xmlsec.tree.find_node(document, xmlsec.constants.NodeSignature)
        context = xmlsec.SignatureContext()
        encoding = xmlsec.constants.KeyDataFormatDer
        context.key = xmlsec.Key.from_memory(signer.public_key, encoding, None)
        context.verify(signature)
    except (etree.XMLSyntaxError, xmlsec.Error, TypeError):  # TypeError: there is no Signature
        return False
    return True


def explain(seed: int, number: int, octets: bytes, what: str, *said: object) -> str:
    """A failure that can be had again."""
    ours, theirs = said
    return f"seed {seed} number {number}: {what}\n{octets!r}\nours:   {ours!r}\ntheirs: {theirs!r}"


def main(seconds: float, seed: int) -> None:
    """Compare for so long."""
    xmlsec.enable_debug_trace(enabled=False)
    print(f"differential: libxml2 {libxml2.version()}, seed {seed}")  # noqa: T201 - a command's result
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    number = 0
    while time.monotonic() < until:
        counts["canonical forms"] += check_canonical_forms(seed, number)
        counts[f"well-formed: {check_well_formedness(seed, number)}"] += 1
        counts[f"signed: {check_verdict(seed, number)}"] += 1
        counts[f"signed anywhere: {check_generic_verdict(seed, number)}"] += 1
        number += 1
    print(f"differential: {number} documents, {dict(counts)}, no difference")  # noqa: T201 - a command's result


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else secrets.randbelow(2**32))
