"""The extension's own promises: canonicalization's arguments, raw verification, exceptions, and the interpreter let go."""

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from appliance import native
from tests.contents import make_content, make_profile, sign_digest
from tests.messages import DS, MORE, Signing, make_vector
from tests.pki import HashName, Holder, Pki, ec_key, make_pki, rsa_key

ENC = "http://www.w3.org/2001/04/xmlenc#"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The partner's PKI."""
    return make_pki("partner")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (native.C14N_EXCLUSIVE, b"<b></b>"),
        (f"{native.C14N_EXCLUSIVE}WithComments", b"<b><!--c--></b>"),
        (native.C14N_10, b'<b xmlns:a="u:a"></b>'),
        (f"{native.C14N_10}#WithComments", b'<b xmlns:a="u:a"><!--c--></b>'),
    ],
)
def test_algorithms_of_canonicalization(algorithm: str, expected: bytes) -> None:
    """Exclusive and inclusive, with comments and without; exclusive without comments unless told otherwise."""
    octets = b'<b xmlns:a="u:a"><!--c--></b>'
    assert native.c14n(octets, algorithm) == expected
    assert native.c14n(octets) == b"<b></b>"
    assert native.c14n_digest(octets, algorithm) == hashlib.sha256(expected).digest()
    assert native.c14n_digest(octets) == hashlib.sha256(b"<b></b>").digest()


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(f"{DS}sha1", "sha1"), (f"{MORE}sha384", "sha384"), (f"{ENC}sha512", "sha512")],
)
def test_a_canonical_form_is_digested_by_any_hash(algorithm: str, name: str) -> None:
    """DigestMethod names the hash, also of a form that is longer than what is hashed at once."""
    octets = b"<a>" + b"<b c='d'/>text" * 5_000 + b"</a>"
    expected = hashlib.new(name, native.c14n(octets)).digest()
    assert native.c14n_digest(octets, digest_algorithm=algorithm) == expected
    with pytest.raises(ValueError, match="unknown digest algorithm"):
        native.c14n_digest(octets, digest_algorithm=name)


def test_inclusive_prefixes_are_written() -> None:
    """Prefixes of the PrefixList are treated as inclusive canonicalization does; `#default` is the default namespace."""
    octets = b'<r xmlns="u:d" xmlns:a="u:a"><a:b ID="x"/></r>'
    assert native.c14n(octets, id="x") == b'<a:b xmlns:a="u:a" ID="x"></a:b>'
    assert (
        native.c14n(octets, inclusive_prefixes=["#default"], id="x")
        == b'<a:b xmlns="u:d" xmlns:a="u:a" ID="x"></a:b>'
    )
    assert (
        native.c14n(b'<r xmlns:a="u:a" xmlns:b="u:b"/>', inclusive_prefixes=("b",))
        == b'<r xmlns:b="u:b"></r>'
    )


@pytest.mark.parametrize(
    "attribute", ["ID", "Id", "AssertionID", "xml:id", f'xmlns:w="{WSU}" w:Id']
)
def test_an_element_is_found_by_its_id(attribute: str) -> None:
    """Every way to write an ID, in one value space."""
    octets = f'<r><a {attribute}="x">1</a><a id="x">2</a></r>'.encode()
    assert b">1</a>" in native.c14n(octets, id="x")
    twice = octets.replace(b' id="x"', b' ID="x"')
    with pytest.raises(ValueError, match="twice"):
        native.c14n(twice, id="x")
    with pytest.raises(ValueError, match="no element has the ID"):
        native.c14n(octets, id="y")


def test_an_unknown_algorithm_is_refused() -> None:
    """An algorithm is one of the known URIs, exactly."""
    for algorithm in ("", "c14n", native.C14N_10 + "/", f"{DS}enveloped-signature"):
        with pytest.raises(ValueError, match="unknown canonicalization algorithm"):
            native.c14n(b"<a/>", algorithm)
        with pytest.raises(ValueError, match="unknown canonicalization algorithm"):
            native.c14n_digest(b"<a/>", algorithm)


@pytest.mark.parametrize(
    ("octets", "reason", "offset"),
    [
        (b"<a></b>", "malformed-xml", 5),
        (b"", "malformed-xml", 0),
        (b"<!DOCTYPE a><a/>", "dtd-forbidden", 0),
        (b"<a><b/></a>", "xml-limit", 3),
    ],
)
def test_an_unreadable_document_is_refused_with_its_place(
    octets: bytes, reason: str, offset: int
) -> None:
    """The exception carries reason and octet, and its text says the rule."""
    for door in (native.c14n, native.c14n_digest, native.locate):
        with pytest.raises(native.XmlRefused, match=rf"\w.*octet {offset}") as raised:
            door(octets, limits=native.Limits(depth=1))
        assert (raised.value.reason, raised.value.offset) == (reason, offset)


def test_exceptions_are_no_value_errors() -> None:
    """What a sender did wrong is never confused with what our own code did wrong."""
    refusals = [
        native.XmlRefused,
        native.SignatureRefused,
        native.StructureRefused,
        native.AlreadySpliced,
    ]
    for refusal in refusals:
        assert issubclass(refusal, Exception)
        assert not issubclass(refusal, (ValueError, TypeError, RuntimeError))
        assert refusal.__module__ == "appliance.native._native"
        assert refusal.__doc__


@pytest.mark.parametrize("limit", ["octets", "depth", "attributes", "namespaces"])
def test_limits_are_keywords_and_sizes(limit: str) -> None:
    """A limit is named, and never negative."""
    native.Limits(**{limit: 1})
    with pytest.raises(OverflowError):
        native.Limits(**{limit: -1})
    with pytest.raises(TypeError):
        native.Limits(1)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("family", ["rsa", "ecdsa"])
def test_a_raw_signature_is_verified(pki: Pki, family: str, hash_name: HashName) -> None:
    """The right signature says nothing; another digest, another key or a damaged signature is refused by name."""
    make = rsa_key if family == "rsa" else ec_key
    holder, other = (Holder(make(name), pki.leaf.certificate, None) for name in ("one", "two"))
    digest = hashlib.new(hash_name, b"signed").digest()
    signature = sign_digest(holder, digest, hash_name)
    algorithm = f"{MORE}{family}-{hash_name}"
    native.verify_digest(holder.public_key, algorithm, digest, signature)
    wrong = hashlib.new(hash_name, b"not signed").digest()
    for key, asked, shown in [
        (holder, wrong, signature),
        (other, digest, signature),
        (holder, digest, signature[:-1] + bytes([signature[-1] ^ 1])),
        (holder, digest, b""),
    ]:
        with pytest.raises(native.SignatureRefused) as raised:
            native.verify_digest(key.public_key, algorithm, asked, shown)
        assert raised.value.reason == "signature-invalid"


def test_raw_verification_knows_what_it_is_asked(pki: Pki) -> None:
    """An unknown algorithm, a digest of another width or an unusable key is our own mistake."""
    key, algorithm = pki.leaf.public_key, f"{MORE}rsa-sha256"
    for asked, said in [
        ((key, "urn:unknown", bytes(32), b""), "unknown signature algorithm"),
        ((key, algorithm, bytes(31), b""), "wide"),
        ((key, algorithm, bytes(48), b""), "wide"),
        ((b"no key", algorithm, bytes(32), b""), "not usable"),
        ((key, f"{MORE}ecdsa-sha256", bytes(32), b""), "not usable"),
    ]:
        with pytest.raises(ValueError, match=said):
            native.verify_digest(*asked)


def test_a_der_signature_is_refused(pki: Pki) -> None:
    """ECDSA as r‖s only."""
    holder = Holder(ec_key("one"), pki.leaf.certificate, None)
    digest = hashlib.sha256(b"signed").digest()
    raw = sign_digest(holder, digest)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    with pytest.raises(native.SignatureRefused):
        native.verify_digest(holder.public_key, f"{MORE}ecdsa-sha256", digest, der)


class Onlooker:
    """A thread that runs as soon as somebody lets go of the interpreter."""

    def __init__(self) -> None:
        self.has_run = False
        self._go = threading.Lock()
        self._go.acquire()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def call(self) -> None:
        """Let it run when it can."""
        self._go.release()

    def join(self) -> None:
        """Wait for its end, which lets go of the interpreter."""
        self._thread.join()

    def _run(self) -> None:
        with self._go:
            self.has_run = True


@contextmanager
def interpreter_kept() -> Iterator[None]:
    """Take the interpreter from no thread that does not let go of it."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def lets_go(work: Callable[[], object], calls: int) -> bool:
    """Whether another thread could run during one of so many calls."""
    onlooker = Onlooker()
    with interpreter_kept():
        onlooker.call()
        for _ in range(calls):
            work()
            if onlooker.has_run:
                break
        has_run = onlooker.has_run
    onlooker.join()
    return has_run


def works(pki: Pki) -> dict[str, Callable[[], object]]:
    """Calls into the extension, each with enough to do that a waiting thread wakes meanwhile."""
    content = make_content(attributes={"large": ["x" * 300_000]})
    profile = make_profile(pki.leaf)
    prepared = iter(native.prepare_batch([content] * 100, profile))
    signature = sign_digest(pki.leaf, native.prepare(content, profile).digest)
    vector = make_vector(Signing(pki.leaf), attributes=(("large", "x" * 1_000_000),))
    received = native.locate(vector).assertion
    assert received is not None
    claim = received.signature_claim()
    verified = claim.verify(lambda _: pki.leaf.public_key)
    digest = hashlib.sha256(b"signed").digest()
    raw = sign_digest(pki.leaf, digest)
    return {
        "c14n": lambda: native.c14n(vector),
        "c14n_digest": lambda: native.c14n_digest(vector),
        "locate": lambda: native.locate(vector),
        "prepare": lambda: native.prepare(content, profile),
        "prepare_batch": lambda: native.prepare_batch([content] * 3, profile),
        "splice": lambda: next(prepared).splice(signature),
        "verify": lambda: claim.verify(lambda _: pki.leaf.public_key),
        "read": verified.read,
        "verify_digest": lambda: native.verify_digest(
            pki.leaf.public_key, f"{MORE}rsa-sha256", digest, raw
        ),
    }


def test_work_lets_go_of_the_interpreter(pki: Pki) -> None:
    """While the extension reads, canonicalizes, prepares, splices or verifies, another thread runs."""
    kept = {
        name
        for name, work in works(pki).items()
        if not lets_go(work, 100 if name == "splice" else 20_000)
    }
    assert kept == set()


def test_the_onlooker_is_kept_from_running() -> None:
    """Work that holds the interpreter keeps the other thread from running: the test above can fail."""
    octets = b"x" * 1000
    assert not lets_go(lambda: hashlib.sha256(octets), 20_000)
