//! Public-key mathematics for the core, by AWS-LC; what AWS-LC does not offer is in [`crate::rsa`].
//!
//! RSA keys have 2048 to 8192 bits; PKCS#1 v1.5 takes them from 1024 on in the generic profile, and under SHA-1, which only a
//! legacy policy reaches. ECDSA is on P-256 and P-384, in the generic profile on P-521 too; its signatures are r‖s, each
//! as wide as the order, but for one known defect of others on P-521.

use std::borrow::Cow;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use xmldsig::{
    Hash, KeyRefused, Policy, Profile, PublicKeyVerifier, Scheme, SignatureAlgorithm,
    SignatureMismatch,
};

use crate::error::Failure;
use crate::rsa::{Pkcs1Key, RsaNumbers, only};

/// A public key loaded for one algorithm.
#[derive(Debug)]
pub(crate) enum PublicKey {
    AwsLc {
        key: ParsedPublicKey,
        /// The hash that AWS-LC's algorithm object insists on.
        hash: &'static digest::Algorithm,
        /// Octets of r‖s; None for RSA.
        width: Option<usize>,
        /// Whether a shorter r‖s is widened to that.
        is_widened: bool,
    },
    Pkcs1(Pkcs1Key),
}

type Suite = (&'static dyn VerificationAlgorithm, &'static digest::Algorithm);

/// A suite and the octets of its r‖s.
type Curve = (Suite, usize);

const P256: Curve = ((&signature::ECDSA_P256_SHA256_FIXED, &digest::SHA256), 64);
const P384: Curve = ((&signature::ECDSA_P384_SHA384_FIXED, &digest::SHA384), 96);
const P521: Curve = ((&signature::ECDSA_P521_SHA512_FIXED, &digest::SHA512), 132);

/// Bits of an RSA key: as small as legacy has them, as small as is modern, as large as any.
const RSA_BITS: (usize, usize, usize) = (1024, 2048, 8192);

impl PublicKeyVerifier for PublicKey {
    fn from_spki(
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        profile: Profile,
    ) -> Result<Self, KeyRefused> {
        if only(spki, 0x30).is_none() {
            return Err(KeyRefused::Unreadable);
        }
        let loaded = match algorithm.scheme {
            Scheme::Ecdsa => match profile {
                Profile::Generic => Self::load_ecdsa(spki, &[P256, P384, P521]),
                _ => Self::load_ecdsa(spki, &[P256, P384]),
            },
            _ => Self::load_rsa(spki, algorithm, profile),
        };
        loaded.ok_or(KeyRefused::NotAllowed)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let verified = match self {
            Self::AwsLc { key, hash, width, is_widened } => {
                let signature = widened(signature, width.filter(|_| *is_widened));
                fitted(digest, hash)
                    .is_some_and(|digest| key.verify_digest_sig(&digest, &signature).is_ok())
            }
            Self::Pkcs1(key) => key.verifies(digest, signature),
        };
        if verified { Ok(()) } else { Err(SignatureMismatch::new()) }
    }

    /// One faulty ECDSA signature does not give the key away, as one of RSA by CRT does (docs/known-attacks.md).
    fn trusted_width(&self) -> Option<usize> {
        match self {
            Self::AwsLc { width, .. } => *width,
            Self::Pkcs1(_) => None,
        }
    }
}

impl PublicKey {
    fn load(spki: &[u8], (suite, hash): Suite) -> Option<Self> {
        let key = ParsedPublicKey::new(suite, spki).ok()?;
        Some(Self::AwsLc { key, hash, width: None, is_widened: false })
    }

    /// The key on the first of these curves that it is on. On P-521 one number in two has a leading octet of zero, and Java once
    /// left it out where both have one.
    fn load_ecdsa(spki: &[u8], curves: &[Curve]) -> Option<Self> {
        curves.iter().find_map(|&((suite, hash), width)| {
            let key = ParsedPublicKey::new(suite, spki).ok()?;
            Some(Self::AwsLc { key, hash, width: Some(width), is_widened: width == P521.1 })
        })
    }

    fn load_rsa(spki: &[u8], algorithm: SignatureAlgorithm, profile: Profile) -> Option<Self> {
        let numbers = RsaNumbers::from_spki(spki)?;
        let (legacy, modern, most) = RSA_BITS;
        let is_small = numbers.bits() < modern;
        let admits_small = profile == Profile::Generic || algorithm.hash == Hash::Sha1;
        if is_small && !admits_small || numbers.bits() < legacy || numbers.bits() > most {
            return None;
        }
        match rsa_suite(algorithm, is_small) {
            Some(suite) => Self::load(spki, suite),
            None if algorithm.scheme == Scheme::RsaPkcs1 => {
                Pkcs1Key::new(numbers, algorithm.hash).map(Self::Pkcs1)
            }
            None => None,
        }
    }
}

/// Verify a raw signature over a digest (ECDSA as r‖s).
#[pyfunction]
pub(crate) fn verify_digest(
    py: Python<'_>,
    public_key: &[u8],
    signature_algorithm: &str,
    digest: &[u8],
    signature: &[u8],
) -> PyResult<()> {
    let algorithm = SignatureAlgorithm::from_uri(signature_algorithm);
    let Ok(algorithm) = Policy::assertion(true).admit(algorithm) else {
        return Err(PyValueError::new_err("unknown signature algorithm"));
    };
    if digest.len() != algorithm.hash.width() {
        return Err(PyValueError::new_err("the digest is not as wide as the algorithm's hash"));
    }
    let verdict = py.detach(|| -> Result<_, KeyRefused> {
        let key = PublicKey::from_spki(public_key, algorithm, Profile::Assertion)?;
        Ok(key.verify(digest, signature))
    });
    match verdict {
        Err(_) => Err(PyValueError::new_err("the public key is not usable with this algorithm")),
        Ok(Err(_)) => Err(Failure::from(xmldsig::Error::Signature {
            fault: xmldsig::SignatureFault::SignatureInvalid,
            detail: "the signature does not verify with this key",
        })
        .into()),
        Ok(Ok(())) => Ok(()),
    }
}

/// The suite of AWS-LC for an RSA algorithm with a key below or from 2048 bits on; None where there is none.
fn rsa_suite(algorithm: SignatureAlgorithm, is_small: bool) -> Option<Suite> {
    use aws_lc_rs::signature as suites;
    Some(match (algorithm.scheme, algorithm.hash, is_small) {
        (Scheme::RsaPkcs1, Hash::Sha1, _) => (
            &suites::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
        ),
        (Scheme::RsaPkcs1, Hash::Sha256, true) => {
            (&suites::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &digest::SHA256)
        }
        (Scheme::RsaPkcs1, Hash::Sha512, true) => {
            (&suites::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, &digest::SHA512)
        }
        (Scheme::RsaPkcs1, Hash::Sha256, false) => {
            (&suites::RSA_PKCS1_2048_8192_SHA256, &digest::SHA256)
        }
        (Scheme::RsaPkcs1, Hash::Sha384, false) => {
            (&suites::RSA_PKCS1_2048_8192_SHA384, &digest::SHA384)
        }
        (Scheme::RsaPkcs1, Hash::Sha512, false) => {
            (&suites::RSA_PKCS1_2048_8192_SHA512, &digest::SHA512)
        }
        (Scheme::RsaPss, Hash::Sha256, false) => {
            (&suites::RSA_PSS_2048_8192_SHA256, &digest::SHA256)
        }
        (Scheme::RsaPss, Hash::Sha384, false) => {
            (&suites::RSA_PSS_2048_8192_SHA384, &digest::SHA384)
        }
        (Scheme::RsaPss, Hash::Sha512, false) => {
            (&suites::RSA_PSS_2048_8192_SHA512, &digest::SHA512)
        }
        _ => return None,
    })
}

/// r‖s with both numbers so wide that together they fill `width`; as it came where that is not the next shorter one, or there is none.
fn widened(signature: &[u8], width: Option<usize>) -> Cow<'_, [u8]> {
    if width != Some(signature.len() + 2) {
        return Cow::Borrowed(signature);
    }
    let (r, s) = signature.split_at(signature.len() / 2);
    Cow::Owned([&[0], r, &[0], s].concat())
}

/// A digest as `hash` would have made it. FIPS 186-5, 6.4.2: ECDSA takes the leftmost bits of the digest, as many as the
/// order has, as a number; so cutting on the right and padding on the left change nothing. RSA digests fit already.
fn fitted(digest: &[u8], hash: &'static digest::Algorithm) -> Option<Digest> {
    let width = hash.output_len();
    let cut = digest.get(..digest.len().min(width))?;
    let mut whole = vec![0; width - cut.len()];
    whole.extend_from_slice(cut);
    Digest::import_less_safe(&whole, hash).ok()
}
