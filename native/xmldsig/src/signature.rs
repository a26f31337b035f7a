//! What both profiles share: the parts of a `Signature`, and the checks of its digest and its value.
//!
//! A profile decides which element the Reference may name and which transforms it may have; from there on there is one way:
//! canonicalize `SignedInfo`, verify the value, canonicalize that subset, compare the digest. The octets that were digested are
//! what comes back. In that order (XML Signature Best Practices, 1): until the value has proven who wrote `SignedInfo`, what
//! it makes us do is what anybody wants us to.

use std::collections::HashSet;

use crate::algorithms::{Hash, Policy, Profile, SignatureAlgorithm};
use crate::c14n::{Canonicalization, Subset};
use crate::digest::{PublicKeyVerifier, digest};
use crate::document::{Document, ElementId};
use crate::error::{Error, SignatureFault};
use crate::namespaces::DS;
use crate::signed_info::{SignedInfo, element_content, leaf_text, read_base64};

/// The parts of a Signature.
pub(crate) struct Parts {
    pub(crate) signed_info: ElementId,
    pub(crate) signature_value: ElementId,
    pub(crate) key_info: Option<ElementId>,
    /// What the Signature envelops.
    pub(crate) objects: Vec<ElementId>,
}

/// A signature of legal shape over a known subset of its document, not yet verified.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) signed_info: SignedInfo,
    value: SignatureValue,
    subset: Subset,
}

/// A `SignatureValue` and the `SignedInfo` it is over.
#[derive(Debug, Clone)]
pub(crate) struct SignatureValue {
    signed_info: ElementId,
    canonicalization: Canonicalization,
    base64: String,
}

/// Algorithms that a policy admits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    signature: SignatureAlgorithm,
    digest: Hash,
    profile: Profile,
}

impl Parts {
    /// XMLDSig 4.1: `SignedInfo` and `SignatureValue` once each, `KeyInfo` at most once, then the Objects.
    pub(crate) fn of(document: &Document<'_>, signature: ElementId) -> Result<Self, Error> {
        let rule =
            Error::profile("Signature is not SignedInfo, SignatureValue, KeyInfo and Objects");
        let children = element_content(document, signature)?;
        let is = |&id: &ElementId, name| document.is_element(id, DS, name);
        let [signed_info, signature_value, rest @ ..] = children.as_slice() else {
            return Err(rule);
        };
        let (key_info, objects) = match rest {
            [first, objects @ ..] if is(first, "KeyInfo") => (Some(*first), objects),
            objects => (None, objects),
        };
        let named = is(signed_info, "SignedInfo")
            && is(signature_value, "SignatureValue")
            && objects.iter().all(|id| is(id, "Object"));
        if !named {
            return Err(rule);
        }
        Ok(Self {
            signed_info: *signed_info,
            signature_value: *signature_value,
            key_info,
            objects: objects.to_vec(),
        })
    }
}

impl Shape {
    pub(crate) fn read(
        document: &Document<'_>,
        parts: &Parts,
        signed_info: SignedInfo,
        subset: Subset,
    ) -> Result<Self, Error> {
        let form = signed_info.canonicalization.clone();
        let value = SignatureValue::read(document, parts.signed_info, form, parts.signature_value)?;
        Ok(Self { signed_info, value, subset })
    }

    /// Apply the algorithm policy.
    pub(crate) fn admit(&self, policy: Policy) -> Result<Admitted, Error> {
        let signature = SignatureAlgorithm::from_uri(&self.signed_info.signature_method);
        let digest = Hash::from_uri(&self.signed_info.reference.digest_method);
        Ok(Admitted {
            signature: policy.admit(signature)?,
            digest: policy.admit_hash(digest)?,
            profile: policy.profile(),
        })
    }

    /// Check the signature, then the digest; the octets that were digested.
    pub(crate) fn verify<K: PublicKeyVerifier>(
        &self,
        document: &Document<'_>,
        admitted: Admitted,
        spki: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let key = K::from_spki(spki, admitted.signature, admitted.profile)?;
        self.value.check(document, admitted.signature.hash, &key)?;
        let reference = &self.signed_info.reference;
        let octets = document.canonicalize_subset(&reference.canonicalization, self.subset);
        digested(octets, admitted.digest, &reference.digest_value)
    }
}

impl SignatureValue {
    pub(crate) fn read(
        document: &Document<'_>,
        signed_info: ElementId,
        canonicalization: Canonicalization,
        value: ElementId,
    ) -> Result<Self, Error> {
        Ok(Self { signed_info, canonicalization, base64: leaf_text(document, value)? })
    }

    pub(crate) fn check<K: PublicKeyVerifier>(
        &self,
        document: &Document<'_>,
        hash: Hash,
        key: &K,
    ) -> Result<(), Error> {
        let invalid = |detail| Error::signature(SignatureFault::SignatureInvalid, detail);
        let signature =
            read_base64(&self.base64).ok_or_else(|| invalid("SignatureValue is not base64"))?;
        let subset = Subset::Element(self.signed_info);
        let signed_info = document.canonicalize_subset(&self.canonicalization, subset);
        key.verify(&digest(hash, &signed_info.map_err(|error| no_form(&error))?), &signature)
            .map_err(|_| invalid("the signature does not verify with the signer's key"))
    }
}

/// The canonical octets that a Reference leads to, where their digest is its DigestValue.
pub(crate) fn digested(
    canonical: Result<Vec<u8>, Error>,
    hash: Hash,
    digest_value: &str,
) -> Result<Vec<u8>, Error> {
    let octets = canonical.map_err(|error| no_form(&error))?;
    if read_base64(digest_value).is_some_and(|wanted| wanted == digest(hash, &octets)) {
        return Ok(octets);
    }
    let detail = "what was signed was changed after it was signed";
    Err(Error::signature(SignatureFault::DigestMismatch, detail))
}

/// What has no canonical form was signed by nobody: a refusal of the signature, and never octets of some other kind.
fn no_form(error: &Error) -> Error {
    Error::profile(match error {
        Error::Limit { .. } => "the canonical form of what is signed is over the limit",
        _ => "a relative namespace URI leaves what is signed without a canonical form",
    })
}

/// No ID of the document stands twice: what is verified can be found in one way only.
pub(crate) fn check_ids(document: &Document<'_>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for attribute in document.attributes.iter().filter(|item| document.is_id(item)) {
        if !seen.insert(document.value(attribute)) {
            return Err(Error::profile("an ID stands twice in the document"));
        }
    }
    Ok(())
}
