//! The algorithms this crate knows, by the URIs of XMLDSig, and the policy that admits them.

use crate::c14n::{Canonicalization, Method};
use crate::error::{Error, SignatureFault};

/// The DigestMethod of SHA-256.
pub const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
pub(crate) const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hash {
    /// Verification only, and only where a policy allows it.
    Sha1,
    /// Likewise, and in the generic profile only.
    Sha224,
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

/// Whose signatures are asked for, and so which keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// Those of vectors: RSA from 2048 bits on, from 1024 on under SHA-1; ECDSA on P-256 and P-384.
    Assertion,
    /// Any, with a key that the user pinned: RSA from 1024 bits on; ECDSA on P-256, P-384 and P-521.
    Generic,
}

/// The algorithms and keys that verification admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    profile: Profile,
    legacy: bool,
    variant_b: bool,
}

const DIGESTS: [(&str, Hash); 5] = [
    ("http://www.w3.org/2000/09/xmldsig#sha1", Hash::Sha1),
    ("http://www.w3.org/2001/04/xmldsig-more#sha224", Hash::Sha224),
    (SHA256, Hash::Sha256),
    ("http://www.w3.org/2001/04/xmldsig-more#sha384", Hash::Sha384),
    ("http://www.w3.org/2001/04/xmlenc#sha512", Hash::Sha512),
];

const SIGNATURES: [(&str, Scheme, Hash); 13] = [
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
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1", Scheme::Ecdsa, Hash::Sha1),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha224", Scheme::RsaPkcs1, Hash::Sha224),
    ("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha224", Scheme::Ecdsa, Hash::Sha224),
];

/// Canonical XML 1.0.
pub const C14N_10: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
/// Canonical XML 1.1.
pub const C14N_11: &str = "http://www.w3.org/2006/12/xml-c14n11";
/// Exclusive XML Canonicalization 1.0.
pub const C14N_EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const C14N_10_COMMENTS: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments";
const C14N_11_COMMENTS: &str = "http://www.w3.org/2006/12/xml-c14n11#WithComments";
const C14N_EXCLUSIVE_COMMENTS: &str = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments";

impl Hash {
    /// The hash a DigestMethod URI names.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        DIGESTS.iter().find(|known| known.0 == uri).map(|known| known.1)
    }

    /// `sha1`, `sha224`, `sha256`, `sha384` or `sha512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
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
            Self::Sha224 => 28,
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
    /// For vectors: SHA-256, SHA-384 and SHA-512; where SHA-1 is allowed, also RSA-SHA1 and SHA-1 digests, which is what
    /// vectors of old look like.
    #[must_use]
    pub const fn assertion(allow_sha1: bool) -> Self {
        Self { profile: Profile::Assertion, legacy: allow_sha1, variant_b: false }
    }

    /// With [`crate::Variant::B`], the other legacy of vectors.
    #[must_use]
    pub const fn with_variant_b(self) -> Self {
        Self { variant_b: true, ..self }
    }

    /// For any signature: likewise; where SHA-1 is allowed, so is SHA-224, and either of them under ECDSA too.
    #[must_use]
    pub const fn generic(allow_sha1: bool) -> Self {
        Self { profile: Profile::Generic, legacy: allow_sha1, variant_b: false }
    }

    /// Whose signatures it is for.
    #[must_use]
    pub const fn profile(self) -> Profile {
        self.profile
    }

    pub(crate) const fn admits_variant_b(self) -> bool {
        self.variant_b
    }

    pub(crate) fn admit_hash(self, hash: Option<Hash>) -> Result<Hash, Error> {
        let hash =
            hash.ok_or(not_allowed("the digest algorithm is not one this verifier knows"))?;
        if self.admits(hash) {
            return Ok(hash);
        }
        Err(not_allowed(match hash {
            Hash::Sha1 => "SHA-1 digests are refused by the policy",
            _ => "SHA-224 digests are refused by the policy",
        }))
    }

    /// The algorithm, where this policy has it.
    ///
    /// # Errors
    /// [`SignatureFault::AlgorithmNotAllowed`] names the algorithm.
    pub fn admit(self, algorithm: Option<SignatureAlgorithm>) -> Result<SignatureAlgorithm, Error> {
        let algorithm = algorithm
            .ok_or(not_allowed("the signature algorithm is not one this verifier knows"))?;
        let SignatureAlgorithm { scheme, hash } = algorithm;
        let is_for_profile =
            self.profile == Profile::Generic || (scheme, hash) != (Scheme::Ecdsa, Hash::Sha1);
        if self.admits(hash) && is_for_profile {
            return Ok(algorithm);
        }
        Err(not_allowed(match (scheme, hash) {
            (Scheme::Ecdsa, Hash::Sha1) => "ECDSA-SHA1 signatures are refused by the policy",
            (_, Hash::Sha1) => "RSA-SHA1 signatures are refused by the policy",
            (Scheme::Ecdsa, _) => "ECDSA-SHA224 signatures are refused by the policy",
            _ => "RSA-SHA224 signatures are refused by the policy",
        }))
    }

    fn admits(self, hash: Hash) -> bool {
        match hash {
            Hash::Sha1 => self.legacy,
            Hash::Sha224 => self.legacy && self.profile == Profile::Generic,
            Hash::Sha256 | Hash::Sha384 | Hash::Sha512 => true,
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
            C14N_11 => Some(Self::new(Method::Inclusive11, false)),
            C14N_11_COMMENTS => Some(Self::new(Method::Inclusive11, true)),
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

    /// What a policy refuses of a hash and of each scheme with it, by its detail.
    fn refused(policy: Policy, hash: Hash) -> Vec<String> {
        let schemes = [Scheme::Ecdsa, Scheme::RsaPkcs1];
        let signatures = schemes
            .map(|scheme| policy.admit(Some(SignatureAlgorithm { scheme, hash })).map(|_| ()));
        let digest = policy.admit_hash(Some(hash)).map(|_| ());
        let all = std::iter::once(digest).chain(signatures);
        all.filter_map(|result| result.err().map(|error| error.to_string())).collect()
    }

    #[test]
    fn sha1_and_sha224_need_a_policy_that_says_so() {
        for policy in [Policy::assertion(false), Policy::generic(false)] {
            for (hash, name, words) in
                [(Hash::Sha1, "SHA1", "SHA-1"), (Hash::Sha224, "SHA224", "SHA-224")]
            {
                let wanted = [
                    format!("{words} digests are refused by the policy"),
                    format!("ECDSA-{name} signatures are refused by the policy"),
                    format!("RSA-{name} signatures are refused by the policy"),
                ];
                assert_eq!(refused(policy, hash), wanted);
            }
        }
    }

    #[test]
    fn vectors_of_old_are_rsa_sha1_and_nothing_else() {
        let policy = Policy::assertion(true);
        assert_eq!(
            refused(policy, Hash::Sha1),
            ["ECDSA-SHA1 signatures are refused by the policy"]
        );
        assert_eq!(refused(policy, Hash::Sha224).len(), 3);
        assert!(refused(Policy::generic(true), Hash::Sha1).is_empty());
        assert!(refused(Policy::generic(true), Hash::Sha224).is_empty());
    }

    #[test]
    fn every_policy_has_the_modern_algorithms() {
        for policy in [Policy::assertion(false), Policy::generic(false)] {
            for &(uri, ..) in SIGNATURES.iter().take(9) {
                assert!(policy.admit(SignatureAlgorithm::from_uri(uri)).is_ok(), "{uri}");
            }
            for &(uri, _) in DIGESTS.iter().skip(2) {
                assert!(policy.admit_hash(Hash::from_uri(uri)).is_ok(), "{uri}");
            }
        }
    }
}
