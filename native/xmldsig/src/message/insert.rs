//! Inserting the header: edits of the octets as they came, never a message written anew.
//!
//! Promises: outside the edits every octet stays; the outcome is no larger than the limits the message was read with, and
//! neither is anything in its Header; the security header that holds the vector is the first, and
//! [`locate()`](crate::locate()) finds the vector in it.
//!
//! Refuses: what is not SOAP; UTF-16, and US-ASCII or ISO-8859-1 by declaration where the vector holds other characters
//! than ASCII; headers that the rule of [`ExistingHeader`] does not cover.

use std::collections::BTreeSet;

use super::envelope::Envelope;
use super::header::{ExistingHeader, SecurityHeader};
use crate::document::{DeclarationId, Document, ElementId, wide};
use crate::encoding::{can_carry_all, is_utf16};
use crate::error::{Error, Limit, MessageFault};
use crate::limits::Limits;
use crate::locate::actor;
use crate::namespaces::{SAML1, SAML2, WSSE, WSU};
use crate::reader::{Inherited, read, read_cut};

/// A stretch of the message and what stands in its place; `start <= end`, equal where something is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Edit {
    /// Octet offset in the message as it came.
    pub start: usize,
    /// Behind the last octet taken out.
    pub end: usize,
    /// What is put in.
    pub octets: Vec<u8>,
}

/// A message with its security header. Only [`SecurityHeader::insert`] and a splice make one.
#[derive(Debug)]
pub struct SecuredMessage {
    pub(super) octets: Vec<u8>,
    pub(super) edits: Vec<Edit>,
}

/// The edits that insert a header, in the order of the octets; the first holds its parts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) edits: Vec<Edit>,
    /// The end of the parts in the octets of the first edit.
    pub(super) parts_end: usize,
    /// Where the SOAP Header starts, in the message and in the outcome.
    header_start: usize,
    /// Where it ends in the message; `header_start` where there is none.
    header_end: usize,
}

impl SecurityHeader<'_> {
    /// Insert the header, unsigned: the vector's own signature is all there is.
    ///
    /// # Errors
    /// As [`read`]; [`Error::Message`] says why a message cannot take the header. Offsets in a [`Error::Limit`] that only
    /// the outcome passes count in the outcome.
    pub fn insert(&self, message: &[u8], limits: &Limits) -> Result<SecuredMessage, Error> {
        check_encoding(message)?;
        let document = read(message, limits)?;
        self.insert_into(&document, &Envelope::of(&document)?, limits)
    }

    /// `insert`, into a message that was read.
    pub(super) fn insert_into(
        &self,
        document: &Document<'_>,
        envelope: &Envelope,
        limits: &Limits,
    ) -> Result<SecuredMessage, Error> {
        let plan = Plan::new(document, envelope, self, &self.write(None))?;
        let octets = plan.outcome(document, limits)?;
        Ok(SecuredMessage { octets, edits: plan.edits })
    }
}

impl SecuredMessage {
    /// The whole message.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What was done to the message as it came, in the order of its octets.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }
}

impl Plan {
    pub(super) fn new(
        document: &Document<'_>,
        envelope: &Envelope,
        header: &SecurityHeader<'_>,
        parts: &[u8],
    ) -> Result<Self, Error> {
        let Some(block) = envelope.header else {
            return Ok(Self::with_header(document, parts));
        };
        let (ours, others) = security_headers(document, envelope, block)?;
        if header.existing == ExistingHeader::Refuse && !(ours.is_empty() && others.is_empty()) {
            let detail = "the message has a wsse:Security already";
            return Err(Error::message(MessageFault::SecurityHeaderPresent, detail));
        }
        check_no_assertion(document, &others)?;
        if header.existing == ExistingHeader::Keep {
            if let Some(kept) = kept_header(document, block, &ours, header)? {
                return Ok(Self::inside(document, block, kept, &[], parts, &[]));
            }
        }
        let start = security_start(document, block);
        let mut plan =
            Self::inside(document, block, block, start.as_bytes(), parts, b"</wsse:Security>");
        plan.edits.extend(ours.iter().map(|&id| {
            let whole = document.element(id).whole();
            Edit { start: wide(whole.start), end: wide(whole.end), octets: Vec::new() }
        }));
        Ok(plan)
    }

    /// A new Header as the first child of the Envelope, with the Envelope's prefix.
    fn with_header(document: &Document<'_>, parts: &[u8]) -> Self {
        let root = document.element(Document::ROOT);
        let mut prefix = root.name.prefix(&document.source).to_vec();
        if !prefix.is_empty() {
            prefix.push(b':');
        }
        let start = security_start(document, Document::ROOT);
        let before = [b"<", &prefix[..], b"Header>", start.as_bytes()].concat();
        let after = [b"</wsse:Security></", &prefix[..], b"Header>"].concat();
        let at = wide(root.tag_end);
        let parts_end = before.len() + parts.len();
        let octets = [&before[..], parts, &after].concat();
        let edits = vec![Edit { start: at, end: at, octets }];
        Self { edits, parts_end, header_start: at, header_end: at }
    }

    /// As the first thing in an element, which gets an end tag where it has none.
    fn inside(
        document: &Document<'_>,
        header: ElementId,
        parent: ElementId,
        before: &[u8],
        parts: &[u8],
        after: &[u8],
    ) -> Self {
        let element = document.element(parent);
        let empty = element.tag_end == element.end;
        // `<a/>` becomes `<a` + `>…<` + `/` + `a` + `>`: no octet of it is lost.
        let (open, close): (&[u8], &[u8]) = if empty { (b">", b"<") } else { (b"", b"") };
        let at = wide(element.tag_end) - if empty { 2 } else { 0 };
        let parts_end = open.len() + before.len() + parts.len();
        let octets = [open, before, parts, after, close].concat();
        let mut edits = vec![Edit { start: at, end: at, octets }];
        if empty {
            let name = element.name.span().of(&document.source).to_vec();
            edits.push(Edit { start: at + 1, end: at + 1, octets: name });
        }
        let whole = document.element(header).whole();
        let (header_start, header_end) = (wide(whole.start), wide(whole.end));
        Self { edits, parts_end, header_start, header_end }
    }

    /// The message with the edits, its Header read again: it must be within the limits too.
    pub(super) fn outcome(
        &self,
        document: &Document<'_>,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let octets = apply(&document.source, &self.edits);
        if octets.len() > limits.octets {
            let bound = limits.octets;
            return Err(Error::Limit { limit: Limit::Octets, bound, offset: bound });
        }
        let inside = self.edits.iter().filter(|edit| edit.start <= self.header_end);
        let (added, removed) = inside.fold((0, 0), |(added, removed), edit| {
            (added + edit.octets.len(), removed + edit.end - edit.start)
        });
        let header = self.header_start..self.header_end + added - removed;
        let cut = octets.get(header).unwrap_or_default().to_vec();
        if !cut.is_ascii() && !can_carry_all(&document.source) {
            let detail = "the message declares an encoding that cannot carry the vector";
            return Err(Error::message(MessageFault::EncodingUnsupported, detail));
        }
        let bound = |&id: &DeclarationId| -> Inherited {
            (document.prefix(id).into(), document.uri(id).into())
        };
        let around = document.in_scope(Document::ROOT);
        let inherited: Vec<Inherited> = around.iter().rev().map(bound).collect();
        let limits = Limits { depth: limits.depth.saturating_sub(1), ..*limits };
        read_cut(cut, &inherited, &limits)
            .map_err(|error| error.relocated(|offset| self.header_start + offset))?;
        Ok(octets)
    }

    /// Give an element a `wsu:Id` with a prefix that takes none from what is inside.
    pub(super) fn add_id(&mut self, document: &Document<'_>, id: ElementId, value: &str) {
        let scope = document.in_scope(id);
        let bound = scope
            .iter()
            .find(|&&one| !document.prefix(one).is_empty() && document.uri(one) == WSU.as_bytes());
        let attribute = if let Some(&bound) = bound {
            [b" ", document.prefix(bound), b":Id=\"", value.as_bytes(), b"\""].concat()
        } else {
            let free = |prefix: &String| {
                scope.iter().all(|&one| document.prefix(one) != prefix.as_bytes())
            };
            let numbered = (1_u32..).map(|number| format!("wsu{number}"));
            let prefix = std::iter::once("wsu".to_owned()).chain(numbered).find(free);
            let prefix = prefix.unwrap_or_default();
            format!(" xmlns:{prefix}=\"{WSU}\" {prefix}:Id=\"{value}\"").into_bytes()
        };
        let at = wide(document.element(id).name.span().end);
        self.edits.push(Edit { start: at, end: at, octets: attribute });
    }
}

/// The octets with every edit done; edits are in order and do not overlap.
pub(super) fn apply(message: &[u8], edits: &[Edit]) -> Vec<u8> {
    let added: usize = edits.iter().map(|edit| edit.octets.len()).sum();
    let mut octets = Vec::with_capacity(message.len() + added + 8192);
    let mut done = 0;
    for edit in edits {
        octets.extend_from_slice(message.get(done..edit.start).unwrap_or_default());
        octets.extend_from_slice(&edit.octets);
        done = edit.end;
    }
    octets.extend_from_slice(message.get(done..).unwrap_or_default());
    octets
}

/// UTF-16 is refused: the edits are UTF-8, and mixing them in would take a message written anew.
pub(super) fn check_encoding(message: &[u8]) -> Result<(), Error> {
    if is_utf16(message) {
        let detail = "a UTF-16 message is not secured; send it as UTF-8";
        return Err(Error::message(MessageFault::EncodingUnsupported, detail));
    }
    Ok(())
}

/// The start tag of the block. No default namespace reaches into it, so that its parts mean and digest the same
/// anywhere.
fn security_start(document: &Document<'_>, parent: ElementId) -> String {
    let scope = document.in_scope(parent);
    let default = scope.iter().find(|&&id| document.prefix(id).is_empty());
    let undeclared =
        if default.is_some_and(|&id| !document.uri(id).is_empty()) { " xmlns=\"\"" } else { "" };
    format!("<wsse:Security{undeclared} xmlns:wsse=\"{WSSE}\">")
}

/// The security headers for the final receiver, and those for others.
fn security_headers(
    document: &Document<'_>,
    envelope: &Envelope,
    header: ElementId,
) -> Result<(Vec<ElementId>, Vec<ElementId>), Error> {
    let all = document.children_named(header, WSSE, "Security");
    let actor = |id| actor(document, id, envelope.soap);
    let (ours, others): (Vec<_>, Vec<_>) = all.partition(|&id| actor(id).is_empty());
    let mut actors = BTreeSet::new();
    if !others.iter().all(|&id| actors.insert(actor(id))) {
        let detail = "two wsse:Security are for the same actor";
        return Err(Error::message(MessageFault::SecurityHeaderConflict, detail));
    }
    Ok((ours, others))
}

/// The header that takes our parts: the one for the final receiver, where readers look, without what ours brings.
fn kept_header(
    document: &Document<'_>,
    header: ElementId,
    ours: &[ElementId],
    wanted: &SecurityHeader<'_>,
) -> Result<Option<ElementId>, Error> {
    let conflict = |detail| Err(Error::message(MessageFault::SecurityHeaderConflict, detail));
    let kept = match ours {
        [] => return Ok(None),
        [kept] => *kept,
        _ => return conflict("two wsse:Security are for the final receiver"),
    };
    if document.children_named(header, WSSE, "Security").next() != Some(kept) {
        return conflict("a wsse:Security for another actor stands before the receiver's own");
    }
    check_no_assertion(document, ours)?;
    if wanted.timestamp.is_some() && document.child(kept, WSU, "Timestamp").is_some() {
        return conflict("the wsse:Security that stays has a Timestamp of its own");
    }
    Ok(Some(kept))
}

fn check_no_assertion(document: &Document<'_>, kept: &[ElementId]) -> Result<(), Error> {
    let mut children = kept.iter().flat_map(|&security| document.children(security));
    let is_assertion = |namespace, child| document.is_element(child, namespace, "Assertion");
    if children.any(|child| is_assertion(SAML2, child) || is_assertion(SAML1, child)) {
        let detail = "a wsse:Security that stays holds an assertion already";
        return Err(Error::message(MessageFault::SecurityHeaderConflict, detail));
    }
    Ok(())
}
