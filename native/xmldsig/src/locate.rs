//! Finding the one assertion in what was received, and cutting it out as a document of its own.
//!
//! From here on nothing looks back at the message (DESIGN invariant 2). What the cut-out keeps of its surroundings is the
//! namespaces bound around it, because names inside may use them; `xml:` attributes and everything else stay behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::digest::sha256;
use crate::document::{Document, ElementId};
use crate::error::Error;
use crate::limits::Limits;
use crate::namespaces::{SAML1, SAML2, SOAP11, SOAP12, WSSE};
use crate::reader::{Inherited, read, read_cut};
use crate::saml11;
use crate::text::trimmed;

/// SOAP 1.2 part 1, 2.2: the role of a node without role.
const ULTIMATE_RECEIVER: &str = "http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver";

/// What the root of a received document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// An assertion on its own, SAML 2.0 or 1.1.
    Assertion,
    /// None of these.
    Other,
    /// A SOAP 1.1 envelope.
    Soap11,
    /// A SOAP 1.2 envelope.
    Soap12,
}

/// Why an envelope yields no single assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeFault {
    /// No assertion directly in the first `wsse:Security`.
    AssertionMissing,
    /// No `wsse:Security` in the Header.
    SecurityHeaderMissing,
    /// More than one assertion in the security headers.
    SeveralAssertions,
    /// Two `wsse:Security` for the same actor, or two Headers.
    SeveralSecurityHeaders,
    /// The Envelope does not start with a Header.
    SoapHeaderMissing,
}

/// Received octets, read; nothing in them is verified.
#[derive(Debug)]
pub struct ReceivedMessage {
    kind: MessageKind,
    found: Result<Option<ReceivedAssertion>, EnvelopeFault>,
}

/// The isolated, unverified copy of an assertion.
#[derive(Debug, Clone)]
pub struct ReceivedAssertion {
    pub(crate) document: Arc<Document<'static>>,
    sha256: [u8; 32],
}

/// Read octets and isolate the assertion: alone, or in `soap:Header/wsse:Security`.
///
/// # Errors
/// As [`read`].
pub fn locate(octets: &[u8], limits: &Limits) -> Result<ReceivedMessage, Error> {
    locate_in(&read(octets, limits)?, limits)
}

/// `locate`, in what was read.
pub(crate) fn locate_in(
    document: &Document<'_>,
    limits: &Limits,
) -> Result<ReceivedMessage, Error> {
    let kind = kind_of(document);
    let found = match kind {
        MessageKind::Assertion => Ok(Some(Document::ROOT)),
        MessageKind::Other => Ok(None),
        MessageKind::Soap11 => in_envelope(document, SOAP11).map(Some),
        MessageKind::Soap12 => in_envelope(document, SOAP12).map(Some),
    };
    let found = match found {
        Ok(Some(assertion)) => Ok(Some(isolate(document, assertion, limits)?)),
        Ok(None) => Ok(None),
        Err(fault) => Err(fault),
    };
    Ok(ReceivedMessage { kind, found })
}

impl ReceivedMessage {
    /// What the root is.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Why an envelope yields no single assertion; None where it does, or is none.
    #[must_use]
    pub fn fault(&self) -> Option<EnvelopeFault> {
        self.found.as_ref().err().copied()
    }

    /// The isolated assertion.
    #[must_use]
    pub fn assertion(&self) -> Option<&ReceivedAssertion> {
        self.found.as_ref().ok()?.as_ref()
    }
}

impl ReceivedAssertion {
    /// Text of Issuer, trimmed; a hint that proves nothing.
    #[must_use]
    pub fn claimed_issuer(&self) -> Option<String> {
        if self.document.is_element(Document::ROOT, SAML1, "Assertion") {
            let issuer = self.document.attribute(Document::ROOT, "Issuer")?;
            return Some(trimmed(&issuer).to_owned());
        }
        let issuer = self.document.child(Document::ROOT, SAML2, "Issuer")?;
        Some(trimmed(&self.document.text(issuer)).to_owned())
    }

    /// SHA-256 of the assertion's octets as received; of those of UTF-16, as UTF-8.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Check that the mandatory parts of SAML 2.0 core 2.3.3, or 1.1 core 2.3.2, are there, and no more often than it says.
    ///
    /// # Errors
    /// [`Error::Structure`] says which part.
    pub fn check_structure(&self) -> Result<(), Error> {
        check_structure(&self.document)
    }
}

/// SAML 2.0 core 2.3.3; a Subject is mandatory because every statement a vector makes needs one (2.7.2, 2.7.3).
pub(crate) fn check_structure(document: &Document<'_>) -> Result<(), Error> {
    let root = Document::ROOT;
    if document.is_element(root, SAML1, "Assertion") {
        return saml11::check_structure(document);
    }
    if !document.is_element(root, SAML2, "Assertion") {
        return Err(Error::Structure("the root is not a SAML 2.0 Assertion"));
    }
    let stated = |name| {
        let value = document.attribute(root, name).unwrap_or_default();
        if trimmed(&value).is_empty() { None } else { Some(value) }
    };
    if stated("Version").as_deref() != Some("2.0") {
        return Err(Error::Structure("Version is not 2.0"));
    }
    if stated("ID").is_none() {
        return Err(Error::Structure("the assertion has no ID"));
    }
    if stated("IssueInstant").is_none() {
        return Err(Error::Structure("the assertion has no IssueInstant"));
    }
    let only = |name| {
        let mut found = document.children_named(root, SAML2, name);
        (found.next(), found.next().is_some())
    };
    match only("Issuer") {
        (Some(issuer), false) if !trimmed(&document.text(issuer)).is_empty() => {}
        (_, true) => return Err(Error::Structure("the assertion has several Issuers")),
        _ => {
            return Err(Error::Structure("the assertion has no Issuer, or an empty one"));
        }
    }
    match only("Subject") {
        (Some(subject), false) if document.children(subject).next().is_some() => {}
        (_, true) => return Err(Error::Structure("the assertion has several Subjects")),
        _ => {
            return Err(Error::Structure("the assertion has no Subject, or an empty one"));
        }
    }
    if only("Conditions").1 {
        return Err(Error::Structure("the assertion has several Conditions"));
    }
    check_subject_and_level(document)
}

/// Core 2.4.1 and 2.7.2; of several `AuthnStatement` too it would not be known which one is meant.
fn check_subject_and_level(document: &Document<'_>) -> Result<(), Error> {
    let only = |parent: Option<ElementId>, name, rule| {
        let mut found = parent.into_iter().flat_map(|id| document.children_named(id, SAML2, name));
        let first = found.next();
        if found.next().is_some() { Err(Error::Structure(rule)) } else { Ok(first) }
    };
    let root = Some(Document::ROOT);
    let subject = document.child(Document::ROOT, SAML2, "Subject");
    only(subject, "NameID", "the Subject has several NameIDs")?;
    let statement = only(root, "AuthnStatement", "the assertion has several AuthnStatements")?;
    let context = only(statement, "AuthnContext", "the AuthnStatement has several AuthnContexts")?;
    let rule = "the AuthnContext has several AuthnContextClassRefs";
    only(context, "AuthnContextClassRef", rule)?;
    Ok(())
}

pub(crate) fn kind_of(document: &Document<'_>) -> MessageKind {
    let root = |namespace, local| document.is_element(Document::ROOT, namespace, local);
    if root(SAML2, "Assertion") || root(SAML1, "Assertion") {
        MessageKind::Assertion
    } else if root(SOAP11, "Envelope") {
        MessageKind::Soap11
    } else if root(SOAP12, "Envelope") {
        MessageKind::Soap12
    } else {
        MessageKind::Other
    }
}

pub(crate) fn in_envelope(document: &Document<'_>, soap: &str) -> Result<ElementId, EnvelopeFault> {
    let header = document
        .children(Document::ROOT)
        .next()
        .filter(|&first| document.is_element(first, soap, "Header"))
        .ok_or(EnvelopeFault::SoapHeaderMissing)?;
    if document.children_named(Document::ROOT, soap, "Header").nth(1).is_some() {
        return Err(EnvelopeFault::SeveralSecurityHeaders);
    }
    let securities: Vec<ElementId> = document.children_named(header, WSSE, "Security").collect();
    let first = securities.first().ok_or(EnvelopeFault::SecurityHeaderMissing)?;
    let mut actors = BTreeSet::new();
    if !securities.iter().all(|&security| actors.insert(actor(document, security, soap))) {
        return Err(EnvelopeFault::SeveralSecurityHeaders);
    }
    let is_assertion = |&child: &ElementId| {
        document.is_element(child, SAML2, "Assertion")
            || document.is_element(child, SAML1, "Assertion")
    };
    let all = securities.iter().flat_map(|&security| document.children(security));
    if all.filter(is_assertion).nth(1).is_some() {
        return Err(EnvelopeFault::SeveralAssertions);
    }
    document.children(*first).find(is_assertion).ok_or(EnvelopeFault::AssertionMissing)
}

/// Whom a header block is for: SOAP 1.1 `actor`, SOAP 1.2 `role`; empty is the final receiver.
pub(crate) fn actor(document: &Document<'_>, block: ElementId, soap: &str) -> String {
    let name = if soap == SOAP11 { "actor" } else { "role" };
    let actor = document.qualified_attribute(block, soap, name).unwrap_or_default();
    if actor == ULTIMATE_RECEIVER { String::new() } else { actor }
}

/// Cut an element out as a document of its own.
fn isolate(
    document: &Document<'_>,
    assertion: ElementId,
    limits: &Limits,
) -> Result<ReceivedAssertion, Error> {
    let element = document.element(assertion);
    let octets = element.whole().of(&document.source).to_vec();
    let around = element.parent.map(|parent| document.in_scope(parent)).unwrap_or_default();
    let bound = |&id: &_| -> Inherited { (document.prefix(id).into(), document.uri(id).into()) };
    let inherited: Vec<Inherited> = around.iter().rev().map(bound).collect();
    let sha256 = sha256(&octets);
    let document = Arc::new(read_cut(octets, &inherited, limits)?);
    Ok(ReceivedAssertion { document, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::c14n::{Canonicalization, Method};

    #[test]
    fn the_prefix_xml_is_the_same_in_an_isolated_assertion() {
        let alone = format!(
            "<a:Assertion xmlns:a=\"{SAML2}\"><a:Issuer xml:lang=\"fr\">i</a:Issuer></a:Assertion>"
        );
        let message = format!(
            "<s:Envelope xmlns:s='{SOAP11}'><s:Header><w:Security xmlns:w='{WSSE}'>{alone}</w:Security></s:Header>\
             <s:Body/></s:Envelope>"
        );
        let located = locate(message.as_bytes(), &Limits::default()).unwrap();
        let document = &located.assertion().unwrap().document;
        for method in [Method::Exclusive, Method::Inclusive] {
            let form = Canonicalization::new(method, false);
            assert_eq!(document.canonicalize(&form, None).unwrap(), alone.as_bytes());
        }
    }
    #[test]
    fn the_fingerprint_of_utf16_is_that_of_utf8() {
        let alone = format!("<Assertion xmlns=\"{SAML2}\">é</Assertion>");
        let marked = format!("\u{FEFF}{alone}");
        let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for octets in [alone.as_bytes(), &utf16] {
            let located = locate(octets, &Limits::default()).unwrap();
            assert_eq!(located.assertion().unwrap().sha256(), &sha256(alone.as_bytes()));
        }
    }
}
