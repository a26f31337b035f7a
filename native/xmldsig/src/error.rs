//! What this crate refuses, by blame, with the reason the wire and the trace carry.

use std::fmt;

use crate::digest::KeyRefused;

/// A refusal. Nothing here is retried: the same octets are refused again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The sender's octets break XML 1.0, Namespaces 1.0 or the encoding they declare.
    Malformed {
        /// Octet offset of the fault in the input.
        offset: usize,
        /// The rule that is broken, in words.
        rule: &'static str,
    },
    /// The sender's document has a DOCTYPE; no DTD is ever read.
    DtdForbidden {
        /// Octet offset of the declaration.
        offset: usize,
    },
    /// The sender's document passes one of [`crate::Limits`].
    Limit {
        /// Which bound.
        limit: Limit,
        /// Its value.
        bound: usize,
        /// Octet offset where it was passed.
        offset: usize,
    },
    /// The sender's assertion lacks a mandatory part or has a shape no reading is safe for.
    Structure(&'static str),
    /// The sender's signature is absent, of a forbidden shape, or wrong.
    Signature {
        /// The closed vocabulary of the trace.
        fault: SignatureFault,
        /// What exactly, in words.
        detail: &'static str,
    },
    /// The sender's message cannot take a security header, or not by this rule.
    Message {
        /// The closed vocabulary of the trace.
        fault: MessageFault,
        /// What exactly, in words.
        detail: &'static str,
    },
    /// Our own caller passed something unusable.
    Argument(String),
}

/// A refusal while reading: boxed, so that what is accepted returns in registers.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Error>);

impl From<Error> for Refusal {
    #[cold]
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

impl From<KeyRefused> for Error {
    /// Of the signer's key, as trust returned it.
    fn from(refused: KeyRefused) -> Self {
        match refused {
            KeyRefused::NotAllowed => Self::signature(
                SignatureFault::AlgorithmNotAllowed,
                "the signer's key is not for this algorithm, or not of an allowed size",
            ),
            KeyRefused::Unreadable => Self::signature(
                SignatureFault::CertificateInvalid,
                "the signer's key cannot be read",
            ),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        *refusal.0
    }
}

/// The bounds of [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Attributes and namespace declarations of one element.
    Attributes,
    /// Elements inside elements.
    Depth,
    /// Length of a canonical form.
    Growth,
    /// Length of one name.
    Name,
    /// Namespace declarations in scope.
    Namespaces,
    /// Size of the document.
    Octets,
    /// References in the document.
    References,
    /// Length of a tag that passes in pieces.
    Tag,
    /// Length of one attribute value.
    Value,
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureFault {
    /// An algorithm or key size outside the policy.
    AlgorithmNotAllowed,
    /// A certificate or key that cannot be read.
    CertificateInvalid,
    /// No certificate in `KeyInfo`.
    CertificateMissing,
    /// The signed octets are not those that were signed.
    DigestMismatch,
    /// More than one `Signature` on the assertion.
    SeveralSignatures,
    /// `SignatureValue` is not a signature of `SignedInfo` by this key.
    SignatureInvalid,
    /// No `Signature` on the assertion.
    SignatureMissing,
    /// References, transforms or structure outside the profile.
    SignatureProfile,
}

/// Why a message takes no security header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageFault {
    /// The message is UTF-16, or declares an encoding that cannot carry the vector.
    EncodingUnsupported,
    /// Header and Body are not where SOAP has them.
    EnvelopeInvalid,
    /// An ID that a Reference needs stands twice, or is no name.
    IdUnusable,
    /// The root is no SOAP Envelope.
    NotSoap,
    /// A security header that stays leaves no place for ours.
    SecurityHeaderConflict,
    /// There is a security header, and the rule is to refuse.
    SecurityHeaderPresent,
}

impl Error {
    pub(crate) const fn malformed(offset: usize, rule: &'static str) -> Self {
        Self::Malformed { offset, rule }
    }

    pub(crate) const fn signature(fault: SignatureFault, detail: &'static str) -> Self {
        Self::Signature { fault, detail }
    }

    pub(crate) const fn message(fault: MessageFault, detail: &'static str) -> Self {
        Self::Message { fault, detail }
    }

    pub(crate) const fn profile(detail: &'static str) -> Self {
        Self::signature(SignatureFault::SignatureProfile, detail)
    }

    /// The same refusal, its offset passed through `locate`.
    pub(crate) fn relocated(mut self, locate: impl FnOnce(usize) -> usize) -> Self {
        match &mut self {
            Self::Malformed { offset, .. }
            | Self::DtdForbidden { offset }
            | Self::Limit { offset, .. } => *offset = locate(*offset),
            Self::Structure(_)
            | Self::Signature { .. }
            | Self::Message { .. }
            | Self::Argument(_) => {}
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { offset, rule } => write!(f, "{rule} (octet {offset})"),
            Self::DtdForbidden { offset } => {
                write!(f, "a document type declaration is not accepted (octet {offset})")
            }
            Self::Limit { limit, bound, offset } => {
                write!(f, "more than {bound} {limit} (octet {offset})")
            }
            Self::Structure(detail)
            | Self::Signature { detail, .. }
            | Self::Message { detail, .. } => f.write_str(detail),
            Self::Argument(detail) => f.write_str(detail),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attributes => "attributes on one element",
            Self::Depth => "levels of elements",
            Self::Growth => "octets in a canonical form",
            Self::Name => "octets in a name",
            Self::Namespaces => "namespace declarations in scope",
            Self::Octets => "octets",
            Self::References => "references",
            Self::Tag => "octets in a tag",
            Self::Value => "octets in an attribute value",
        })
    }
}

impl SignatureFault {
    /// The word the wire, the metrics and the trace use.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "algorithm-not-allowed",
            Self::CertificateInvalid => "certificate-invalid",
            Self::CertificateMissing => "certificate-missing",
            Self::DigestMismatch => "digest-mismatch",
            Self::SeveralSignatures => "several-signatures",
            Self::SignatureInvalid => "signature-invalid",
            Self::SignatureMissing => "signature-missing",
            Self::SignatureProfile => "signature-profile",
        }
    }
}

impl MessageFault {
    /// The word the wire, the metrics and the trace use.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::EncodingUnsupported => "encoding-unsupported",
            Self::EnvelopeInvalid => "envelope-invalid",
            Self::IdUnusable => "id-unusable",
            Self::NotSoap => "not-soap",
            Self::SecurityHeaderConflict => "security-header-conflict",
            Self::SecurityHeaderPresent => "security-header-present",
        }
    }
}

impl std::error::Error for Error {}
