//! A message checked as it passes, in pieces of any size, for whoever cannot hold it whole.
//!
//! Promises the rules of [`read`](crate::read()) and of the Envelope, with memory that does not grow with the message: what is held
//! is the tag under way, the names that are open and the namespaces in scope. Two rules differ. A tag of more octets than
//! [`Limits::value`], a reference of more than 64, and a declaration of more than 1024, are refused; and that the values of `xml:id` differ is not checked, because
//! that would take all of them. UTF-16 is refused, as wherever a message is edited. Cost: time linear in the message, whatever the
//! pieces.
//!
//! | module | owns |
//! | --- | --- |
//! | `markup` | declaration, character data, comments, sections and instructions |
//! | `tags` | elements: their names and namespaces, and the shape of an Envelope |

mod markup;
mod tags;

use super::insert::check_encoding;
use crate::characters::first_forbidden;
use crate::error::{Error, Limit};
use crate::limits::Limits;
use crate::reader::Inherited;

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
    /// Inside the Body.
    Body,
    /// The Body has ended.
    Behind,
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
        self.check_tag(self.pending.len())
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
        self.body_start.filter(|_| self.operation.is_some() || self.shape == Shape::Behind)
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

    /// Refuse a tag that has come to so many octets, wherever the pieces end.
    fn check_tag(&self, octets: usize) -> Result<(), Error> {
        let bound = self.limits.value;
        if octets > bound {
            return Err(Error::Limit { limit: Limit::Tag, bound, offset: self.offset + bound });
        }
        Ok(())
    }

    fn count_reference(&mut self) -> Result<(), Error> {
        if self.references == self.limits.references {
            let bound = self.limits.references;
            return Err(Error::Limit { limit: Limit::References, bound, offset: self.offset });
        }
        self.references += 1;
        Ok(())
    }

    fn malformed(&self, rule: &'static str) -> Error {
        Error::malformed(self.offset, rule)
    }
}

const OTHER_ENCODING: &str = "the declared encoding is not the one of the octets";
