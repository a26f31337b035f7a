//! What passes beside elements: declaration, character data, references, comments, CDATA sections and instructions.

use memchr::{memchr, memchr3, memmem};

use super::{OTHER_ENCODING, PassingMessage, State, Step};
use crate::characters::{is_space, markup_place, ncname_len};
use crate::encoding::can_carry_all;
use crate::error::{Error, Limit};
use crate::reader::read;
use crate::text;

const MARK: &[u8] = b"\xEF\xBB\xBF";
/// What a reference may take; the longest of XML without leading zeros takes ten.
const LONGEST_REFERENCE: usize = 64;
/// What a declaration may take with its end.
const LONGEST_DECLARATION: usize = 1024;

impl PassingMessage {
    /// Byte order mark and XML declaration.
    pub(super) fn start(&mut self, rest: &[u8]) -> Result<Step, Error> {
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
        let near = document.get(..LONGEST_DECLARATION).unwrap_or(document);
        let Some(length) = memmem::find(near, b"?>") else {
            if near.len() == LONGEST_DECLARATION {
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
    pub(super) fn misc(&mut self, rest: &[u8]) -> Result<Step, Error> {
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

    pub(super) fn content(&mut self, rest: &[u8]) -> Result<Step, Error> {
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

    pub(super) fn comment(&mut self, rest: &[u8]) -> Result<Step, Error> {
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
    pub(super) fn through(&mut self, rest: &[u8], end: &[u8]) -> Step {
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
        if length > self.limits.name {
            let bound = self.limits.name;
            return Err(Error::Limit { limit: Limit::Name, bound, offset: self.offset });
        }
        if length == behind.len() {
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
}
