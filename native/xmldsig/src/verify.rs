//! Verification of the one signature over an isolated assertion: the profile the appliance calls, and the only one.
//!
//! In three steps, so that trust can be decided outside: [`ReceivedAssertion::signature_claim`] accepts only the legal
//! shape, [`SignatureClaim::admit`] applies the algorithm policy, and [`AdmittedSignature::verify`] does signature
//! and digest with the key that trust returned. What comes back is the octets that were digested, and nothing else.

use std::sync::Arc;

use crate::algorithms::{Policy, Profile};
use crate::c14n::Subset;
use crate::digest::PublicKeyVerifier;
use crate::document::{Document, ElementId};
use crate::error::{Error, SignatureFault};
use crate::locate::ReceivedAssertion;
use crate::namespaces::{DS, SAML1};
use crate::signature::{Admitted, Parts, Shape, check_ids};
use crate::signed_info::{SignedInfo, leaf_text, read_base64};

/// The two shapes of DOMAIN 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variant {
    /// The Reference names the assertion's ID.
    A,
    /// The Reference is empty: the whole document, which is the isolated assertion. Legacy: a policy must say so.
    B,
}

/// A signature of legal shape, not yet verified.
#[derive(Debug, Clone)]
pub struct SignatureClaim {
    document: Arc<Document<'static>>,
    shape: Shape,
    certificates: Vec<Vec<u8>>,
}

/// A claim whose algorithms the policy admits.
#[derive(Debug, Clone, Copy)]
pub struct AdmittedSignature<'c> {
    claim: &'c SignatureClaim,
    admitted: Admitted,
}

/// The octets a signature covers: canonical, without the Signature.
#[derive(Debug, Clone)]
pub struct VerifiedOctets {
    octets: Vec<u8>,
}

impl ReceivedAssertion {
    /// Find exactly one signature over this assertion, of the allowed shape.
    ///
    /// # Errors
    /// [`Error::Signature`]: missing, several, outside the profile, or without a readable certificate.
    pub fn signature_claim(&self) -> Result<SignatureClaim, Error> {
        let document = &self.document;
        let mut signatures = document.children_named(Document::ROOT, DS, "Signature");
        let Some(signature) = signatures.next() else {
            let detail = "the assertion is not signed";
            return Err(Error::signature(SignatureFault::SignatureMissing, detail));
        };
        if signatures.next().is_some() {
            let detail = "the assertion has several signatures";
            return Err(Error::signature(SignatureFault::SeveralSignatures, detail));
        }
        let parts = Parts::of(document, signature)?;
        if !parts.objects.is_empty() {
            return Err(Error::profile("the signature of an assertion envelops nothing"));
        }
        let certificates = read_certificates(document, parts.key_info)?;
        let signed_info = SignedInfo::read(document, parts.signed_info, Profile::Assertion)?;
        check_ids(document)?;
        check_reference(document, signed_info.reference.id.as_deref())?;
        let subset = Subset::Enveloping { element: Document::ROOT, signature };
        let shape = Shape::read(document, &parts, signed_info, subset)?;
        Ok(SignatureClaim { document: Arc::clone(document), shape, certificates })
    }
}

impl SignatureClaim {
    /// DER certificates of KeyInfo in document order.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// SignatureMethod URI.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.shape.signed_info.signature_method
    }

    /// DigestMethod URI.
    #[must_use]
    pub fn digest_algorithm(&self) -> &str {
        &self.shape.signed_info.reference.digest_method
    }

    /// Which shape of DOMAIN 2.4 it has.
    #[must_use]
    pub const fn variant(&self) -> Variant {
        if self.shape.signed_info.reference.id.is_some() { Variant::A } else { Variant::B }
    }

    /// Apply the policy: its algorithms, and whether it has variant B.
    ///
    /// # Errors
    /// [`SignatureFault::AlgorithmNotAllowed`], or [`SignatureFault::SignatureProfile`] for variant B.
    pub fn admit(&self, policy: Policy) -> Result<AdmittedSignature<'_>, Error> {
        let admitted = self.shape.admit(policy)?;
        if self.variant() == Variant::B && !policy.admits_variant_b() {
            let detail = "a Reference to the whole document is refused by the policy";
            return Err(Error::profile(detail));
        }
        Ok(AdmittedSignature { claim: self, admitted })
    }
}

impl AdmittedSignature<'_> {
    /// Check the signature, then the digest, with the signer's key as trust returned it.
    ///
    /// # Errors
    /// [`Error::Signature`]: the key is unusable, the digest or the signature is wrong.
    pub fn verify<K: PublicKeyVerifier>(&self, spki: &[u8]) -> Result<VerifiedOctets, Error> {
        let SignatureClaim { document, shape, .. } = self.claim;
        let octets = shape.verify::<K>(document, self.admitted, spki)?;
        Ok(VerifiedOctets { octets })
    }
}

impl VerifiedOctets {
    /// For tests of what is read from them.
    #[cfg(test)]
    pub(crate) const fn from_canonical(octets: Vec<u8>) -> Self {
        Self { octets }
    }

    /// The octets that were digested.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

fn read_certificates(
    document: &Document<'_>,
    key_info: Option<ElementId>,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut certificates = Vec::new();
    let data = key_info.into_iter().flat_map(|id| document.children_named(id, DS, "X509Data"));
    for certificate in data.flat_map(|id| document.children_named(id, DS, "X509Certificate")) {
        let invalid = Error::signature(
            SignatureFault::CertificateInvalid,
            "a certificate of KeyInfo is not base64",
        );
        let text = leaf_text(document, certificate).map_err(|_| invalid.clone())?;
        let octets = read_base64(&text).filter(|octets| !octets.is_empty());
        certificates.push(octets.ok_or(invalid)?);
    }
    if certificates.is_empty() {
        let detail = "KeyInfo holds no certificate";
        return Err(Error::signature(SignatureFault::CertificateMissing, detail));
    }
    Ok(certificates)
}

/// A Reference with an ID has the assertion's own.
fn check_reference(document: &Document<'_>, referenced: Option<&str>) -> Result<(), Error> {
    let is_saml11 = document.is_element(Document::ROOT, SAML1, "Assertion");
    let name = if is_saml11 { "AssertionID" } else { "ID" };
    let is_own = |id| document.attribute(Document::ROOT, name).as_deref() == Some(id);
    if referenced.is_none_or(is_own) {
        return Ok(());
    }
    Err(Error::profile("the Reference is not to the assertion's own ID"))
}
