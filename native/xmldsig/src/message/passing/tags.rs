//! Elements as they pass: each tag read as a document of its own, with the namespaces around it, and held against the shape of an Envelope.

use memchr::{memchr, memchr3};

use super::{Open, PassingMessage, Shape, State, Step};
use crate::characters::{is_space, ncname_len};
use crate::document::Document;
use crate::error::{Error, Limit, MessageFault};
use crate::namespaces::{SOAP11, SOAP12};
use crate::reader::{Inherited, read_cut};

const NO_BODY: &str = "the Envelope does not hold a Header, if any, and then a Body";
const AFTER_BODY: &str = "a Header or a second Body follows the Body";

impl PassingMessage {
    /// Where a tag ends, behind its `>`; goes on where the last look stopped.
    fn tag_end(&mut self, rest: &[u8]) -> Option<usize> {
        let mut at = self.scanned.max(1);
        loop {
            let here = rest.get(at..).unwrap_or_default();
            let found = if self.quote == 0 {
                memchr3(b'>', b'"', b'\'', here)
            } else {
                memchr(self.quote, here)
            };
            let Some(place) = found else {
                self.scanned = rest.len();
                return None;
            };
            at += place + 1;
            match here.get(place) {
                Some(b'>') if self.quote == 0 => return Some(at),
                Some(&octet) if self.quote == 0 => self.quote = octet,
                _ => self.quote = 0,
            }
        }
    }

    pub(super) fn start_tag(&mut self, rest: &[u8]) -> Result<Step, Error> {
        if self.open.len() >= self.limits.depth {
            let bound = self.limits.depth;
            return Err(Error::Limit { limit: Limit::Depth, bound, offset: self.offset });
        }
        let Some(end) = self.tag_end(rest) else { return Ok(Step::Wait) };
        self.check_tag(end)?;
        let tag = rest.get(..end).unwrap_or_default();
        let empty = tag.ends_with(b"/>");
        let inside = tag.get(..end - if empty { 2 } else { 1 }).unwrap_or_default();
        let scope = self.scope.len();
        let name = self.bind(inside)?;
        self.place(&name, end, empty)?;
        if empty {
            self.scope.truncate(scope);
            if self.open.is_empty() {
                self.state = State::Epilog;
            }
        } else {
            self.names.extend_from_slice(&name.qualified);
            self.open.push(Open { name: name.qualified.len(), scope });
            self.state = State::Content;
        }
        Ok(Step::Took(end))
    }

    /// Read a tag without its end, as the element of a document of its own, and bring its declarations into scope.
    fn bind(&mut self, inside: &[u8]) -> Result<TagName, Error> {
        if let Some(name) = self.plain_name(inside) {
            return Ok(name);
        }
        let alone = [inside, b"/>"].concat();
        let offset = self.offset;
        let document = read_cut(alone, &self.scope, &self.limits)
            .map_err(|error| error.relocated(|place| offset + place))?;
        let element = document.element(Document::ROOT);
        for _ in memchr::memchr_iter(b'&', inside) {
            self.count_reference()?;
        }
        let declared = element.declarations().map(|id| {
            let (prefix, uri) = (document.prefix(id).to_vec(), document.uri(id).to_vec());
            (prefix, uri)
        });
        let declared: Vec<Inherited> = declared.collect();
        let name = element.name;
        let tag = TagName {
            qualified: name.span().of(&document.source).to_vec(),
            local: name.local(&document.source).to_vec(),
            namespace: document.uri(name.binding).to_vec(),
        };
        self.scope.extend(declared);
        Ok(tag)
    }

    /// The name of a tag that is nothing else, which is most tags of large messages.
    fn plain_name(&self, inside: &[u8]) -> Option<TagName> {
        let qualified = inside.get(1..)?;
        let first = ncname_len(qualified);
        let (prefix, local): (&[u8], &[u8]) = match qualified.get(first..)? {
            [] => (b"", qualified),
            [b':', local @ ..] => (qualified.get(..first)?, local),
            _ => return None,
        };
        let fits = first > 0 && !local.is_empty() && ncname_len(local) == local.len();
        if !fits || qualified.len() > self.limits.name || self.open.is_empty() {
            return None;
        }
        let bound = self.scope.iter().rev().find(|(bound, _)| bound == prefix);
        let namespace = match bound {
            Some((_, uri)) => uri.clone(),
            None if prefix.is_empty() => Vec::new(),
            None => return None,
        };
        Some(TagName { qualified: qualified.to_vec(), local: local.to_vec(), namespace })
    }

    /// Hold an element against the shape of an Envelope.
    fn place(&mut self, name: &TagName, end: usize, empty: bool) -> Result<(), Error> {
        let soap = if self.soap12 { SOAP12 } else { SOAP11 };
        match self.open.len() {
            0 => {
                self.soap12 = name.is(SOAP12, "Envelope");
                if !self.soap12 && !name.is(SOAP11, "Envelope") {
                    let detail = "the root is not an Envelope of SOAP 1.1 or 1.2";
                    return Err(Error::message(MessageFault::NotSoap, detail));
                }
                if empty {
                    return Err(envelope_invalid(NO_BODY));
                }
                self.closing = [b"</", &name.qualified[..], b">"].concat();
            }
            1 => {
                let (header, body) = (name.is(soap, "Header"), name.is(soap, "Body"));
                self.shape = match self.shape {
                    Shape::Nothing if header => Shape::Header,
                    Shape::Nothing | Shape::Header if body => {
                        self.body_start = Some(self.offset + end);
                        if !empty {
                            let root = std::mem::take(&mut self.closing);
                            self.closing = [b"</", &name.qualified[..], b">", &root].concat();
                        }
                        if empty { Shape::Behind } else { Shape::Body }
                    }
                    Shape::Behind if !header && !body => Shape::Behind,
                    Shape::Behind => return Err(envelope_invalid(AFTER_BODY)),
                    _ => return Err(envelope_invalid(NO_BODY)),
                };
            }
            2 if self.shape == Shape::Body && self.operation.is_none() => {
                let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                self.operation = Some((text(&name.namespace), text(&name.local)));
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn end_tag(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let seen = self.scanned;
        let Some(place) = memchr(b'>', rest.get(seen..).unwrap_or_default()) else {
            self.scanned = rest.len();
            return Ok(Step::Wait);
        };
        let end = seen + place;
        self.check_tag(end + 1)?;
        let length = self.open.last().map_or(0, |open| open.name);
        let start = self.names.len() - length;
        let name = self.names.get(start..).unwrap_or_default();
        let inside = rest.get(2..end).unwrap_or_default();
        match inside.strip_prefix(name) {
            Some(space) if space.iter().all(|&octet| is_space(octet)) => {}
            _ => return Err(self.malformed("an end tag does not match its start tag")),
        }
        self.names.truncate(start);
        if let Some(open) = self.open.pop() {
            self.scope.truncate(open.scope);
        }
        if self.open.len() == 1 && self.shape == Shape::Body {
            self.shape = Shape::Behind;
        }
        if self.open.is_empty() {
            if self.shape != Shape::Behind {
                return Err(envelope_invalid(NO_BODY));
            }
            self.state = State::Epilog;
        }
        Ok(Step::Took(end + 1))
    }
}

fn envelope_invalid(detail: &'static str) -> Error {
    Error::message(MessageFault::EnvelopeInvalid, detail)
}

/// An element's name, with what its prefix stands for.
struct TagName {
    qualified: Vec<u8>,
    local: Vec<u8>,
    namespace: Vec<u8>,
}

impl TagName {
    fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace.as_bytes() && self.local == local.as_bytes()
    }
}
