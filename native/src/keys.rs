//! Public-key mathematics for the core, by AWS-LC.
//!
//! RSA keys have 2048 to 8192 bits, from 1024 on only under SHA-1, which only a legacy policy reaches. ECDSA is on
//! P-256, P-384 and P-521, its signatures r‖s.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use xmldsig::{Hash, KeyRefused, PublicKeyVerifier, Scheme, SignatureAlgorithm, SignatureMismatch};

use crate::error::Failure;

/// A public key of AWS-LC, loaded for one algorithm.
#[derive(Debug)]
pub(crate) struct AwsLcKey {
    key: ParsedPublicKey,
    /// The hash the key's algorithm object insists on.
    hash: &'static digest::Algorithm,
}

type Suite = (&'static dyn VerificationAlgorithm, &'static digest::Algorithm);

const P256: Suite = (&signature::ECDSA_P256_SHA256_FIXED, &digest::SHA256);
const P384: Suite = (&signature::ECDSA_P384_SHA384_FIXED, &digest::SHA384);
const P521: Suite = (&signature::ECDSA_P521_SHA512_FIXED, &digest::SHA512);

impl PublicKeyVerifier for AwsLcKey {
    fn from_spki(spki: &[u8], algorithm: SignatureAlgorithm) -> Result<Self, KeyRefused> {
        if !is_sequence(spki) {
            return Err(KeyRefused::Unreadable);
        }
        let candidates = suites(algorithm).ok_or(KeyRefused::NotAllowed)?;
        let loaded = candidates.iter().find_map(|&(suite, hash)| {
            let key = ParsedPublicKey::new(suite, spki).ok()?;
            Some(Self { key, hash })
        });
        loaded.ok_or(KeyRefused::NotAllowed)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let digest = fitted(digest, self.hash).ok_or(SignatureMismatch::new())?;
        self.key.verify_digest_sig(&digest, signature).map_err(|_| SignatureMismatch::new())
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
    let Some(algorithm) = SignatureAlgorithm::from_uri(signature_algorithm) else {
        return Err(PyValueError::new_err("unknown signature algorithm"));
    };
    if digest.len() != algorithm.hash.width() {
        return Err(PyValueError::new_err("the digest is not as wide as the algorithm's hash"));
    }
    let verdict = py.detach(|| -> Result<_, KeyRefused> {
        Ok(AwsLcKey::from_spki(public_key, algorithm)?.verify(digest, signature))
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

/// The suites a key may turn out to be for; None where AWS-LC has no such combination.
fn suites(algorithm: SignatureAlgorithm) -> Option<&'static [Suite]> {
    let suites: &[Suite] = match (algorithm.scheme, algorithm.hash) {
        (Scheme::Ecdsa, _) => &[P256, P384, P521],
        (Scheme::RsaPkcs1, Hash::Sha1) => &[(
            &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
        )],
        (Scheme::RsaPkcs1, Hash::Sha256) => {
            &[(&signature::RSA_PKCS1_2048_8192_SHA256, &digest::SHA256)]
        }
        (Scheme::RsaPkcs1, Hash::Sha384) => {
            &[(&signature::RSA_PKCS1_2048_8192_SHA384, &digest::SHA384)]
        }
        (Scheme::RsaPkcs1, Hash::Sha512) => {
            &[(&signature::RSA_PKCS1_2048_8192_SHA512, &digest::SHA512)]
        }
        (Scheme::RsaPss, Hash::Sha256) => {
            &[(&signature::RSA_PSS_2048_8192_SHA256, &digest::SHA256)]
        }
        (Scheme::RsaPss, Hash::Sha384) => {
            &[(&signature::RSA_PSS_2048_8192_SHA384, &digest::SHA384)]
        }
        (Scheme::RsaPss, Hash::Sha512) => {
            &[(&signature::RSA_PSS_2048_8192_SHA512, &digest::SHA512)]
        }
        _ => return None,
    };
    Some(suites)
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

/// Whether octets are one DER SEQUENCE and nothing after it: AWS-LC would also take a bare EC point or `RSAPublicKey`.
fn is_sequence(der: &[u8]) -> bool {
    let (content, length) = match *der {
        [0x30, length @ 0..=0x7F, ref content @ ..] | [0x30, 0x81, length, ref content @ ..] => {
            (content, usize::from(length))
        }
        [0x30, 0x82, high, low, ref content @ ..] => {
            (content, usize::from(high) << 8 | usize::from(low))
        }
        _ => return false,
    };
    content.len() == length
}
