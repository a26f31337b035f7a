//! Everything up to the octets the HSM signs.

use std::sync::Arc;

use crate::algorithms::{Hash, Policy, Profile, SignatureAlgorithm};
use crate::assertion::AssertionContent;
use crate::digest::{KeyRefused, PublicKeyVerifier, digest};
use crate::error::Error;
use crate::template::{Methods, SignatureTemplate};
use crate::verify::Variant;

/// How one key signs: made once per key, shared by all its vectors.
#[derive(Debug)]
pub struct SignatureProfile<K> {
    pub(crate) methods: Methods,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) digest: Hash,
    pub(crate) key: K,
    pub(crate) template: SignatureTemplate,
    /// The signer's own certificate, DER.
    pub(crate) certificate: Vec<u8>,
}

/// An assertion written, digested, and waiting for one signature.
#[derive(Debug)]
pub struct PreparedSignature<K> {
    pub(crate) profile: Arc<SignatureProfile<K>>,
    /// The assertion up to the Signature, the Signature up to its value.
    pub(crate) head: Vec<u8>,
    /// The assertion behind the Signature.
    pub(crate) tail: Vec<u8>,
    pub(crate) id: String,
    signed_info: Vec<u8>,
    pub(crate) signed_info_digest: Vec<u8>,
}

impl<K: PublicKeyVerifier> SignatureProfile<K> {
    /// A profile of vectors of one variant; the certificates, the signer's first, go into `KeyInfo`.
    ///
    /// # Errors
    /// [`Error::Argument`] for an algorithm outside the signing profile, a key not for it, or no certificate.
    pub fn new(
        signature_algorithm: &str,
        digest_algorithm: &str,
        public_key: &[u8],
        certificates: &[Vec<u8>],
        variant: Variant,
    ) -> Result<Self, Error> {
        let refused = |detail: &str| Err(Error::Argument(detail.into()));
        let policy = Policy::assertion(false);
        let Ok(algorithm) = policy.admit(SignatureAlgorithm::from_uri(signature_algorithm)) else {
            return refused("the signature algorithm is not one this appliance signs with");
        };
        let Ok(digest) = policy.admit_hash(Hash::from_uri(digest_algorithm)) else {
            return refused("the digest algorithm is not one this appliance signs with");
        };
        let key = match K::from_spki(public_key, algorithm, Profile::Assertion) {
            Ok(key) => key,
            Err(KeyRefused::NotAllowed) => {
                return refused(
                    "the public key is not for this algorithm, or not of an allowed size",
                );
            }
            Err(KeyRefused::Unreadable) => return refused("the public key cannot be read"),
        };
        let Some(certificate) = certificates.first().cloned() else {
            return refused("a profile needs at least the signer's certificate");
        };
        let methods =
            Methods { signature: signature_algorithm.into(), digest: digest_algorithm.into() };
        let template = SignatureTemplate::new(variant, &methods, certificates);
        Ok(Self { methods, algorithm, digest, key, template, certificate })
    }

    /// What `SignedInfo` is hashed with.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.algorithm.hash
    }
}

impl<K> PreparedSignature<K> {
    /// Write the assertion, digest it, write `SignedInfo`. The Signature stands behind Issuer (variant A) or last (B).
    ///
    /// One digest serves both: the assertion is written so that its inclusive and its exclusive canonical form are the
    /// octets themselves. The content must have passed [`AssertionContent::check`].
    #[must_use]
    pub fn new(content: &AssertionContent, profile: Arc<SignatureProfile<K>>) -> Self {
        let template = &profile.template;
        let written = content.write();
        let digest_value = digest(profile.digest, &written.octets);
        let signed_info = template.signed_info(&content.id, &digest_value);
        let signed_info_digest = digest(profile.algorithm.hash, &signed_info);
        let place = match template.variant() {
            Variant::A => written.behind_issuer,
            Variant::B => written.before_end,
        };
        let mut head = written.octets;
        let tail = head.split_off(place);
        head.reserve(1024 + template.behind_value.len() + 700 + tail.len());
        template.write_head(&signed_info, &mut head);
        let id = content.id.clone();
        Self { profile, head, tail, id, signed_info, signed_info_digest }
    }

    /// The hash of the canonical `SignedInfo`: what the HSM signs.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.signed_info_digest
    }

    /// The canonical `SignedInfo`, for mechanisms that hash in the token.
    #[must_use]
    pub fn signed_info(&self) -> &[u8] {
        &self.signed_info
    }
}
