//! Verification of the one signature over an isolated assertion.
//!
//! In three steps, so that trust can be decided outside: [`ReceivedAssertion::signature_claim`] accepts only the legal
//! shape, [`SignatureClaim::admit`] applies the algorithm policy, and [`AdmittedSignature::verify`] does digest and
//! signature with the key that trust returned. What comes back is the octets that were digested, and nothing else.

use std::collections::HashSet;
use std::sync::Arc;

use crate::algorithms::{Hash, Policy, Profile, SignatureAlgorithm};
use crate::c14n::Subset;
use crate::digest::{KeyRefused, PublicKeyVerifier, digest};
use crate::document::{Document, ElementId};
use crate::error::{Error, SignatureFault};
use crate::locate::ReceivedAssertion;
use crate::namespaces::DS;
use crate::signed_info::{SignedInfo, element_content, leaf_text, read_base64};

/// The two shapes of DOMAIN 2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variant {
    /// The Reference names the assertion's ID.
    A,
    /// The Reference is empty: the whole document, which is the isolated assertion.
    B,
}

/// A signature of legal shape, not yet verified.
#[derive(Debug, Clone)]
pub struct SignatureClaim {
    document: Arc<Document<'static>>,
    signature: ElementId,
    signed_info_place: ElementId,
    signed_info: SignedInfo,
    signature_value: String,
    certificates: Vec<Vec<u8>>,
}

/// A claim whose algorithms the policy admits.
#[derive(Debug, Clone, Copy)]
pub struct AdmittedSignature<'c> {
    claim: &'c SignatureClaim,
    algorithm: SignatureAlgorithm,
    digest: Hash,
    profile: Profile,
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
        let certificates = read_certificates(document, parts.key_info)?;
        let signed_info = SignedInfo::read(document, parts.signed_info)?;
        check_ids(document, signed_info.reference.id.as_deref())?;
        Ok(SignatureClaim {
            document: Arc::clone(document),
            signature,
            signed_info_place: parts.signed_info,
            signed_info,
            signature_value: leaf_text(document, parts.signature_value)?,
            certificates,
        })
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
        &self.signed_info.signature_method
    }

    /// DigestMethod URI.
    #[must_use]
    pub fn digest_algorithm(&self) -> &str {
        &self.signed_info.reference.digest_method
    }

    /// Which shape of DOMAIN 2.4 it has.
    #[must_use]
    pub const fn variant(&self) -> Variant {
        if self.signed_info.reference.id.is_some() { Variant::A } else { Variant::B }
    }

    /// Apply the algorithm policy.
    ///
    /// # Errors
    /// [`SignatureFault::AlgorithmNotAllowed`].
    pub fn admit(&self, policy: Policy) -> Result<AdmittedSignature<'_>, Error> {
        let algorithm = SignatureAlgorithm::from_uri(self.signature_algorithm());
        let digest = Hash::from_uri(self.digest_algorithm());
        Ok(AdmittedSignature {
            claim: self,
            algorithm: policy.admit(algorithm)?,
            digest: policy.admit_hash(digest)?,
            profile: policy.profile(),
        })
    }
}

impl AdmittedSignature<'_> {
    /// Check the digest, then the signature, with the signer's key as trust returned it.
    ///
    /// # Errors
    /// [`Error::Signature`]: the key is unusable, the digest or the signature is wrong.
    pub fn verify<K: PublicKeyVerifier>(&self, spki: &[u8]) -> Result<VerifiedOctets, Error> {
        let key =
            K::from_spki(spki, self.algorithm, self.profile).map_err(|refused| match refused {
                KeyRefused::NotAllowed => Error::signature(
                    SignatureFault::AlgorithmNotAllowed,
                    "the signer's key is not for this algorithm, or not of an allowed size",
                ),
                KeyRefused::Unreadable => Error::signature(
                    SignatureFault::CertificateInvalid,
                    "the signer's key cannot be read",
                ),
            })?;
        let octets = self.signed_octets()?;
        self.check_signature(&key)?;
        Ok(VerifiedOctets { octets })
    }

    /// The canonical assertion, whose digest is the one that was signed.
    fn signed_octets(&self) -> Result<Vec<u8>, Error> {
        let claim = self.claim;
        let reference = &claim.signed_info.reference;
        let subset = Subset::Enveloping { element: Document::ROOT, signature: claim.signature };
        let octets = claim.document.canonicalize_subset(&reference.canonicalization, subset)?;
        let wanted = read_base64(&reference.digest_value);
        if wanted.is_none_or(|wanted| wanted != digest(self.digest, &octets)) {
            let detail = "the assertion was changed after it was signed";
            return Err(Error::signature(SignatureFault::DigestMismatch, detail));
        }
        Ok(octets)
    }

    fn check_signature<K: PublicKeyVerifier>(&self, key: &K) -> Result<(), Error> {
        let claim = self.claim;
        let invalid = |detail| Error::signature(SignatureFault::SignatureInvalid, detail);
        let signature =
            read_base64(&claim.signature_value).ok_or(invalid("SignatureValue is not base64"))?;
        let signed_info = claim.document.canonicalize_subset(
            &claim.signed_info.canonicalization,
            Subset::Element(claim.signed_info_place),
        )?;
        key.verify(&digest(self.algorithm.hash, &signed_info), &signature)
            .map_err(|_| invalid("the signature does not verify with the signer's key"))
    }
}

impl VerifiedOctets {
    /// The octets that were digested.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// The parts of a Signature.
struct Parts {
    signed_info: ElementId,
    signature_value: ElementId,
    key_info: Option<ElementId>,
}

impl Parts {
    /// `SignedInfo`, `SignatureValue`, `KeyInfo` once each, and no `Object`: nothing is enveloped in a vector.
    fn of(document: &Document<'_>, signature: ElementId) -> Result<Self, Error> {
        let rule = "Signature is not SignedInfo, SignatureValue and KeyInfo";
        let children = element_content(document, signature)?;
        let (signed_info, signature_value, key_info) = match *children.as_slice() {
            [signed_info, signature_value] => (signed_info, signature_value, None),
            [signed_info, signature_value, key_info] => {
                (signed_info, signature_value, Some(key_info))
            }
            _ => return Err(Error::profile(rule)),
        };
        let named = document.is_element(signed_info, DS, "SignedInfo")
            && document.is_element(signature_value, DS, "SignatureValue")
            && key_info.is_none_or(|id| document.is_element(id, DS, "KeyInfo"));
        if named {
            Ok(Self { signed_info, signature_value, key_info })
        } else {
            Err(Error::profile(rule))
        }
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

/// The Reference names the root, and no ID of the document stands twice: what is verified can be found in one way only.
fn check_ids(document: &Document<'_>, referenced: Option<&str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for attribute in document.attributes.iter().filter(|item| document.is_id(item)) {
        if !seen.insert(document.value(attribute)) {
            return Err(Error::profile("an ID stands twice in the assertion"));
        }
    }
    let Some(referenced) = referenced else {
        return Ok(());
    };
    if document.attribute(Document::ROOT, "ID").as_deref() == Some(referenced) {
        return Ok(());
    }
    Err(Error::profile("the Reference is not to the assertion's own ID"))
}
