"""The extension's door for SOAP messages: what it refuses, under which name, and that each stage is used once."""

import pytest

from appliance import native
from tests.messages import SOAP, WSSE, Signing, make_vector, wrap
from tests.native_signing import CONTENT, Suite
from tests.pki import make_pki

PKI = make_pki("partner")
SUITE = Suite(PKI.leaf, "rsa")
VECTOR = SUITE.issue()
EMPTY = f'<s:Envelope xmlns:s="{SOAP["1.1"]}"><s:Body/></s:Envelope>'.encode()
SECURED = f'<s:Envelope xmlns:s="{SOAP["1.1"]}"><s:Header><w:Security xmlns:w="{WSSE}">{{}}</w:Security></s:Header><s:Body/></s:Envelope>'


@pytest.mark.parametrize(
    ("message", "fields", "reason"),
    [
        (b"<a/>", {}, "not-soap"),
        (EMPTY.replace(b"<s:Body/>", b""), {}, "envelope-invalid"),
        (EMPTY.decode().encode("utf-16"), {}, "encoding-unsupported"),
        (SECURED.format("").encode(), {}, "security-header-present"),
        (wrap(VECTOR.octets), {"existing": "keep"}, "security-header-conflict"),
    ],
)
def test_a_message_that_takes_no_header_is_refused_by_name(
    message: bytes, fields: dict[str, str], reason: str
) -> None:
    """The reason is a word of a closed vocabulary, the text says what is wrong."""
    with pytest.raises(native.MessageRefused) as refused:
        native.insert_header(message, native.SecurityHeader(VECTOR, **fields))  # type: ignore[arg-type]  # words
    assert refused.value.reason == reason
    assert str(refused.value)


def test_an_id_that_stands_twice_is_refused_before_signing() -> None:
    """Whatever could lead a receiver to another element is not signed."""
    message = EMPTY.replace(b"<s:Body/>", f'<s:Body><a Id="{CONTENT["id"]}"/></s:Body>'.encode())
    header = native.SecurityHeader(VECTOR)
    with pytest.raises(native.MessageRefused) as refused:
        native.prepare_message(message, header, SUITE.profile(), ["assertion"])
    assert refused.value.reason == "id-unusable"
    assert native.insert_header(message, header).octets


def test_octets_that_are_no_document_are_refused_as_such() -> None:
    """Malformed input and limits keep their own error, with the offset."""
    header = native.SecurityHeader(VECTOR)
    with pytest.raises(native.XmlRefused) as refused:
        native.insert_header(EMPTY + b"<", header)
    assert (refused.value.reason, refused.value.offset) == ("malformed-xml", len(EMPTY))
    with pytest.raises(native.XmlRefused) as refused:
        native.insert_header(EMPTY, header, native.Limits(octets=len(EMPTY)))
    assert refused.value.reason == "xml-limit"


def test_only_known_words_are_taken() -> None:
    """A wrong word says which there are; so do parts that cannot be signed, and strings XML cannot carry."""
    for fields, words in (
        ({"reference": "other"}, "none, standard or historical"),
        ({"existing": "other"}, "refuse, keep or replace"),
        ({"timestamp": ("\x00", "")}, "created holds a character"),
    ):
        with pytest.raises(ValueError, match=words):
            native.SecurityHeader(VECTOR, **fields)  # type: ignore[arg-type]  # wrong on purpose
    header = native.SecurityHeader(VECTOR)
    for signed, words in (
        (["header"], "assertion, body or timestamp"),
        ([], "at least one part"),
        (["body", "body"], "each once"),
        (["timestamp"], "where there is one"),
    ):
        with pytest.raises(ValueError, match=words):
            native.prepare_message(EMPTY, header, SUITE.profile(), signed)


def test_a_prepared_message_is_spliced_once_and_only_if_it_verifies() -> None:
    """A wrong signature is not released, and uses the message up."""
    header = native.SecurityHeader(VECTOR)
    prepared = native.prepare_message(EMPTY, header, SUITE.profile(), ["body"])
    with pytest.raises(native.SignatureRefused) as refused:
        prepared.splice(bytes(256))
    assert refused.value.reason == "signature-invalid"
    with pytest.raises(native.AlreadySpliced):
        prepared.splice(SUITE.sign(prepared.digest))


def test_what_is_not_signed_is_said_by_name() -> None:
    """A message without signature, with a changed part, with another key; trust decides, and its error passes unchanged."""
    header = native.SecurityHeader(VECTOR)
    with pytest.raises(native.SignatureRefused) as refused:
        native.message_signature(native.insert_header(EMPTY, header).octets)
    assert refused.value.reason == "signature-missing"
    secured = SUITE.secure(EMPTY, header, ["body"]).octets
    claim = native.message_signature(secured)
    assert (claim.parts, claim.signature_algorithm) == (["body"], SUITE.uri)
    with pytest.raises(native.SignatureRefused) as refused:
        claim.verify(lambda _: PKI.root.public_key)
    assert refused.value.reason == "signature-invalid"
    with pytest.raises(ZeroDivisionError):
        claim.verify(lambda _: 1 // 0)  # type: ignore[arg-type,return-value]  # raises
    changed = native.message_signature(
        secured.replace(b'"/></s:Envelope>', b'"> </s:Body></s:Envelope>')
    )
    with pytest.raises(native.SignatureRefused) as refused:
        changed.verify(lambda _: PKI.leaf.public_key)
    assert refused.value.reason == "digest-mismatch"


def test_legacy_messages_need_the_word() -> None:
    """SHA-1 under a message signature is refused unless the caller allows it."""
    secured = SUITE.secure(EMPTY, native.SecurityHeader(VECTOR), ["body"]).octets
    at = secured.rindex(b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256")
    legacy = secured[:at] + secured[at:].replace(
        b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        b"http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        1,
    )
    claim = native.message_signature(legacy)
    with pytest.raises(native.SignatureRefused) as refused:
        claim.verify(lambda _: PKI.leaf.public_key)
    assert refused.value.reason == "algorithm-not-allowed"
    with pytest.raises(native.SignatureRefused) as refused:
        claim.verify(lambda _: PKI.leaf.public_key, allow_sha1=True)
    assert refused.value.reason == "signature-invalid"


def test_a_replaced_header_leaves_nothing_of_the_old_one() -> None:
    """An application's own vector gives way to ours; what was taken out stands in the edits."""
    message = wrap(make_vector(Signing(PKI.leaf)))
    header = native.SecurityHeader(VECTOR, existing="replace", reference="historical")
    secured = native.insert_header(message, header)
    located = native.locate(secured.octets).assertion
    assert located is not None
    assert located.sha256 == VECTOR.sha256
    removed = [message[start:end] for start, end, octets in secured.edits if not octets]
    assert len(removed) == 1
    assert removed[0].startswith(b"<wsse:Security")
    assert removed[0].endswith(b"</wsse:Security>")
    assert secured.octets.count(b'wsu:Id="token1"') == 2
