//! The algorithms this crate knows, by the URIs of XMLDSig, and the policy that admits them.

use crate::c14n::{Canonicalization, Method};
use crate::error::{Error, SignatureFault};

pub(crate) const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hash {
    /// Verification only, and only where a policy allows it.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// ECDSA; a signature is r‖s, each as wide as the curve's order.
    Ecdsa,
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1,
    /// RSASSA-PSS with MGF1 over the same hash and a salt as long as it.
    RsaPss,
}

/// A scheme and the hash of `SignedInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureAlgorithm {
    /// How the key signs.
    pub scheme: Scheme,
    /// What it signs the hash of.
    pub hash: Hash,
}

/// What verification admits beyond the modern algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Policy {
    /// SHA-1 in digests and under RSA PKCS#1 v1.5, with RSA keys from 1024 bits on: what vectors of old look like.
    pub allow_sha1: bool,
}

const DIGESTS: [(&str, Hash); 4] = [
    ("http://www.w3.org/2000/09/xmldsig#sha1", Hash::Sha1),
    ("http://www.w3.org/2001/04/xmlenc#sha256", Hash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#sha384", Hash::Sha384),
    ("http://www.w3.org/2001/04/xmlenc#sha512", Hash::Sha512),
];

const SIGNATURES: [(&str, Scheme, Hash); 10] = [
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", Scheme::RsaPkcs1, Hash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", Scheme::RsaPkcs1, Hash::Sha384),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", Scheme::RsaPkcs1, Hash::Sha512),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", Scheme::Ecdsa, Hash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", Scheme::Ecdsa, Hash::Sha384),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512", Scheme::Ecdsa, Hash::Sha512),
    ("http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1", Scheme::RsaPss, Hash::Sha256),
    ("http://www.w3.org/2007/05/xmldsig-more#sha384-rsa-MGF1", Scheme::RsaPss, Hash::Sha384),
    ("http://www.w3.org/2007/05/xmldsig-more#sha512-rsa-MGF1", Scheme::RsaPss, Hash::Sha512),
    ("http://www.w3.org/2000/09/xmldsig#rsa-sha1", Scheme::RsaPkcs1, Hash::Sha1),
];

/// Canonical XML 1.0.
pub const C14N_10: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
/// Exclusive XML Canonicalization 1.0.
pub const C14N_EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const C14N_10_COMMENTS: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments";
const C14N_EXCLUSIVE_COMMENTS: &str = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments";

impl Hash {
    /// The hash a DigestMethod URI names.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        DIGESTS.iter().find(|known| known.0 == uri).map(|known| known.1)
    }

    /// `sha1`, `sha256`, `sha384` or `sha512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Octets of a digest.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl SignatureAlgorithm {
    /// The algorithm a SignatureMethod URI names; HMAC and everything else that is no public-key signature is None.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let &(_, scheme, hash) = SIGNATURES.iter().find(|known| known.0 == uri)?;
        Some(Self { scheme, hash })
    }
}

impl Policy {
    /// The policy with or without SHA-1.
    #[must_use]
    pub const fn new(allow_sha1: bool) -> Self {
        Self { allow_sha1 }
    }

    pub(crate) fn admit_hash(self, hash: Option<Hash>) -> Result<Hash, Error> {
        match hash {
            None => Err(not_allowed("the digest algorithm is not one this verifier knows")),
            Some(Hash::Sha1) if !self.allow_sha1 => {
                Err(not_allowed("SHA-1 digests are refused by the policy"))
            }
            Some(hash) => Ok(hash),
        }
    }

    pub(crate) fn admit(
        self,
        algorithm: Option<SignatureAlgorithm>,
    ) -> Result<SignatureAlgorithm, Error> {
        match algorithm {
            None => Err(not_allowed("the signature algorithm is not one this verifier knows")),
            Some(SignatureAlgorithm { hash: Hash::Sha1, .. }) if !self.allow_sha1 => {
                Err(not_allowed("RSA-SHA1 signatures are refused by the policy"))
            }
            Some(algorithm) => Ok(algorithm),
        }
    }
}

impl Canonicalization {
    /// The algorithm a URI names, without PrefixList.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            C14N_10 => Some(Self::new(Method::Inclusive, false)),
            C14N_10_COMMENTS => Some(Self::new(Method::Inclusive, true)),
            C14N_EXCLUSIVE => Some(Self::new(Method::Exclusive, false)),
            C14N_EXCLUSIVE_COMMENTS => Some(Self::new(Method::Exclusive, true)),
            _ => None,
        }
    }
}

const fn not_allowed(detail: &'static str) -> Error {
    Error::signature(SignatureFault::AlgorithmNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_and_unknown_methods_are_no_algorithms() {
        for uri in [
            "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
            "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
            "http://www.w3.org/2000/09/xmldsig#dsa-sha1",
            "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
            "",
        ] {
            assert_eq!(SignatureAlgorithm::from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn sha1_needs_a_policy_that_says_so() {
        let legacy = SignatureAlgorithm::from_uri("http://www.w3.org/2000/09/xmldsig#rsa-sha1");
        assert!(Policy::default().admit(legacy).is_err());
        assert!(Policy::default().admit_hash(Some(Hash::Sha1)).is_err());
        assert!(Policy::new(true).admit(legacy).is_ok());
        assert!(Policy::new(true).admit_hash(Some(Hash::Sha1)).is_ok());
    }
}
