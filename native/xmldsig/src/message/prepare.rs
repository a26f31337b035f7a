//! Everything up to the octets the HSM signs for one message, and putting the signature back.
//!
//! What is digested is read from the message as it will leave, by the code that verification uses. Cost: the message is
//! read twice, because a Body may get its `wsu:Id` here.

use std::sync::Arc;

use super::X509V3;
use super::envelope::Envelope;
use super::header::{SecurityHeader, TokenReference};
use super::insert::{Plan, SecuredMessage, check_encoding};
use super::references::{MessageSignedInfo, Part, Places, Reference, Transform, only};
use crate::digest::{PublicKeyVerifier, digest};
use crate::document::Document;
use crate::error::{Error, MessageFault};
use crate::limits::Limits;
use crate::namespaces::{DS, WSSE, WSU};
use crate::prepare::SignatureProfile;
use crate::reader::read;
use crate::signed_info::{is_id, write_base64};

/// A message with its header, parts of it digested, waiting for one signature.
#[derive(Debug)]
pub struct PreparedMessage<K> {
    profile: Arc<SignatureProfile<K>>,
    unsigned: SecuredMessage,
    /// Where the Signature goes in the octets of the first edit.
    place: usize,
    /// The Signature up to its value.
    head: Vec<u8>,
    /// The Signature behind its value.
    tail: String,
    signed_info: Vec<u8>,
    signed_info_digest: Vec<u8>,
}

impl SecurityHeader<'_> {
    /// Insert the header and prepare a signature over parts of the message.
    ///
    /// # Errors
    /// As [`SecurityHeader::insert`]; [`Error::Argument`] for parts the header does not have.
    pub fn prepare<K: PublicKeyVerifier>(
        &self,
        message: &[u8],
        signed: &[Part],
        profile: Arc<SignatureProfile<K>>,
        limits: &Limits,
    ) -> Result<PreparedMessage<K>, Error> {
        check_encoding(message)?;
        let document = read(message, limits)?;
        self.prepare_in(&document, &Envelope::of(&document)?, signed, profile, limits)
    }

    /// `prepare`, in a message that was read.
    pub(super) fn prepare_in<K: PublicKeyVerifier>(
        &self,
        document: &Document<'_>,
        envelope: &Envelope,
        signed: &[Part],
        profile: Arc<SignatureProfile<K>>,
        limits: &Limits,
    ) -> Result<PreparedMessage<K>, Error> {
        self.check_signable(signed)?;
        // What is digested is the outcome, but what is wrong with it stands in the message.
        document.check_namespaces()?;
        let parts = self.write(Some(&profile.certificate));
        let mut plan = Plan::new(document, envelope, self, &parts)?;
        let references = self.references(signed, document, envelope, &mut plan)?;
        // The Signature will reach one level deeper than the vector's.
        let around = Limits { depth: limits.depth.saturating_sub(1), ..*limits };
        let octets = plan.outcome(document, &around)?;
        let signed_info = self.signed_info(&octets, references, &profile, limits)?;
        Ok(PreparedMessage {
            place: plan.parts_end,
            unsigned: SecuredMessage { octets, edits: plan.edits },
            head: signature_head(&signed_info),
            tail: self.signature_tail(),
            signed_info_digest: digest(profile.hash(), &signed_info),
            signed_info,
            profile,
        })
    }

    fn check_signable(&self, signed: &[Part]) -> Result<(), Error> {
        let refused = |detail: &str| Err(Error::Argument(detail.into()));
        let twice = |part: &Part| signed.iter().filter(|&other| other == part).count() > 1;
        if signed.is_empty() || signed.iter().any(twice) {
            return refused("a message signature covers at least one part, each once");
        }
        if signed.contains(&Part::Timestamp) && self.timestamp.is_none() {
            return refused("a Timestamp can only be signed where there is one");
        }
        let standard = self.token_reference == TokenReference::Standard;
        if signed.contains(&Part::Assertion) && !standard {
            return refused(
                "the assertion can only be signed with the standard SecurityTokenReference",
            );
        }
        Ok(())
    }

    /// The References to the parts, in their order; a Body without `wsu:Id` gets one.
    fn references(
        &self,
        signed: &[Part],
        document: &Document<'_>,
        envelope: &Envelope,
        plan: &mut Plan,
    ) -> Result<Vec<Reference>, Error> {
        let mut references = Vec::with_capacity(signed.len());
        for part in signed {
            references.push(match part {
                Part::Assertion => {
                    Reference { id: self.id_of("STR"), transform: Transform::TokenReference }
                }
                Part::Timestamp => {
                    Reference { id: self.id_of("TS"), transform: Transform::Exclusive(Vec::new()) }
                }
                Part::Body => Reference {
                    id: self.body_id(document, envelope, plan)?,
                    transform: Transform::Exclusive(prefixes_around_body(document)),
                },
            });
        }
        Ok(references)
    }

    fn body_id(
        &self,
        document: &Document<'_>,
        envelope: &Envelope,
        plan: &mut Plan,
    ) -> Result<String, Error> {
        let Some(id) = document.qualified_attribute(envelope.body, WSU, "Id") else {
            let id = self.id_of("Body");
            plan.add_id(document, envelope.body, &id);
            return Ok(id);
        };
        if !is_id(&id) {
            let detail = "the wsu:Id of the Body is not a name";
            return Err(Error::message(MessageFault::IdUnusable, detail));
        }
        Ok(id)
    }

    /// Digest the parts of the message as it will leave.
    fn signed_info<K>(
        &self,
        octets: &[u8],
        references: Vec<Reference>,
        profile: &SignatureProfile<K>,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let document = read(octets, limits)?;
        let conflict = |detail| Error::message(MessageFault::SecurityHeaderConflict, detail);
        let places = Places::of(&document, &Envelope::of(&document)?)
            .ok_or(conflict("the header does not hold the vector alone"))?;
        if document.child(places.security, DS, "Signature").is_some() {
            return Err(conflict("the wsse:Security that stays has a Signature of its own"));
        }
        let unusable = |error| match error {
            Error::Signature { .. } => {
                let detail = "an ID that the signature needs stands twice in the message";
                Error::message(MessageFault::IdUnusable, detail)
            }
            other => other,
        };
        only(&document, &self.id_of("X509")).map_err(unusable)?;
        let mut digested = Vec::with_capacity(references.len());
        for reference in references {
            let part = reference.resolve(&document, &places).map_err(unusable)?;
            let octets = part.octets(&document)?;
            digested.push((reference, digest(profile.digest, &octets)));
        }
        Ok(MessageSignedInfo::write(&profile.methods, &digested))
    }

    /// X.509 Token Profile 1.1, 3.2.1: the key is that of the token beside the Signature.
    fn signature_tail(&self) -> String {
        let id = self.id_of("X509");
        format!(
            "</ds:SignatureValue><ds:KeyInfo><wsse:SecurityTokenReference xmlns:wsse=\"{WSSE}\"><wsse:Reference \
             URI=\"#{id}\" ValueType=\"{X509V3}\"></wsse:Reference></wsse:SecurityTokenReference></ds:KeyInfo>\
             </ds:Signature>"
        )
    }
}

impl<K> PreparedMessage<K> {
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

impl<K: PublicKeyVerifier> PreparedMessage<K> {
    /// Check the signature with the profile's public key and put it in place, as a vector's is.
    ///
    /// # Errors
    /// [`SignatureFault::SignatureInvalid`](crate::SignatureFault::SignatureInvalid).
    pub fn splice(self, signature: &[u8]) -> Result<SecuredMessage, Error> {
        self.profile.check_own(&self.signed_info_digest, signature)?;
        let mut element = self.head;
        write_base64(signature, &mut element);
        element.extend_from_slice(self.tail.as_bytes());
        let SecuredMessage { mut octets, mut edits } = self.unsigned;
        if let Some(block) = edits.first_mut() {
            let at = block.start + self.place;
            octets.splice(at..at, element.iter().copied());
            block.octets.splice(self.place..self.place, element);
        }
        Ok(SecuredMessage { octets, edits })
    }
}

fn signature_head(signed_info: &[u8]) -> Vec<u8> {
    let inside = signed_info.get(MessageSignedInfo::start().len()..).unwrap_or_default();
    let start = format!("<ds:Signature xmlns:ds=\"{DS}\"><ds:SignedInfo>");
    [start.as_bytes(), inside, b"<ds:SignatureValue>"].concat()
}

/// What is bound around the Body: names in its text and values may use these, and only a PrefixList covers those
/// (exclusive canonicalization, 1.3).
fn prefixes_around_body(document: &Document<'_>) -> Vec<String> {
    let bound = document.in_scope(Document::ROOT);
    let bound = bound.into_iter().filter(|&id| !document.uri(id).is_empty());
    let name = |prefix: &[u8]| match prefix {
        [] => "#default".into(),
        _ => String::from_utf8_lossy(prefix).into_owned(),
    };
    let mut prefixes: Vec<String> = bound.map(|id| name(document.prefix(id))).collect();
    prefixes.sort_unstable();
    prefixes
}
