"""The compiled extension, as `appliance.native` re-exports it. Every call releases the interpreter around its work."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

__all__ = [
    "C14N_10",
    "C14N_11",
    "C14N_EXCLUSIVE",
    "AlreadySpliced",
    "AssertionContent",
    "AssertionFields",
    "Limits",
    "LogEdge",
    "LogGrowth",
    "MessageRefused",
    "MessageSignatureClaim",
    "PassingMessage",
    "PreparedMessage",
    "PreparedSignature",
    "ReceivedAssertion",
    "ReceivedMessage",
    "SecuredMessage",
    "SecurityHeader",
    "SignatureClaim",
    "SignatureProfile",
    "SignatureRefused",
    "SignedAssertion",
    "SoapMessage",
    "StructureRefused",
    "TreeRefused",
    "VerifiedMessage",
    "VerifiedOctets",
    "XmlRefused",
    "bundle_leaves",
    "bundle_path",
    "c14n",
    "c14n_digest",
    "insert_header",
    "locate",
    "merkle_root",
    "message_signature",
    "prepare",
    "prepare_batch",
    "prepare_message",
    "prove_consistency",
    "prove_inclusion",
    "read_bundle",
    "restore",
    "tile_path",
    "tree_root",
    "verify_consistency",
    "verify_digest",
    "verify_inclusion",
    "verify_signature",
]

C14N_10: Final[str]
"""http://www.w3.org/TR/2001/REC-xml-c14n-20010315; each of these has a `#WithComments` sibling the functions also take."""
C14N_11: Final[str]
"""http://www.w3.org/2006/12/xml-c14n11"""
C14N_EXCLUSIVE: Final[str]
"""http://www.w3.org/2001/10/xml-exc-c14n#"""

class XmlRefused(Exception):
    """The octets are not well-formed, carry a DTD, or pass a limit.

    Attributes:
        reason: `malformed-xml`, `dtd-forbidden` or `xml-limit`.
        offset: octet offset of the fault in the input, or None where none applies.
    """

    reason: str
    offset: int | None

class SignatureRefused(Exception):
    """The signature is absent, of a forbidden shape, or wrong.

    Attributes:
        reason: one of `signature-missing`, `several-signatures`, `certificate-missing`, `certificate-invalid`,
            `signature-profile`, `algorithm-not-allowed`, `digest-mismatch`, `signature-invalid`.
    """

    reason: str

class StructureRefused(Exception):
    """A mandatory part of the assertion is missing, empty or of another version (reason `structure-invalid`)."""

    reason: str

class MessageRefused(Exception):
    """The message cannot take a security header, or not by this rule.

    Attributes:
        reason: `not-soap`, `envelope-invalid`, `encoding-unsupported` (UTF-16, or a declaration that cannot carry the vector),
            `security-header-present`, `security-header-conflict` (what is kept holds what there can be one of only) or
            `id-unusable` (an ID that a signature needs stands twice, or is no name).
    """

    reason: str

class AlreadySpliced(Exception):
    """A prepared signature or message is spliced once (DESIGN invariant 4)."""

@final
class Limits:
    """Bounds of the XML reader and of canonicalization; passing one raises `XmlRefused` with reason `xml-limit`, which names the bound and the octet.

    Args:
        octets: size of the document.
        depth: elements inside elements.
        attributes: of one element, namespace declarations included.
        namespaces: declarations in scope at one element.
        name: octets of one name with its prefix, at most 65,535.
        value: octets of one attribute value as it is written.
        references: to characters and to the five entities, in the whole document.
        growth: octets of a canonical form for each octet of its document.
    """

    def __new__(
        cls,
        *,
        octets: int = 10_485_760,
        depth: int = 100,
        attributes: int = 256,
        namespaces: int = 64,
        name: int = 4096,
        value: int = 1_048_576,
        references: int = 1_000_000,
        growth: int = 32,
    ) -> Limits: ...

def c14n(
    octets: bytes,
    algorithm: str = ...,
    *,
    inclusive_prefixes: Sequence[str] = (),
    id: str | None = None,
    limits: Limits | None = None,
) -> bytes:
    """Canonicalize a document, or the one element whose ID is `id`.

    Raises:
        XmlRefused: the octets cannot be read.
        ValueError: unknown algorithm, no such ID, or the ID stands twice.
    """

def c14n_digest(
    octets: bytes,
    algorithm: str = ...,
    *,
    digest_algorithm: str = ...,
    inclusive_prefixes: Sequence[str] = (),
    limits: Limits | None = None,
) -> bytes:
    """The digest of what `c14n` writes of a whole document, SHA-256 unless another DigestMethod is named.

    The canonical form is hashed while the document is read and is never held; what `c14n` refuses is refused in the same words.

    Raises:
        XmlRefused: the octets cannot be read.
        ValueError: unknown algorithm.
    """

@final
class AssertionContent:
    """Everything a vector states; instants are xs:dateTime strings. Every string is escaped when written.

    `saml_version` is `2.0` or `1.1` (which has no Recipient), `confirmation` is `bearer` or `sender-vouches`.

    Raises ValueError where a string holds a character XML 1.0 cannot carry.
    """

    def __new__(
        cls,
        *,
        id: str,
        issue_instant: str,
        issuer: str,
        name_id: str,
        name_id_format: str,
        recipient: str,
        audience: str,
        not_before: str,
        not_on_or_after: str,
        authn_instant: str,
        authn_context: str,
        pagms: Sequence[str],
        attributes: Mapping[str, Sequence[str]] = ...,
        saml_version: str = "2.0",
        confirmation: str = "bearer",
    ) -> AssertionContent: ...

@final
class SignatureProfile:
    """How one key signs: made once per key, shared by all its vectors.

    Args:
        signature_algorithm: SignatureMethod URI (RSA PKCS#1 v1.5, RSA-PSS with MGF1 and no parameters, or ECDSA; SHA-256/384/512).
        digest_algorithm: DigestMethod URI (SHA-256/384/512); SHA-1 is refused with ValueError.
        public_key: DER SubjectPublicKeyInfo of the signer; every spliced signature is verified with it.
        certificates: DER, leaf first, as they go into KeyInfo.
        variant: `A` (Signature after Issuer, Reference to the ID, `ds:`) or `B` (Signature last, empty Reference,
            enveloped-signature only, default namespace) of DOMAIN 2.4, for the vectors; message signatures have one shape.
    """

    def __new__(
        cls,
        *,
        signature_algorithm: str,
        digest_algorithm: str,
        public_key: bytes,
        certificates: Sequence[bytes],
        variant: str = "A",
    ) -> SignatureProfile: ...
    @property
    def hash_name(self) -> str:
        """`sha256`, `sha384` or `sha512`: what SignedInfo is hashed with."""

@final
class PreparedSignature:
    """An assertion written, digested, and waiting for one signature."""

    @property
    def digest(self) -> bytes:
        """The hash of the canonical SignedInfo: what the HSM signs."""

    @property
    def signed_info(self) -> bytes:
        """The canonical SignedInfo, for mechanisms that hash in the token."""

    def splice(self, signature: bytes, *, on_trust: bool = False) -> SignedAssertion:
        """Check the signature with the profile's public key and put it in place.

        With `on_trust` an ECDSA signature (r‖s as wide as the curve has it) is not checked, for callers that sample; an RSA one always is,
        because a fault in its arithmetic gives the key away.

        Raises:
            SignatureRefused: it does not verify (reason `signature-invalid`); the signature must never be released.
            AlreadySpliced: second call.
        """

@final
class SignedAssertion:
    """A complete vector. Only `PreparedSignature.splice` makes one, and `restore` proves one again."""

    @property
    def octets(self) -> bytes:
        """The `saml2:Assertion` element, UTF-8, canonical."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 of `octets`, for the trace."""

def prepare(content: AssertionContent, profile: SignatureProfile) -> PreparedSignature:
    """Write the assertion in canonical form, digest it, write SignedInfo."""

def prepare_batch(
    contents: Sequence[AssertionContent], profile: SignatureProfile
) -> list[PreparedSignature]:
    """Do `prepare` for many in one crossing."""

def restore(octets: bytes, profile: SignatureProfile) -> SignedAssertion:
    """Take a vector back that was kept outside this process; its signature is verified anew with the profile's public key.

    Raises:
        XmlRefused, StructureRefused, SignatureRefused: the octets are not an assertion that this key signed.
    """

@final
class SecurityHeader:
    """The `wsse:Security` of one message: the vector, and what stands beside it. Every string is escaped when written.

    Args:
        assertion: the vector.
        timestamp: Created and Expires of a `wsu:Timestamp`, xs:dateTime strings.
        reference: the SecurityTokenReference behind the assertion: `none`, `standard` (SAML Token Profile 1.1) or
            `historical` (production's octets, their defects included: DOMAIN 3).
        existing: what happens to security headers that a message brings: `refuse` it by name, `keep` them (the one for the
            final receiver takes our parts before its own) or `replace` those for the final receiver.

    Raises ValueError for another word, or a character XML 1.0 cannot carry.
    """

    def __new__(
        cls,
        assertion: SignedAssertion,
        *,
        timestamp: tuple[str, str] | None = None,
        reference: str = "standard",
        existing: str = "refuse",
    ) -> SecurityHeader: ...

@final
class SecuredMessage:
    """A message with its security header. Only `insert_header` and `PreparedMessage.splice` make one."""

    @property
    def octets(self) -> bytes:
        """The whole message."""

    @property
    def edits(self) -> list[tuple[int, int, bytes]]:
        """What was done to the message as it came, in its order: start, end, and the octets in place of what stood there.

        Without message signature they depend on nothing behind the start tag of the Body.
        """

def insert_header(
    message: bytes, header: SecurityHeader, limits: Limits | None = None
) -> SecuredMessage:
    """Insert the header as the first of the SOAP Header; every other octet of the message stays as it came.

    A Header is made where there is none. UTF-16 is refused.

    Raises:
        XmlRefused: the octets cannot be read, or would pass a limit with the header in them.
        MessageRefused: says why the message cannot take the header.
    """

@final
class SoapMessage:
    """A SOAP message read once, for everything that is asked of it on its way through; what it tells is a hint for routing.

    Raises:
        XmlRefused: the octets cannot be read.
        MessageRefused: `not-soap`, `envelope-invalid` (a Header that does not come before the Body among it) or
            `encoding-unsupported` (UTF-16).
    """

    def __new__(cls, octets: bytes, limits: Limits | None = None) -> SoapMessage: ...
    @property
    def version(self) -> str:
        """`1.1` or `1.2`."""

    @property
    def operation(self) -> tuple[str, str] | None:
        """Namespace and local name of the first element in the Body."""

    @property
    def is_secured(self) -> bool:
        """Whether it has a `wsse:Security`, whomever for."""

    @property
    def is_bare(self) -> bool:
        """Whether one element stands alone in the Body and nothing behind that; what stands in the Header says `addressing`."""

    @property
    def addressing(self) -> list[tuple[str, str]] | None:
        """The WS-Addressing properties in the Header by local name, endpoints by their Address; None where it holds anything else."""

    @property
    def username(self) -> str | None:
        """The name in the `wsse:UsernameToken` for the final receiver, trimmed; nobody has verified it."""

    @property
    def includes(self) -> bool:
        """Whether an `xop:Include` stands in the Body: octets elsewhere, which no signature over it covers."""

    def received(self) -> ReceivedMessage:
        """Return what `locate` finds in it, without reading it again.

        Raises:
            XmlRefused: the assertion alone passes a limit.
        """

    def without_vector(self) -> SecuredMessage:
        """Take out the `wsse:Security` in which `locate` finds the vector, the first; where there is none, nothing is."""

    def insert(self, header: SecurityHeader) -> SecuredMessage:
        """Do as `insert_header`, with its refusals."""

    def prepare(
        self, header: SecurityHeader, profile: SignatureProfile, signed: Sequence[str]
    ) -> PreparedMessage:
        """Do as `prepare_message`, with its refusals."""

@final
class PassingMessage:
    """A message checked as it passes, in pieces of any size; what is held does not grow with it.

    The rules are those of `SoapMessage`, but that a tag of more octets than `Limits.value` is refused, a reference of more than
    64 too, and that values of `xml:id` may repeat.
    """

    def __new__(cls, limits: Limits | None = None) -> PassingMessage: ...
    def feed(self, octets: bytes) -> None:
        """Check the next octets; nothing more may be fed after a refusal.

        Raises:
            XmlRefused, MessageRefused: as `SoapMessage`.
        """

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            XmlRefused: the message ends too early.
        """

    @property
    def version(self) -> str:
        """`1.1` or `1.2`; known with the first tag."""

    @property
    def operation(self) -> tuple[str, str] | None:
        """Namespace and local name of the first element in the Body, once it has come."""

    @property
    def body_start(self) -> int | None:
        """Offset behind the start tag of the Body, once the first element in it, or its end, has come."""

    @property
    def closing(self) -> bytes:
        """What makes a message of the octets up to `body_start`."""

@final
class PreparedMessage:
    """A message with its header, parts of it digested, waiting for one signature."""

    @property
    def digest(self) -> bytes:
        """The hash of the canonical SignedInfo: what the HSM signs."""

    @property
    def signed_info(self) -> bytes:
        """The canonical SignedInfo, for mechanisms that hash in the token."""

    def splice(self, signature: bytes) -> SecuredMessage:
        """Check the signature with the profile's public key and put it in place.

        Raises:
            SignatureRefused: it does not verify (reason `signature-invalid`); the signature must never be released.
            AlreadySpliced: second call.
        """

def prepare_message(
    message: bytes,
    header: SecurityHeader,
    profile: SignatureProfile,
    signed: Sequence[str],
    limits: Limits | None = None,
) -> PreparedMessage:
    """Insert the header and digest parts of the message for one signature (WSS 1.1, SAML and X.509 Token Profiles 1.1).

    A Body without `wsu:Id` gets one. The assertion is signed with its own Signature, through the STR-Transform.

    Args:
        signed: of `assertion`, `body`, `timestamp`, each once; the order of the References.

    Raises:
        XmlRefused: as `insert_header`, or a namespace of the message is a relative URI.
        MessageRefused: as `insert_header`.
        ValueError: a part that the header does not have, or no part; the assertion needs the standard reference.
    """

@final
class MessageSignatureClaim:
    """A message signature of legal shape, not yet verified."""

    @property
    def certificates(self) -> list[bytes]:
        """The signer's certificate, DER, alone: the chain is that of the vector."""

    @property
    def signature_algorithm(self) -> str:
        """SignatureMethod URI."""

    @property
    def parts(self) -> list[str]:
        """The parts it claims to cover, in the order of its References."""

    def verify(
        self, trust: Callable[[list[bytes]], bytes], *, allow_sha1: bool = False
    ) -> VerifiedMessage:
        """Check algorithms, ask `trust` for the signer's key, check the signature, then the digests.

        Raises:
            SignatureRefused: as `SignatureClaim.verify`.
            Exception: whatever `trust` raises passes through unchanged.
        """

@final
class VerifiedMessage:
    """The parts of a message that a verified signature covers."""

    @property
    def parts(self) -> dict[str, bytes]:
        """The canonical octets of each part that were digested; the assertion's with its own Signature."""

    def timestamp(self) -> tuple[str, str | None] | None:
        """Created and Expires, read from the verified octets; None where the Timestamp is not covered.

        Raises:
            StructureRefused: it is not one Created and at most one Expires.
        """

def message_signature(message: bytes, limits: Limits | None = None) -> MessageSignatureClaim:
    """Find exactly one Signature beside the vector that `locate` finds, of the shape `prepare_message` makes.

    Raises:
        XmlRefused: the octets cannot be read.
        MessageRefused: they are no SOAP message of the right shape.
        SignatureRefused: as `ReceivedAssertion.signature_claim`; a Reference to anything but the parts is `signature-profile`.
    """

@final
class ReceivedMessage:
    """What was found at the top of received octets; nothing in it is verified."""

    @property
    def kind(self) -> str:
        """`assertion`, `soap11`, `soap12` or `other`."""

    @property
    def fault(self) -> str | None:
        """Why a SOAP message yields no single assertion: `soap-header-missing`, `security-header-missing`,
        `several-security-headers`, `assertion-missing`, `several-assertions`; None otherwise."""

    @property
    def assertion(self) -> ReceivedAssertion | None:
        """The isolated assertion, as a document of its own."""

def locate(octets: bytes, limits: Limits | None = None) -> ReceivedMessage:
    """Read octets and isolate the assertion (alone, or in soap:Header/wsse:Security).

    Raises:
        XmlRefused: the octets cannot be read.
    """

@final
class ReceivedAssertion:
    """The isolated, unverified copy. What it tells is a hint and is never kept."""

    @property
    def claimed_issuer(self) -> str | None:
        """Text of Issuer, trimmed; selects candidate conventions, proves nothing."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the assertion's octets as received, for the trace; what came in UTF-16 is hashed as UTF-8."""

    def check_structure(self) -> None:
        """Check Version, ID, IssueInstant, Issuer and that some content is there (DOMAIN 7, check 3).

        Raises:
            StructureRefused: says which part.
        """

    def signature_claim(self) -> SignatureClaim:
        """Find exactly one signature over this assertion, of an allowed shape (DOMAIN 7, checks 4b, 4c, 4e).

        Raises:
            SignatureRefused: `signature-missing`, `several-signatures`, `certificate-missing`, `certificate-invalid`
                or `signature-profile`.
        """

@final
class SignatureClaim:
    """A signature of legal shape, not yet verified."""

    @property
    def certificates(self) -> list[bytes]:
        """DER certificates of KeyInfo in document order; the first is the signer's."""

    @property
    def signature_algorithm(self) -> str:
        """SignatureMethod URI."""

    @property
    def digest_algorithm(self) -> str:
        """DigestMethod URI."""

    @property
    def variant(self) -> str:
        """`A` (URI is `#ID`) or `B` (URI is empty) of DOMAIN 2.4."""

    def verify(
        self,
        trust: Callable[[list[bytes]], bytes],
        *,
        allow_sha1: bool = False,
        allow_variant_b: bool = False,
    ) -> VerifiedOctets:
        """Check algorithms, ask `trust` for the signer's key, check the signature, then the digest.

        Args:
            trust: receives the certificates, returns a DER SubjectPublicKeyInfo or raises; it never decides the signature.
            allow_sha1: accept RSA-SHA1 and SHA-1 digests (legacy conventions only).
            allow_variant_b: accept an empty URI (legacy conventions only).

        Raises:
            SignatureRefused: `algorithm-not-allowed`, `signature-profile` (variant B), `certificate-invalid`,
                `signature-invalid` or `digest-mismatch`.
            Exception: whatever `trust` raises passes through unchanged.
        """

@final
class VerifiedOctets:
    """The octets the signature covers, and the only source an accepted vector is read from."""

    @property
    def octets(self) -> bytes:
        """Canonical octets, without the Signature."""

    def read(self) -> AssertionFields:
        """Read the assertion. Every text concatenates all its text nodes; comments never split a value."""

@final
class AssertionFields:
    """What a verified assertion states, in the words of SAML 2.0.

    Strings are as written, except Issuer, level and PAGM, which are trimmed of XML white space.
    """

    @property
    def version(self) -> str:
        """`2.0` or `1.1`."""

    @property
    def id(self) -> str: ...
    @property
    def issue_instant(self) -> str: ...
    @property
    def issuer(self) -> str: ...
    @property
    def name_id(self) -> str | None: ...
    @property
    def name_id_format(self) -> str | None: ...
    @property
    def confirmation_methods(self) -> list[str]: ...
    @property
    def confirmation_not_before(self) -> str | None: ...
    @property
    def confirmation_not_on_or_after(self) -> str | None: ...
    @property
    def recipient(self) -> str | None: ...
    @property
    def not_before(self) -> str | None: ...
    @property
    def not_on_or_after(self) -> str | None: ...
    @property
    def audiences(self) -> list[str]: ...
    @property
    def authn_instant(self) -> str | None: ...
    @property
    def session_index(self) -> str | None: ...
    @property
    def authn_context(self) -> str | None: ...
    @property
    def pagm_attribute_count(self) -> int:
        """How many Attribute elements are named PAGM; more than one is refused."""

    @property
    def pagms(self) -> list[str]: ...
    @property
    def attributes(self) -> dict[str, list[str]]:
        """The other attributes."""

def verify_digest(
    public_key: bytes, signature_algorithm: str, digest: bytes, signature: bytes
) -> None:
    """Verify a raw signature over a digest (ECDSA as r‖s).

    Raises:
        SignatureRefused: it does not verify.
        ValueError: unknown algorithm or unusable key.
    """

def verify_signature(
    octets: bytes, public_key: bytes, *, allow_sha1: bool = False, limits: Limits | None = None
) -> bytes:
    """Verify the one signature of a document with a pinned key, and return the canonical octets it covers, nothing else.

    The generic profile, behind `appliance dsig verify`: one Reference to an element by ID, or to the document with
    enveloped-signature; P-521 and RSA keys from 1024 bits too. The appliance itself verifies by `SignatureClaim`.

    Args:
        octets: the document.
        public_key: DER SubjectPublicKeyInfo; KeyInfo is never looked at.
        allow_sha1: accept SHA-1 and SHA-224, in digests, under RSA PKCS#1 v1.5 and under ECDSA.
        limits: bounds of the reader.

    Raises:
        XmlRefused: the octets cannot be read.
        SignatureRefused: `signature-missing`, `several-signatures`, `signature-profile`, `algorithm-not-allowed`,
            `certificate-invalid` (the key), `signature-invalid` or `digest-mismatch`.
    """

class TreeRefused(Exception):
    """Octets, numbers or a proof that are not part of the log; the text says which."""

@final
class LogEdge:
    """The right edge of a log: the partial tiles and the partial bundle, all that growing needs to know.

    `tiles[level]` is the partial tile of that level (any octets where the size asks for none), `bundle` the partial bundle.

    Raises:
        TreeRefused: they are not what a log of `size` entries has there.
    """

    def __new__(cls, size: int, tiles: Sequence[bytes], bundle: bytes) -> LogEdge: ...
    @property
    def size(self) -> int: ...
    @property
    def root(self) -> bytes:
        """RFC 9162 root over all entries."""

    def grow(self, entries: Sequence[bytes]) -> LogGrowth:
        """Compute what the log becomes with these entries; this edge stays as it is.

        Raises:
            TreeRefused: an entry of more than 65,535 octets.
        """

@final
class LogGrowth:
    """What a log becomes with some more entries."""

    def grow(self, entries: Sequence[bytes]) -> LogGrowth:
        """Compute what the log becomes with still more entries, counted from where this growth began.

        Raises:
            TreeRefused: an entry of more than 65,535 octets.
        """

    @property
    def edge(self) -> LogEdge:
        """The edge once every file is written."""

    @property
    def leaves(self) -> bytes:
        """The leaf hashes of the new entries, one behind the other."""

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """Path below the log's prefix and octets of each file to write: those that became full with the last entries, and the partial ones."""

    def prove_from(self, first: int) -> list[bytes]:
        """Prove consistency from a size between the old one and the new to the new.

        Raises:
            TreeRefused: a smaller or larger size.
        """

def read_bundle(octets: bytes) -> tuple[list[bytes], bytes]:
    """Cut an entry bundle into its entries, and hash each: entries, and leaf hashes one behind the other.

    Raises:
        TreeRefused: the bundle is torn.
    """

def bundle_leaves(octets: bytes) -> bytes:
    """Cut an entry bundle into its entries, and return nothing but the hash of each, one behind the other.

    Raises:
        TreeRefused: the bundle is torn.
    """

def merkle_root(hashes: bytes) -> bytes:
    """Return the Merkle tree hash over hashes that stand one behind the other."""

def tile_path(level: int, index: int, size: int) -> str:
    """Return the path of a hash tile in a log of `size` entries, full or partial.

    Raises:
        TreeRefused: such a log has no such tile.
    """

def bundle_path(index: int, size: int) -> str:
    """Return the path of an entry bundle in a log of `size` entries, full or partial.

    Raises:
        TreeRefused: such a log has no such bundle.
    """

def tree_root(size: int, fetch: Callable[[str], bytes]) -> bytes:
    """Return the root of the tree of `size` entries; `fetch` gives the tile of a path and may raise, which goes through.

    Raises:
        TreeRefused: a tile is not as wide as it should be.
    """

def prove_inclusion(index: int, size: int, fetch: Callable[[str], bytes]) -> list[bytes]:
    """Prove that the entry at `index` is in the tree of `size` entries; raises like `tree_root`, and outside the tree."""

def prove_consistency(first: int, second: int, fetch: Callable[[str], bytes]) -> list[bytes]:
    """Prove that the tree of `first` entries is the beginning of that of `second`; raises like `prove_inclusion`."""

def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that the leaf hash is that of the entry at `index` in the tree with this size and root.

    Raises:
        TreeRefused: it is not.
    """

def verify_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that one tree is the beginning of another.

    Raises:
        TreeRefused: it is not.
    """
