//! Hashing, and the trait that brings public-key mathematics in from outside.

use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

use crate::algorithms::{Hash, Profile, SignatureAlgorithm};

/// The hash of octets.
#[must_use]
pub fn digest(hash: Hash, octets: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha1 => Sha1::digest(octets).to_vec(),
        Hash::Sha224 => Sha224::digest(octets).to_vec(),
        Hash::Sha256 => Sha256::digest(octets).to_vec(),
        Hash::Sha384 => Sha384::digest(octets).to_vec(),
        Hash::Sha512 => Sha512::digest(octets).to_vec(),
    }
}

/// A hash that octets are given to piece by piece.
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha1 => Self::Sha1(Sha1::new()),
            Hash::Sha224 => Self::Sha224(Sha224::new()),
            Hash::Sha256 => Self::Sha256(Sha256::new()),
            Hash::Sha384 => Self::Sha384(Sha384::new()),
            Hash::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, octets: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(octets),
            Self::Sha224(hasher) => hasher.update(octets),
            Self::Sha256(hasher) => hasher.update(octets),
            Self::Sha384(hasher) => hasher.update(octets),
            Self::Sha512(hasher) => hasher.update(octets),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha224(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha384(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// SHA-256, the fingerprint the trace keeps.
#[must_use]
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}

/// A public key made ready for one algorithm. This crate does no public-key mathematics; who uses it brings them.
pub trait PublicKeyVerifier: Sized {
    /// Load a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`KeyRefused`] where it cannot be read, is of another kind, or is not one of the profile's sizes or curves.
    fn from_spki(
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        profile: Profile,
    ) -> Result<Self, KeyRefused>;

    /// Check a signature over a digest; an ECDSA one is r‖s, and nothing else is accepted.
    ///
    /// # Errors
    /// [`SignatureMismatch`], whatever the cause.
    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch>;

    /// Octets of a signature that may be released on trust, because one faulty signature does not give the key away, as one by CRT does; None where each must be verified.
    fn trusted_width(&self) -> Option<usize> {
        None
    }
}

/// Why a public key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRefused {
    /// It is not for this algorithm, or its size is outside the policy.
    NotAllowed,
    /// It is no public key.
    Unreadable,
}

/// A signature that does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureMismatch;

impl SignatureMismatch {
    /// The only value.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Default for SignatureMismatch {
    fn default() -> Self {
        Self::new()
    }
}
