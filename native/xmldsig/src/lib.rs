//! The XML core of the appliance: a strict reader, canonicalization, and the signatures of InterOPS vectors.
//!
//! | module | owns |
//! | --- | --- |
//! | [`read`] | octets → [`Document`]; XML 1.0 fifth edition and Namespaces 1.0, no DTD, [`Limits`] |
//! | [`Canonicalization`] | Canonical XML 1.0 and exclusive 1.0, with and without comments, PrefixList |
//! | [`locate()`] | the one assertion of a message, isolated as a document of its own |
//! | [`SignatureClaim`] | the one legal signature over it; [`Policy`]; [`VerifiedOctets`] |
//! | [`AssertionContent`], [`PreparedSignature`], [`SignedAssertion`] | writing and signing a vector, variant A or B |
//! | [`SecurityHeader`], [`PreparedMessage`], [`SecuredMessage`] | putting it into a SOAP message, and signing parts of that |
//! | [`MessageSignatureClaim`], [`VerifiedMessage`] | such a message signature, read and verified |
//!
//! What is refused, always: DTDs and entities, relative namespace URIs in a canonical form, more than one signature or
//! Reference, transforms beyond enveloped-signature and exclusive canonicalization, references outside the assertion,
//! duplicate IDs, HMAC, DER-encoded ECDSA values, comments inside DigestValue and SignatureValue; SHA-1 unless a
//! [`Policy`] says so. Keys come from outside: `KeyInfo` is a claim, and public-key mathematics is a
//! [`PublicKeyVerifier`] that the user of this crate brings.
//!
//! A vector is signed by RSA (PKCS#1 v1.5 or PSS) or ECDSA (P-256, P-384; r‖s) with SHA-256, SHA-384 or SHA-512, never with
//! SHA-1. Into a SOAP message it goes by edits of the octets as they came; a message signature has up to three References,
//! each to a [`Part`] that is known by where it stands: Body, Timestamp, and the vector through the STR-Transform.
//! Refused there: UTF-16, a Header that does not come before the Body, a second vector, a Reference to anything else.
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
mod limits;
mod locate;
mod message;
mod namespaces;
mod prepare;
mod reader;
mod signature;
mod signed_info;
mod splice;
mod template;
mod text;
mod uri;
mod verify;

pub use algorithms::{
    C14N_10, C14N_11, C14N_EXCLUSIVE, Hash, Policy, Profile, Scheme, SignatureAlgorithm,
};
pub use assertion::{AssertionContent, PAGM};
pub use c14n::{Canonicalization, Method};
pub use digest::{KeyRefused, PublicKeyVerifier, SignatureMismatch, digest, sha256};
pub use document::Document;
pub use error::{Error, Limit, MessageFault, SignatureFault};
pub use fields::AssertionFields;
pub use generic::verify_signature;
pub use limits::Limits;
pub use locate::{EnvelopeFault, MessageKind, ReceivedAssertion, ReceivedMessage, locate};
pub use message::{
    AdmittedMessageSignature, Edit, ExistingHeader, MessageSignatureClaim, Part, PreparedMessage,
    SecuredMessage, SecurityHeader, TokenReference, VerifiedMessage, VerifiedTimestamp,
};
pub use prepare::{PreparedSignature, SignatureProfile};
pub use reader::read;
pub use splice::SignedAssertion;
pub use verify::{AdmittedSignature, SignatureClaim, Variant, VerifiedOctets};
