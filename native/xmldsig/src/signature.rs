//! What both profiles share: the parts of a `Signature`, and the checks of its digest and its value.
//!
//! A profile decides which element the Reference may name and which transforms it may have; from there on there is one way:
//! canonicalize that subset, compare the digest, canonicalize `SignedInfo`, verify the value. The octets that were digested are
//! what comes back.

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
    signature_value: ElementId,
    pub(crate) key_info: Option<ElementId>,
    /// What the Signature envelops.
    pub(crate) objects: Vec<ElementId>,
}

/// A signature of legal shape over a known subset of its document, not yet verified.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    signed_info_place: ElementId,
    pub(crate) signed_info: SignedInfo,
    signature_value: String,
    subset: Subset,
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
        Ok(Self {
            signed_info_place: parts.signed_info,
            signed_info,
            signature_value: leaf_text(document, parts.signature_value)?,
            subset,
        })
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

    /// Check the digest, then the signature; the octets that were digested.
    pub(crate) fn verify<K: PublicKeyVerifier>(
        &self,
        document: &Document<'_>,
        admitted: Admitted,
        spki: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let key = K::from_spki(spki, admitted.signature, admitted.profile)?;
        let octets = self.digested(document, admitted.digest)?;
        self.check_signature(document, admitted.signature.hash, &key)?;
        Ok(octets)
    }

    /// The canonical subset, whose digest is the one that was signed.
    fn digested(&self, document: &Document<'_>, hash: Hash) -> Result<Vec<u8>, Error> {
        let reference = &self.signed_info.reference;
        let octets = canonical(document, &reference.canonicalization, self.subset)?;
        let wanted = read_base64(&reference.digest_value);
        if wanted.is_none_or(|wanted| wanted != digest(hash, &octets)) {
            let detail = "what was signed was changed after it was signed";
            return Err(Error::signature(SignatureFault::DigestMismatch, detail));
        }
        Ok(octets)
    }

    fn check_signature<K: PublicKeyVerifier>(
        &self,
        document: &Document<'_>,
        hash: Hash,
        key: &K,
    ) -> Result<(), Error> {
        let invalid = |detail| Error::signature(SignatureFault::SignatureInvalid, detail);
        let signature = read_base64(&self.signature_value)
            .ok_or_else(|| invalid("SignatureValue is not base64"))?;
        let subset = Subset::Element(self.signed_info_place);
        let signed_info = canonical(document, &self.signed_info.canonicalization, subset)?;
        key.verify(&digest(hash, &signed_info), &signature)
            .map_err(|_| invalid("the signature does not verify with the signer's key"))
    }
}

/// What has no canonical form was signed by nobody: a refusal of the signature, and never octets of some other kind.
pub(crate) fn canonical(
    document: &Document<'_>,
    canonicalization: &Canonicalization,
    subset: Subset,
) -> Result<Vec<u8>, Error> {
    document.canonicalize_subset(canonicalization, subset).map_err(|error| {
        Error::profile(match error {
            Error::Limit { .. } => "the canonical form of what is signed is over the limit",
            _ => "a relative namespace URI leaves what is signed without a canonical form",
        })
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
