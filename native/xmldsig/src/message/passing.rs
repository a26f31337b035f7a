//! A message checked as it passes, in pieces of any size, for whoever cannot hold it whole.
//!
//! Promises the rules of [`read`](crate::read()) and of the Envelope, with memory that does not grow with the message: what is held
//! is the tag under way, the names that are open and the namespaces in scope. Two rules differ. A tag of more octets than
//! [`Limits::value`], and a reference of more than 64, are refused; and that the values of `xml:id` differ is not checked, because
//! that would take all of them. UTF-16 is refused, as wherever a message is edited. Cost: time linear in the message, whatever the
//! pieces.

use memchr::{memchr, memchr3, memmem};

use super::insert::check_encoding;
use crate::characters::{first_forbidden, is_space, markup_place, ncname_len};
use crate::document::Document;
use crate::encoding::can_carry_all;
use crate::error::{Error, Limit, MessageFault};
use crate::limits::Limits;
use crate::namespaces::{SOAP11, SOAP12};
use crate::reader::{Inherited, read, read_cut};
use crate::text;

const MARK: &[u8] = b"\xEF\xBB\xBF";
/// What a reference may take; the longest of XML without leading zeros takes ten.
const LONGEST_REFERENCE: usize = 64;
/// What comes before the root: declaration, comments and instructions are read with the first tag, as one document.
const LONGEST_DECLARATION: usize = 1024;

/// A message of which some has passed.
#[derive(Debug)]
pub struct PassingMessage {
    limits: Limits,
    state: State,
    /// Octets whose meaning depends on what follows.
    pending: Vec<u8>,
    /// How many of them are known to be characters.
    valid: usize,
    /// How many of them the search for the end of a tag has seen, and the quote it was in.
    scanned: usize,
    quote: u8,
    /// Offset of the first pending octet in the message.
    offset: usize,
    /// The names of open elements, one behind the other.
    names: Vec<u8>,
    open: Vec<Open>,
    scope: Vec<Inherited>,
    references: usize,
    ascii_only: bool,
    shape: Shape,
    soap12: bool,
    operation: Option<(String, String)>,
    body_start: Option<usize>,
    closing: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Before the root.
    Prolog,
    Content,
    Comment,
    Cdata,
    Instruction,
    /// Behind the root.
    Epilog,
}

/// How far the children of the Envelope have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Nothing,
    Header,
    Body,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    name: usize,
    scope: usize,
}

/// What the octets at hand come to.
enum Step {
    /// So many were understood.
    Took(usize),
    /// More are needed.
    Wait,
}

impl PassingMessage {
    /// Nothing has passed yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            state: State::Start,
            pending: Vec::new(),
            valid: 0,
            scanned: 0,
            quote: 0,
            offset: 0,
            names: Vec::new(),
            open: Vec::new(),
            scope: Vec::new(),
            references: 0,
            ascii_only: false,
            shape: Shape::Nothing,
            soap12: false,
            operation: None,
            body_start: None,
            closing: Vec::new(),
        }
    }

    /// Check the next octets.
    ///
    /// # Errors
    /// As [`read`](crate::read()), and [`Error::Message`]; nothing more may be fed after one.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(), Error> {
        let end = self.offset + self.pending.len() + octets.len();
        if end > self.limits.octets {
            let bound = self.limits.octets;
            return Err(Error::Limit { limit: Limit::Octets, bound, offset: bound });
        }
        if self.pending.is_empty() {
            let used = self.take(octets)?;
            self.pending.extend_from_slice(octets.get(used..).unwrap_or_default());
        } else {
            let mut work = std::mem::take(&mut self.pending);
            work.extend_from_slice(octets);
            let used = self.take(&work)?;
            work.drain(..used);
            self.pending = work;
        }
        if self.pending.len() > self.limits.value {
            let bound = self.limits.value;
            return Err(Error::Limit { limit: Limit::Tag, bound, offset: self.offset + bound });
        }
        Ok(())
    }

    /// Check that nothing is missing.
    ///
    /// # Errors
    /// As [`PassingMessage::feed`].
    pub fn finish(&self) -> Result<(), Error> {
        if self.state == State::Epilog && self.pending.is_empty() {
            return Ok(());
        }
        Err(Error::malformed(
            self.offset + self.pending.len(),
            "the document ends inside an element",
        ))
    }

    /// Whether it is SOAP 1.2; known with the first tag.
    #[must_use]
    pub const fn is_soap12(&self) -> bool {
        self.soap12
    }

    /// Namespace and local name of the first element in the Body, once it has come.
    #[must_use]
    pub const fn operation(&self) -> Option<&(String, String)> {
        self.operation.as_ref()
    }

    /// Offset behind the start tag of the Body, once the first element in it, or its end, has come.
    #[must_use]
    pub fn body_start(&self) -> Option<usize> {
        self.body_start.filter(|_| self.operation.is_some() || self.open.len() < 2)
    }

    /// What makes a message of the octets up to [`PassingMessage::body_start`].
    #[must_use]
    pub fn closing(&self) -> &[u8] {
        &self.closing
    }

    /// Understand as many of the octets as can be.
    fn take(&mut self, work: &[u8]) -> Result<usize, Error> {
        let end = self.check_characters(work)?;
        let work = work.get(..end).unwrap_or_default();
        let mut used = 0;
        while let Some(rest) = work.get(used..).filter(|rest| !rest.is_empty()) {
            match self.step(rest)? {
                Step::Took(length) => {
                    used += length;
                    self.offset += length;
                    (self.scanned, self.quote) = (0, 0);
                }
                Step::Wait => break,
            }
        }
        self.valid = work.len() - used;
        Ok(used)
    }

    /// Where the whole characters among the octets end.
    fn check_characters(&self, work: &[u8]) -> Result<usize, Error> {
        let fresh = work.get(self.valid..).unwrap_or_default();
        let at = self.offset + self.valid;
        if self.state == State::Start {
            check_encoding(work)?;
        }
        let text = match std::str::from_utf8(fresh) {
            Ok(text) => text,
            Err(error) if error.error_len().is_none() => {
                let whole = fresh.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).unwrap_or_default()
            }
            Err(error) => {
                let offset = at + error.valid_up_to();
                return Err(Error::malformed(offset, "the octets are not UTF-8"));
            }
        };
        if let Some(offset) = first_forbidden(text) {
            return Err(Error::malformed(at + offset, "a character that XML 1.0 cannot carry"));
        }
        if self.ascii_only && !text.is_ascii() {
            return Err(Error::malformed(at, OTHER_ENCODING));
        }
        Ok(self.valid + text.len())
    }

    fn step(&mut self, rest: &[u8]) -> Result<Step, Error> {
        match self.state {
            State::Start => self.start(rest),
            State::Prolog | State::Epilog => self.misc(rest),
            State::Content => self.content(rest),
            State::Comment => self.comment(rest),
            State::Cdata => Ok(self.through(rest, b"]]>")),
            State::Instruction => Ok(self.through(rest, b"?>")),
        }
    }

    /// Byte order mark and XML declaration.
    fn start(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let marked = rest.starts_with(MARK);
        let document = rest.strip_prefix(MARK).unwrap_or(rest);
        let opening = b"<?xml";
        if document.len() <= opening.len() && opening.starts_with(document) {
            return Ok(Step::Wait);
        }
        let declared = document.strip_prefix(opening).and_then(|rest| rest.first());
        if !declared.is_some_and(|&octet| is_space(octet)) {
            self.state = State::Prolog;
            return Ok(Step::Took(rest.len() - document.len()));
        }
        let Some(length) = memmem::find(document, b"?>") else {
            if document.len() > LONGEST_DECLARATION {
                return Err(self.malformed("the XML declaration is not as production [23] says"));
            }
            return Ok(Step::Wait);
        };
        let declaration = document.get(..length + 2).unwrap_or_default();
        let alone = [if marked { MARK } else { b"" }, declaration, b"<a/>"].concat();
        read(&alone, &self.limits)?;
        self.ascii_only = !can_carry_all(declaration);
        if self.ascii_only && !rest.is_ascii() {
            return Err(self.malformed(OTHER_ENCODING));
        }
        self.state = State::Prolog;
        Ok(Step::Took(rest.len() - document.len() + declaration.len()))
    }

    /// Outside the root: white space, comments and instructions.
    fn misc(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let space = rest.iter().take_while(|&&octet| is_space(octet)).count();
        if space > 0 {
            return Ok(Step::Took(space));
        }
        let doctype = b"<!DOCTYPE";
        if rest.starts_with(doctype) {
            return Err(Error::DtdForbidden { offset: self.offset });
        }
        if rest.len() < doctype.len() && doctype.starts_with(rest) && rest.len() > 2 {
            return Ok(Step::Wait);
        }
        match rest {
            [b'<'] | [b'<', b'!'] | [b'<', b'!', b'-'] => Ok(Step::Wait),
            [b'<', b'?', ..] => self.instruction(rest),
            [b'<', b'!', b'-', b'-', ..] => {
                self.state = State::Comment;
                Ok(Step::Took(4))
            }
            [b'<', ..] if self.state == State::Prolog => self.start_tag(rest),
            _ if self.state == State::Prolog => {
                Err(self.malformed("a document starts with an element"))
            }
            _ => Err(self.malformed("nothing but comments and instructions follow the root")),
        }
    }

    fn content(&mut self, rest: &[u8]) -> Result<Step, Error> {
        const CDATA: &[u8] = b"<![CDATA[";
        match rest {
            [b'<', b'/', ..] => self.end_tag(rest),
            [b'<', b'?', ..] => self.instruction(rest),
            [b'<', b'!', b'-', b'-', ..] => {
                self.state = State::Comment;
                Ok(Step::Took(4))
            }
            [b'<', b'!', ..] if rest.starts_with(CDATA) => {
                self.state = State::Cdata;
                Ok(Step::Took(CDATA.len()))
            }
            [b'<'] | [b'<', b'!'] | [b'<', b'!', b'-'] => Ok(Step::Wait),
            [b'<', b'!', ..] if rest.len() < CDATA.len() && CDATA.starts_with(rest) => {
                Ok(Step::Wait)
            }
            [b'<', b'!', ..] => Err(self.malformed("no declaration may stand here")),
            [b'<', ..] => self.start_tag(rest),
            _ => self.character_data(rest),
        }
    }

    /// Character data up to the next tag, or as far as it has come.
    fn character_data(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let mut at = 0;
        while let Some(place) = markup_place(rest, at) {
            at = place;
            let here = rest.get(at..).unwrap_or_default();
            match here.first() {
                Some(b'&') => match self.reference(here)? {
                    Some(length) => at += length,
                    None if at == 0 => return Ok(Step::Wait),
                    None => return Ok(Step::Took(at)),
                },
                Some(b'>') => {
                    if rest.get(..at).unwrap_or_default().ends_with(b"]]") {
                        self.offset += at;
                        return Err(self.malformed("]]> stands outside a CDATA section"));
                    }
                    at += 1;
                }
                _ => return Ok(Step::Took(at)),
            }
        }
        let brackets = rest.iter().rev().take(2).take_while(|&&octet| octet == b']').count();
        let whole = rest.len() - brackets;
        Ok(if whole == 0 { Step::Wait } else { Step::Took(whole) })
    }

    /// How long the reference here is; None while its end has not come.
    fn reference(&mut self, here: &[u8]) -> Result<Option<usize>, Error> {
        let near = here.get(..LONGEST_REFERENCE.min(here.len())).unwrap_or_default();
        if memchr(b';', near).is_none() {
            if near.len() < LONGEST_REFERENCE && memchr3(b'<', b' ', b'"', near).is_none() {
                return Ok(None);
            }
            return Err(self.malformed("a reference names no character"));
        }
        let Some((_, rest)) = text::reference(here) else {
            return Err(self.malformed("a reference names no character"));
        };
        self.count_reference()?;
        Ok(Some(here.len() - rest.len()))
    }

    fn count_reference(&mut self) -> Result<(), Error> {
        if self.references == self.limits.references {
            let bound = self.limits.references;
            return Err(Error::Limit { limit: Limit::References, bound, offset: self.offset });
        }
        self.references += 1;
        Ok(())
    }

    fn comment(&mut self, rest: &[u8]) -> Result<Step, Error> {
        match memmem::find(rest, b"--") {
            Some(place) if rest.len() == place + 2 => {
                Ok(if place == 0 { Step::Wait } else { Step::Took(place) })
            }
            Some(place) if rest.get(place + 2) == Some(&b'>') => {
                self.state = self.outside();
                Ok(Step::Took(place + 3))
            }
            Some(place) => {
                self.offset += place;
                Err(self.malformed("-- stands inside a comment"))
            }
            None => Ok(Self::all_but(rest, b"-")),
        }
    }

    /// Up to the end of a CDATA section or an instruction.
    fn through(&mut self, rest: &[u8], end: &[u8]) -> Step {
        match memmem::find(rest, end) {
            Some(place) => {
                self.state = self.outside();
                Step::Took(place + end.len())
            }
            None => Self::all_but(rest, end.get(..end.len() - 1).unwrap_or_default()),
        }
    }

    /// All but what could be the start of an end that is still to come.
    fn all_but(rest: &[u8], start: &[u8]) -> Step {
        let kept = (1..=start.len())
            .rev()
            .find(|&length| rest.ends_with(start.get(..length).unwrap_or_default()));
        match rest.len() - kept.unwrap_or(0) {
            0 => Step::Wait,
            length => Step::Took(length),
        }
    }

    /// The state of what is around a comment, an instruction or a section.
    fn outside(&self) -> State {
        if !self.open.is_empty() {
            State::Content
        } else if self.closing.is_empty() {
            State::Prolog
        } else {
            State::Epilog
        }
    }

    /// `<?target`, once what follows the target has come.
    fn instruction(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let behind = rest.get(2..).unwrap_or_default();
        let length = ncname_len(behind);
        if length == behind.len() {
            if length > self.limits.name {
                return Err(Error::Limit {
                    limit: Limit::Name,
                    bound: self.limits.name,
                    offset: self.offset,
                });
            }
            return Ok(Step::Wait);
        }
        let (target, behind) = behind.split_at(length);
        if length == 0 || target.eq_ignore_ascii_case(b"xml") {
            return Err(self.malformed("an instruction has no legal target"));
        }
        match behind {
            [b'?'] => return Ok(Step::Wait),
            [b'?', b'>', ..] => {}
            [octet, ..] if is_space(*octet) => {}
            _ => {
                let rule = "white space separates an instruction's target and data";
                return Err(self.malformed(rule));
            }
        }
        self.state = State::Instruction;
        Ok(Step::Took(2 + length))
    }

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

    fn start_tag(&mut self, rest: &[u8]) -> Result<Step, Error> {
        if self.open.len() >= self.limits.depth {
            let bound = self.limits.depth;
            return Err(Error::Limit { limit: Limit::Depth, bound, offset: self.offset });
        }
        let Some(end) = self.tag_end(rest) else { return Ok(Step::Wait) };
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
                        Shape::Body
                    }
                    Shape::Body if !header && !body => Shape::Body,
                    Shape::Body => return Err(envelope_invalid(AFTER_BODY)),
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

    fn end_tag(&mut self, rest: &[u8]) -> Result<Step, Error> {
        let seen = self.scanned;
        let Some(place) = memchr(b'>', rest.get(seen..).unwrap_or_default()) else {
            self.scanned = rest.len();
            return Ok(Step::Wait);
        };
        let end = seen + place;
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
        if self.open.is_empty() {
            if self.shape != Shape::Body {
                return Err(envelope_invalid(NO_BODY));
            }
            self.state = State::Epilog;
        }
        Ok(Step::Took(end + 1))
    }

    fn malformed(&self, rule: &'static str) -> Error {
        Error::malformed(self.offset, rule)
    }
}

const OTHER_ENCODING: &str = "the declared encoding is not the one of the octets";
const NO_BODY: &str = "the Envelope does not hold a Header, if any, and then a Body";
const AFTER_BODY: &str = "a Header or a second Body follows the Body";

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
