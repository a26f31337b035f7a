//! Verification of a message signature of the kind this crate makes.
//!
//! In the steps of a vector's: [`MessageSignatureClaim::read`] accepts only the legal shape, [`MessageSignatureClaim::admit`]
//! applies the algorithm policy, [`AdmittedMessageSignature::verify`] does signature and digests with the key that trust
//! returned; no part is canonicalized before the signature holds. What comes back is the octets of each part that was
//! digested. A part is where the message has it: the Body of the Envelope, the Timestamp and the vector of the one security
//! header; wrapped copies are none.

use std::sync::Arc;

use super::envelope::Envelope;
use super::references::{MessageSignedInfo, Part, PartPlace, Places, only};
use super::{BASE64, X509V3};
use crate::algorithms::{Hash, Policy, Profile, SignatureAlgorithm};
use crate::digest::PublicKeyVerifier;
use crate::document::{Document, ElementId};
use crate::error::{Error, SignatureFault};
use crate::limits::Limits;
use crate::namespaces::{DS, WSSE, WSU};
use crate::reader::read;
use crate::signature::{SignatureValue, digested};
use crate::signed_info::{ds_children, element_content, leaf_text, read_base64};

/// A part and its canonical octets.
type PartOctets = (Part, Vec<u8>);

/// A message signature of legal shape, not yet verified.
#[derive(Debug, Clone)]
pub struct MessageSignatureClaim {
    document: Arc<Document<'static>>,
    signed_info: MessageSignedInfo,
    /// In the order of the References.
    parts: Vec<PartPlace>,
    value: SignatureValue,
    certificates: Vec<Vec<u8>>,
}

/// A claim whose algorithms the policy admits.
#[derive(Debug, Clone)]
pub struct AdmittedMessageSignature<'c> {
    claim: &'c MessageSignatureClaim,
    algorithm: SignatureAlgorithm,
    digests: Vec<Hash>,
    profile: Profile,
}

/// The parts of a message that a verified signature covers, canonical.
#[derive(Debug, Clone)]
pub struct VerifiedMessage {
    parts: Vec<PartOctets>,
}

/// What a verified Timestamp says; instants as written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedTimestamp {
    /// `wsu:Created`.
    pub created: String,
    /// `wsu:Expires`.
    pub expires: Option<String>,
}

impl MessageSignatureClaim {
    /// Find exactly one Signature beside the vector, of the allowed shape, and what it covers.
    ///
    /// # Errors
    /// As [`read`], [`Error::Message`] for what is no SOAP message, [`Error::Signature`]: missing, several, outside the
    /// profile, or without a readable certificate.
    pub fn read(octets: &[u8], limits: &Limits) -> Result<Self, Error> {
        let document = Arc::new(read(octets, limits)?.into_owned());
        let places = Places::of(&document, &Envelope::of(&document)?)
            .ok_or(Error::profile("the message holds no single vector beside a signature"))?;
        let mut signatures = document.children_named(places.security, DS, "Signature");
        let Some(signature) = signatures.next() else {
            let detail = "the message is not signed";
            return Err(Error::signature(SignatureFault::SignatureMissing, detail));
        };
        if signatures.next().is_some() {
            let detail = "the message has several signatures";
            return Err(Error::signature(SignatureFault::SeveralSignatures, detail));
        }
        let [signed_info, value, key_info] = ds_children(
            &document,
            signature,
            ["SignedInfo", "SignatureValue", "KeyInfo"],
            "Signature is not SignedInfo, SignatureValue and KeyInfo",
        )?;
        let place = signed_info;
        let signed_info = MessageSignedInfo::read(&document, place)?;
        let form = signed_info.canonicalization.clone();
        let value = SignatureValue::read(&document, place, form, value)?;
        Ok(Self {
            document: Arc::clone(&document),
            parts: find_parts(&document, &places, &signed_info)?,
            signed_info,
            value,
            certificates: vec![read_certificate(&document, &places, key_info)?],
        })
    }

    /// The signer's certificate, DER, and no other: the chain is that of the vector.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// SignatureMethod URI.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.signed_info.signature_method
    }

    /// The parts it claims to cover, in the order of its References.
    pub fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.parts.iter().map(|place| place.part)
    }

    /// Apply the algorithm policy, to every Reference.
    ///
    /// # Errors
    /// [`SignatureFault::AlgorithmNotAllowed`].
    pub fn admit(&self, policy: Policy) -> Result<AdmittedMessageSignature<'_>, Error> {
        let algorithm = SignatureAlgorithm::from_uri(self.signature_algorithm());
        let references = self.signed_info.references.iter();
        let digests = references.map(|one| policy.admit_hash(Hash::from_uri(&one.digest_method)));
        Ok(AdmittedMessageSignature {
            claim: self,
            algorithm: policy.admit(algorithm)?,
            digests: digests.collect::<Result<_, _>>()?,
            profile: policy.profile(),
        })
    }
}

impl AdmittedMessageSignature<'_> {
    /// Check the signature, then the digests, with the signer's key as trust returned it.
    ///
    /// # Errors
    /// [`Error::Signature`]: the key is unusable, a digest or the signature is wrong.
    pub fn verify<K: PublicKeyVerifier>(&self, spki: &[u8]) -> Result<VerifiedMessage, Error> {
        let key = K::from_spki(spki, self.algorithm, self.profile)?;
        let MessageSignatureClaim { document, signed_info, parts, value, .. } = self.claim;
        value.check(document, self.algorithm.hash, &key)?;
        let references = signed_info.references.iter().zip(&self.digests);
        let verified = references.zip(parts).map(|((reference, &hash), place)| {
            let octets = digested(place.octets(document), hash, &reference.digest_value)?;
            Ok((place.part, octets))
        });
        Ok(VerifiedMessage { parts: verified.collect::<Result<_, Error>>()? })
    }
}

impl VerifiedMessage {
    #[cfg(test)]
    pub(super) fn of_timestamp(octets: Vec<u8>) -> Self {
        Self { parts: vec![(Part::Timestamp, octets)] }
    }

    /// The octets of a part that were digested; None where the signature does not cover it.
    #[must_use]
    pub fn octets(&self, part: Part) -> Option<&[u8]> {
        let (_, octets) = self.parts.iter().find(|(covered, _)| *covered == part)?;
        Some(octets.as_slice())
    }

    /// Every part with its octets, in the order of the References.
    pub fn parts(&self) -> impl Iterator<Item = (Part, &[u8])> {
        self.parts.iter().map(|(part, octets)| (*part, octets.as_slice()))
    }

    /// Read the Timestamp from its verified octets; None where the signature does not cover one.
    ///
    /// # Errors
    /// [`Error::Structure`]: it is not one Created and at most one Expires (WSS 1.1, 10).
    pub fn timestamp(&self) -> Result<Option<VerifiedTimestamp>, Error> {
        let Some(octets) = self.octets(Part::Timestamp) else {
            return Ok(None);
        };
        let refused = Error::Structure("the Timestamp is not Created and Expires");
        let document = read(octets, &Limits::OWN)?;
        let children = element_content(&document, Document::ROOT).map_err(|_| refused.clone())?;
        let (created, expires) = match *children.as_slice() {
            [created] => (created, None),
            [created, expires] => (created, Some(expires)),
            _ => return Err(refused),
        };
        let named = document.is_element(created, WSU, "Created")
            && expires.is_none_or(|id| document.is_element(id, WSU, "Expires"));
        if !named {
            return Err(refused);
        }
        let text = |id| leaf_text(&document, id).map_err(|_| refused.clone());
        let expires = expires.map(text).transpose()?;
        Ok(Some(VerifiedTimestamp { created: text(created)?, expires }))
    }
}

/// What every Reference leads to; no part twice.
fn find_parts(
    document: &Document<'_>,
    places: &Places,
    signed_info: &MessageSignedInfo,
) -> Result<Vec<PartPlace>, Error> {
    let mut parts: Vec<PartPlace> = Vec::new();
    for read in &signed_info.references {
        let found = read.reference.resolve(document, places)?;
        if parts.iter().any(|other| other.part == found.part) {
            return Err(Error::profile("two References are to the same part"));
        }
        parts.push(found);
    }
    Ok(parts)
}

/// The certificate of the token that KeyInfo refers to; it stands beside the Signature.
fn read_certificate(
    document: &Document<'_>,
    places: &Places,
    key_info: ElementId,
) -> Result<Vec<u8>, Error> {
    let missing = Error::signature(
        SignatureFault::CertificateMissing,
        "KeyInfo does not refer to an X.509 token beside the signature",
    );
    let inside = |parent, name| match element_content(document, parent)?[..] {
        [child] if document.is_element(child, WSSE, name) => Ok(child),
        _ => Err(missing.clone()),
    };
    let reference = inside(inside(key_info, "SecurityTokenReference")?, "Reference")?;
    let uri = document.attribute(reference, "URI").unwrap_or_default();
    let token = only(document, uri.strip_prefix('#').ok_or(missing.clone())?)?;
    let says = |name, wanted| document.attribute(token, name).as_deref() == Some(wanted);
    let is_token = document.element(token).parent == Some(places.security)
        && document.is_element(token, WSSE, "BinarySecurityToken")
        && says("ValueType", X509V3)
        && says("EncodingType", BASE64);
    if !is_token {
        return Err(missing);
    }
    let text = leaf_text(document, token)?;
    read_base64(&text).filter(|octets| !octets.is_empty()).ok_or(Error::signature(
        SignatureFault::CertificateInvalid,
        "the certificate of the X.509 token is not base64",
    ))
}
