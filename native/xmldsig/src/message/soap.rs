//! A SOAP message read once, for everything that is asked of it on its way through.
//!
//! What it tells of a message is a hint for routing; a vector is believed only from the octets that were verified. Edits count in
//! the octets that were read, so that whoever holds the rest of a longer message can go on behind them.

use std::sync::Arc;

use super::envelope::Envelope;
use super::header::SecurityHeader;
use super::insert::{Edit, SecuredMessage, apply, check_encoding};
use super::prepare::PreparedMessage;
use super::references::Part;
use crate::digest::PublicKeyVerifier;
use crate::document::{Document, ElementId, wide};
use crate::error::Error;
use crate::limits::Limits;
use crate::locate::{ReceivedMessage, actor, locate_in};
use crate::namespaces::{SAML1, SAML2, SOAP11, WSA, WSSE, XOP};
use crate::prepare::SignatureProfile;
use crate::reader::read;
use crate::text::trimmed;

/// A SOAP 1.1 or 1.2 message of the shape an Envelope must have.
#[derive(Debug)]
pub struct SoapMessage {
    document: Document<'static>,
    envelope: Envelope,
    limits: Limits,
}

impl SoapMessage {
    /// Read a whole message. Cost: one reading and one copy.
    ///
    /// # Errors
    /// As [`read`]; [`Error::Message`] for UTF-16, for what is no Envelope, and for a Header that does not come before the Body.
    pub fn read(octets: &[u8], limits: &Limits) -> Result<Self, Error> {
        check_encoding(octets)?;
        let document = read(octets, limits)?.into_owned();
        let envelope = Envelope::of(&document)?;
        Ok(Self { document, envelope, limits: *limits })
    }

    /// Whether it is SOAP 1.2 rather than 1.1.
    #[must_use]
    pub fn is_soap12(&self) -> bool {
        self.envelope.soap != SOAP11
    }

    /// Namespace and local name of the first element in the Body.
    #[must_use]
    pub fn operation(&self) -> Option<(String, String)> {
        let first = self.document.children(self.envelope.body).next()?;
        let name = self.document.element(first).name;
        let namespace = String::from_utf8_lossy(self.document.uri(name.binding)).into_owned();
        let local = String::from_utf8_lossy(name.local(&self.document.source)).into_owned();
        Some((namespace, local))
    }

    /// Whether it has a `wsse:Security`, whomever for.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        let header = self.envelope.header;
        header.is_some_and(|id| self.document.child(id, WSSE, "Security").is_some())
    }

    /// Whether one element stands alone in its Body and nothing behind that; what stands in the Header says
    /// [`SoapMessage::addressing`].
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.document.children(self.envelope.body).count() == 1
            && self.document.children(Document::ROOT).last() == Some(self.envelope.body)
    }

    /// The WS-Addressing properties in the Header, in order, by local name: the text of each, or of the Address of one that is an
    /// endpoint. None where anything else stands in the Header, or in a property.
    #[must_use]
    pub fn addressing(&self) -> Option<Vec<(String, String)>> {
        let Some(header) = self.envelope.header else { return Some(Vec::new()) };
        self.document.children(header).map(|block| self.addressing_property(block)).collect()
    }

    /// The name in the `wsse:UsernameToken` for the final receiver, trimmed; nobody has verified it.
    #[must_use]
    pub fn username(&self) -> Option<String> {
        let header = self.envelope.header?;
        let mut securities = self.document.children_named(header, WSSE, "Security");
        let ours = securities
            .find(|&security| actor(&self.document, security, self.envelope.soap).is_empty())?;
        let token = self.document.child(ours, WSSE, "UsernameToken")?;
        let name = self.document.child(token, WSSE, "Username")?;
        Some(trimmed(&self.document.text(name)).to_owned())
    }

    /// Whether an element anywhere in the Body stands for octets elsewhere (`xop:Include`), which no signature over it covers.
    #[must_use]
    pub fn includes(&self) -> bool {
        let mut inside = self.document.children(self.envelope.body).collect::<Vec<_>>();
        while let Some(element) = inside.pop() {
            if self.document.is_element(element, XOP, "Include") {
                return true;
            }
            inside.extend(self.document.children(element));
        }
        false
    }

    /// What [`crate::locate()`] finds in it, without reading it again.
    ///
    /// # Errors
    /// [`Error::Limit`] where the assertion, alone, would pass one.
    pub fn received(&self) -> Result<ReceivedMessage, Error> {
        locate_in(&self.document, &self.limits)
    }

    /// The message without the security header in which [`crate::locate()`] finds the vector, the first; as it came where there is none.
    #[must_use]
    pub fn without_vector(&self) -> SecuredMessage {
        let edits = Vec::from_iter(self.vector_header().map(|security| {
            let whole = self.document.element(security).whole();
            Edit { start: wide(whole.start), end: wide(whole.end), octets: Vec::new() }
        }));
        SecuredMessage { octets: apply(&self.document.source, &edits), edits }
    }

    /// As [`SecurityHeader::insert`].
    ///
    /// # Errors
    /// As there.
    pub fn insert(&self, header: &SecurityHeader<'_>) -> Result<SecuredMessage, Error> {
        header.insert_into(&self.document, &self.envelope, &self.limits)
    }

    /// As [`SecurityHeader::prepare`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare<K: PublicKeyVerifier>(
        &self,
        header: &SecurityHeader<'_>,
        signed: &[Part],
        profile: Arc<SignatureProfile<K>>,
    ) -> Result<PreparedMessage<K>, Error> {
        header.prepare_in(&self.document, &self.envelope, signed, profile, &self.limits)
    }

    fn addressing_property(&self, block: ElementId) -> Option<(String, String)> {
        let name = self.document.element(block).name;
        let mut inside = self.document.children(block);
        let holder = match (inside.next(), inside.next()) {
            (None, _) => block,
            (Some(address), None) if self.document.is_element(address, WSA, "Address") => address,
            _ => return None,
        };
        let is_plain = self.document.uri(name.binding) == WSA.as_bytes()
            && self.document.children(holder).next().is_none();
        let local = String::from_utf8_lossy(name.local(&self.document.source)).into_owned();
        is_plain.then(|| (local, trimmed(&self.document.text(holder)).to_owned()))
    }

    fn vector_header(&self) -> Option<ElementId> {
        let mut securities = self.document.children_named(self.envelope.header?, WSSE, "Security");
        let first = securities.next()?;
        let is_vector = |child| {
            self.document.is_element(child, SAML2, "Assertion")
                || self.document.is_element(child, SAML1, "Assertion")
        };
        self.document.children(first).any(is_vector).then_some(first)
    }
}
