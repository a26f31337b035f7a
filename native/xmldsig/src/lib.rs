//! The XML core of the appliance: a strict reader, canonicalization, and the signatures of InterOPS vectors.
//!
//! This page alone says what is supported, what is refused and why. Two rules stand behind all of it. Octets are understood in
//! one way or not at all: whatever two readers could see differently is refused. And what was verified is a value of its own:
//! who reads on reads the octets that were digested, never the document they came in.
//!
//! | step | name |
//! | --- | --- |
//! | octets → document | [`read`], [`Document`], [`Limits`] |
//! | document → canonical octets | [`Canonicalization`], [`Method`] |
//! | octets → digest of the canonical octets, neither held | [`Canonicalization::digest`] |
//! | message → the one assertion, as a document of its own | [`locate()`], [`ReceivedMessage`], [`ReceivedAssertion`] |
//! | assertion → what was signed | [`SignatureClaim`], [`Policy`], [`AdmittedSignature`], [`VerifiedOctets`] |
//! | what was signed → what it states | [`AssertionFields`] |
//! | content → vector | [`AssertionContent`], [`SignatureProfile`], [`PreparedSignature`], [`SignedAssertion`] |
//! | vector and message → message, by edits of its octets, parts of it signed | [`SecurityHeader`], [`PreparedMessage`], [`SecuredMessage`] |
//! | message on its way through → where it goes, what is in it | [`SoapMessage`]; in pieces [`PassingMessage`] |
//! | signed message → what was signed | [`MessageSignatureClaim`], [`VerifiedMessage`] |
//! | any signed document → what was signed | [`verify_signature`] |
//!
//! # Reading
//!
//! XML 1.0 (fifth edition) and Namespaces in XML 1.0, in UTF-8 with or without byte order mark and UTF-16 with one; a document
//! that holds ASCII only may also call itself US-ASCII or ISO-8859-1. Version 1.x is read as 1.0, as the fifth edition says. Every
//! refusal names its rule and the octet of the input; nothing outside the octets is ever looked at.
//!
//! | refused | why |
//! | --- | --- |
//! | any DOCTYPE, and every entity but the five of XML | entities expand, fetch and hide; nothing a partner signs needs one |
//! | a declared encoding that the octets contradict, UTF-16 without mark, every other encoding | two readers, two texts |
//! | a namespace name that is no URI reference, a colon in an instruction's target, an `xml:id` that is no name or stands twice | libxml2 refuses or warns; a partner's verifier may be built on it |
//! | what passes one of [`Limits`] | each bound has its own error, with its value and the octet |
//!
//! Time is linear in the input and memory bounded, as [`Limits`] states; nothing recurses. One reader decides all this, whoever
//! listens to it: it makes a [`Document`], or a canonical form that is hashed as it grows.
//!
//! # Canonicalization
//!
//! | algorithm | constant | an element alone takes over |
//! | --- | --- | --- |
//! | Canonical XML 1.0 | [`C14N_10`] | namespaces in scope; the nearest `xml:` attribute of each name |
//! | Canonical XML 1.1 | [`C14N_11`] | namespaces in scope; `xml:lang`, `xml:space`; `xml:base` joined; no other |
//! | Exclusive XML Canonicalization 1.0 | [`C14N_EXCLUSIVE`] | namespaces visibly used, and those of the PrefixList, `#default` among them |
//!
//! Each with and without comments, of the document or of the element with an ID; [`Canonicalization::from_uri`] knows all six URIs.
//! `ID`, `Id`, `AssertionID`, `wsu:Id` and `xml:id` are one space of values; an ID that two elements have names neither. A document
//! with a relative namespace URI has no canonical form (Canonical XML 1.0, 1.3) and is refused, and so is a form that
//! [`Limits::growth`] does not allow; no refusal comes as empty octets. Node-sets that are no whole element do not exist here.
//! The digest of a whole document's form is had without document and form ([`Canonicalization::digest`]); it is the same, and what is
//! refused is refused in the same words.
//!
//! # Verification
//!
//! Two profiles, and a [`Policy`] of one of them. `KeyInfo` never decides: the key comes from outside, and so does the
//! mathematics, by a [`PublicKeyVerifier`].
//!
//! | | assertion: [`ReceivedAssertion::signature_claim`] | generic: [`verify_signature`] |
//! | --- | --- | --- |
//! | called by | the appliance, which calls no other | `appliance dsig verify` |
//! | the signature | the one that is a child of the isolated assertion | the one in the document; of several inside each other the outermost |
//! | key | trust sees the certificates of `KeyInfo` and returns one | pinned; `KeyInfo` is not looked at |
//! | Reference | `#` and the assertion's own ID; `URI=""` (variant B) where the policy says so | `#` and the ID of an element; `URI=""` with enveloped-signature |
//! | transforms | enveloped-signature, then exclusive canonicalization or none | at most one enveloped-signature, then at most one canonicalization |
//! | `SignedInfo` by | [`C14N_10`], [`C14N_EXCLUSIVE`] | all six |
//! | enveloped Objects | none | any |
//! | hashes | SHA-256, SHA-384, SHA-512; legacy: SHA-1 | the same; legacy: SHA-1, SHA-224 |
//! | RSA | PKCS#1 v1.5, PSS from 2048 bits; legacy: RSA-SHA1 from 1024 | PKCS#1 v1.5 from 1024 bits, PSS from 2048; legacy: SHA-1, SHA-224 |
//! | ECDSA | P-256, P-384 | P-256, P-384, P-521; legacy: SHA-1, SHA-224 |
//! | what comes back | [`VerifiedOctets`], which alone can be read as an assertion | octets |
//!
//! *Legacy* is a policy that says so, and nothing else is. In both profiles:
//!
//! | refused | why |
//! | --- | --- |
//! | several signatures side by side; a Signature that is not one SignedInfo, one SignatureValue, at most one KeyInfo, then Objects | which of them counts? |
//! | no Reference or several, one without URI, one that leads outside the document, `XPointer` and every other fragment with a character that no name has, an ID that nobody or more than one has | what is verified must be found in one way only |
//! | a Reference to the Signature, its SignedInfo or its KeyInfo | it would cover nothing that anyone reads |
//! | enveloped-signature on what the signature does not stand in, and its absence where it does | the digest would be of something else |
//! | any other transform (XPath, XSLT, base64, decryption), one twice, one out of order, parameters | transforms are programs that an attacker writes |
//! | comments and elements inside DigestValue and SignatureValue, text between the elements of a signature | two readers, two values |
//! | HMAC, DSA, MD5, RIPEMD and whatever else has no row above | a key that verifies must not be one that signs; the rest is broken or unused |
//! | an `EncryptedAssertion` anywhere, in the generic profile | nothing is decrypted here, and a response that holds one says less than it seems to |
//! | ECDSA values in DER, and of another width than r‖s has | XMLDSig says r‖s; one Java wrote P-521 a width less each, which generic takes |
//!
//! Comments are no part of what a Reference names (XMLDSig 4.4.3.3), so no verified octets hold one. A text that is read from them
//! is all text nodes of its element together, and one with elements inside is refused.
//!
//! # Signing
//!
//! Vectors of SAML 2.0 and 1.1, written in canonical form, in variant A or, where a profile asks, B; every string is escaped and none
//! becomes markup. RSA (PKCS#1 v1.5, PSS) and ECDSA on P-256 and P-384 with SHA-256, SHA-384 or SHA-512, never with SHA-1. The
//! signature comes from outside, is put in place once, and only where it verifies with the key's certificate: a fault in a
//! token's arithmetic would give its key away.
//!
//! # Messages
//!
//! A vector goes into a SOAP message by edits of the octets as they came; nothing is serialized again. A message signature has up
//! to three References, each to a [`Part`] that is known by where it stands: Body, Timestamp, and the vector through the
//! STR-Transform. Refused there: UTF-16, a Header that does not come before the Body, a second vector, a Reference to anything
//! else.
#![forbid(unsafe_code)]

mod algorithms;
mod assertion;
mod c14n;
mod characters;
mod digest;
mod document;
mod encoding;
mod error;
mod fields;
mod generic;
mod ids;
mod limits;
mod locate;
mod message;
mod namespaces;
mod prepare;
mod reader;
mod saml11;
mod scan;
mod signature;
mod signed_info;
mod sink;
mod splice;
mod template;
mod text;
mod uri;
mod verify;
mod words;

pub use algorithms::{
    C14N_10, C14N_11, C14N_EXCLUSIVE, Hash, Policy, Profile, SHA256, Scheme, SignatureAlgorithm,
};
pub use assertion::{AssertionContent, Confirmation, PAGM, SamlVersion};
pub use c14n::{Canonicalization, Method};
pub use digest::{KeyRefused, PublicKeyVerifier, SignatureMismatch, digest, sha256};
pub use document::Document;
pub use error::{Error, Limit, MessageFault, SignatureFault};
pub use fields::AssertionFields;
pub use generic::verify_signature;
pub use limits::Limits;
pub use locate::{EnvelopeFault, MessageKind, ReceivedAssertion, ReceivedMessage, locate};
pub use message::{
    AdmittedMessageSignature, Edit, ExistingHeader, MessageSignatureClaim, Part, PassingMessage,
    PreparedMessage, SecuredMessage, SecurityHeader, SoapMessage, TokenReference, VerifiedMessage,
    VerifiedTimestamp,
};
pub use prepare::{PreparedSignature, SignatureProfile};
pub use reader::read;
pub use splice::SignedAssertion;
pub use verify::{AdmittedSignature, SignatureClaim, Variant, VerifiedOctets};
