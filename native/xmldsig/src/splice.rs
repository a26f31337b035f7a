//! Putting the signature back, once: one that verifies, or, where the caller samples, one that may be trusted to.

use crate::algorithms::Policy;
use crate::digest::{PublicKeyVerifier, sha256};
use crate::error::{Error, SignatureFault};
use crate::limits::Limits;
use crate::locate::{MessageKind, locate};
use crate::prepare::{PreparedSignature, SignatureProfile};
use crate::signed_info::write_base64;

/// A complete vector. Only [`PreparedSignature::splice`] and [`PreparedSignature::splice_on_trust`] make one, or
/// [`SignedAssertion::restore`] proves one again.
#[derive(Debug)]
pub struct SignedAssertion {
    octets: Vec<u8>,
    id: String,
}

impl<K: PublicKeyVerifier> SignatureProfile<K> {
    /// Check what the token made before it is released.
    pub(crate) fn check_own(&self, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        let detail = "the token's signature does not verify with the key's certificate";
        let invalid = Error::signature(SignatureFault::SignatureInvalid, detail);
        self.key.verify(digest, signature).map_err(|_| invalid)
    }
}

impl<K: PublicKeyVerifier> PreparedSignature<K> {
    /// Check the signature with the profile's public key and put it in place.
    ///
    /// A wrong one is never released: a fault in the token's RSA arithmetic would give its key away.
    ///
    /// # Errors
    /// [`SignatureFault::SignatureInvalid`].
    pub fn splice(self, signature: &[u8]) -> Result<SignedAssertion, Error> {
        self.profile.check_own(&self.signed_info_digest, signature)?;
        Ok(self.complete(signature))
    }

    /// Put the signature in place unverified, where that is the caller's sampling; of a key whose faulty signatures
    /// give it away (RSA), or of another width, it is verified all the same.
    ///
    /// # Errors
    /// As of [`Self::splice`].
    pub fn splice_on_trust(self, signature: &[u8]) -> Result<SignedAssertion, Error> {
        if self.may_trust(signature) {
            Ok(self.complete(signature))
        } else {
            self.splice(signature)
        }
    }

    /// Whether [`Self::splice_on_trust`] would put it in place unverified.
    #[must_use]
    pub fn may_trust(&self, signature: &[u8]) -> bool {
        self.profile.key.trusted_width() == Some(signature.len())
    }

    fn complete(self, signature: &[u8]) -> SignedAssertion {
        let mut octets = self.head;
        write_base64(signature, &mut octets);
        octets.extend_from_slice(self.profile.template.behind_value.as_bytes());
        octets.extend_from_slice(&self.tail);
        SignedAssertion { octets, id: self.id }
    }
}

impl SignedAssertion {
    /// Take a vector back that was kept outside this process: its signature is verified anew with our own key.
    ///
    /// # Errors
    /// As of a received vector, where the octets are not an assertion, alone and signed by the key of `spki`.
    pub fn restore<K: PublicKeyVerifier>(octets: &[u8], spki: &[u8]) -> Result<Self, Error> {
        let message = locate(octets, &Limits::OWN)?;
        let received = message.assertion().filter(|_| message.kind() == MessageKind::Assertion);
        let received = received.ok_or(Error::Structure("the octets are not an assertion"))?;
        let claim = received.signature_claim()?;
        let policy = Policy::assertion(false).with_variant_b();
        let id = claim.admit(policy)?.verify::<K>(spki)?.read()?.id;
        Ok(Self { octets: octets.to_vec(), id })
    }

    /// The `saml2:Assertion` element, UTF-8, canonical.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of the octets, for the trace.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.octets)
    }
}
