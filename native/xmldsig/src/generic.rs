//! Verification of any XML signature with one Reference and a key the user pinned: the profile of `appliance dsig verify`.
//!
//! The appliance itself never comes here. Enveloped, enveloping and detached signatures within one document are the same to
//! it: one element by ID, or the document by `URI=""`. `KeyInfo` is not looked at. What comes back is the octets that were
//! digested; whoever reads on reads them and not the document.

use crate::algorithms::Policy;
use crate::c14n::Subset;
use crate::digest::PublicKeyVerifier;
use crate::document::{Document, ElementId};
use crate::error::{Error, SignatureFault};
use crate::limits::Limits;
use crate::namespaces::{DS, SAML2};
use crate::reader::read;
use crate::signature::{Parts, Shape, check_ids};
use crate::signed_info::{Reference, SignedInfo};

/// Verify the one signature of a document with a pinned key (DER SubjectPublicKeyInfo); the octets it covers, canonical.
///
/// Of signatures inside each other the outermost is meant: the others are content of what it covers, or of nothing.
///
/// # Errors
/// As [`read`]; [`Error::Signature`]: missing, several, outside the profile, not admitted by the policy, or wrong.
pub fn verify_signature<K: PublicKeyVerifier>(
    octets: &[u8],
    spki: &[u8],
    policy: Policy,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let document = read(octets, limits)?;
    let signature = outermost(&document)?;
    check_readable(&document)?;
    let parts = Parts::of(&document, signature)?;
    let signed_info = SignedInfo::read(&document, parts.signed_info, policy.profile())?;
    check_ids(&document)?;
    let subset = subset(&document, signature, &parts, &signed_info.reference)?;
    let shape = Shape::read(&document, &parts, signed_info, subset)?;
    let admitted = shape.admit(policy)?;
    shape.verify::<K>(&document, admitted, spki)
}

/// The Signature whose parent holds all the others, each deeper than the parent's children; the root, where it is one.
fn outermost(document: &Document<'_>) -> Result<ElementId, Error> {
    let home = |id: ElementId| document.element(id).parent.unwrap_or(id);
    let all = (0..document.elements.len()).map(ElementId::at);
    let signatures: Vec<ElementId> =
        all.filter(|&id| document.is_element(id, DS, "Signature")).collect();
    let Some(&found) = signatures.iter().min_by_key(|&&id| home(id)) else {
        let detail = "the document is not signed";
        return Err(Error::signature(SignatureFault::SignatureMissing, detail));
    };
    let around = home(found);
    let is_inside = |&&id: &&ElementId| home(id) != around && document.contains(around, id);
    if signatures.iter().filter(is_inside).count() + 1 == signatures.len() {
        return Ok(found);
    }
    let detail = "the document has several signatures, none around the others";
    Err(Error::signature(SignatureFault::SeveralSignatures, detail))
}

/// An `EncryptedAssertion` is not decrypted here: whoever reads what is verified would not know what it says.
fn check_readable(document: &Document<'_>) -> Result<(), Error> {
    let mut all = (0..document.elements.len()).map(ElementId::at);
    if all.any(|id| document.is_element(id, SAML2, "EncryptedAssertion")) {
        return Err(Error::profile(
            "the document holds an EncryptedAssertion; nothing is decrypted here",
        ));
    }
    Ok(())
}

/// What the Reference names, less the Signature where that stands inside: with the enveloped-signature transform then, and
/// without it otherwise. Never the Signature itself, nor a part of it but what it envelops.
fn subset(
    document: &Document<'_>,
    signature: ElementId,
    parts: &Parts,
    reference: &Reference,
) -> Result<Subset, Error> {
    let element = match &reference.id {
        None => Document::ROOT,
        Some(id) => document
            .element_by_id(id)
            .map_err(|_| Error::profile("no element has the ID the Reference names"))?,
    };
    let is_enveloped = element != signature && document.contains(element, signature);
    if is_enveloped != reference.enveloped {
        let rule = "enveloped-signature is for what the signature stands in, and only for that";
        return Err(Error::profile(rule));
    }
    if is_enveloped {
        return Ok(match reference.id {
            None => Subset::Without(signature),
            Some(_) => Subset::Enveloping { element, signature },
        });
    }
    let is_object = parts.objects.iter().any(|&object| document.contains(object, element));
    if reference.id.is_none() || document.contains(signature, element) && !is_object {
        return Err(Error::profile("the Reference is to a part of the signature itself"));
    }
    Ok(Subset::Element(element))
}

#[cfg(test)]
mod tests;
