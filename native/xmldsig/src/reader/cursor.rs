//! A place in the octets, and the small steps every production takes.

use super::names::{Names, Slot};
use crate::characters::{is_space, ncname_len, ordinary_end, quoted_end};
use crate::document::{DeclarationId, Name, Span, narrow};
use crate::error::{Error, Limit, Refusal};
use crate::limits::Limits;
use crate::text;

pub(super) struct Cursor<'d> {
    pub(super) octets: &'d [u8],
    /// `at <= octets.len()`
    pub(super) at: usize,
    limits: &'d Limits,
    /// Bound of a name's octets.
    longest_name: usize,
    /// How many came by.
    references: usize,
    pub(super) names: Names,
}

impl<'d> Cursor<'d> {
    pub(super) fn new(octets: &'d [u8], at: usize, limits: &'d Limits) -> Self {
        let longest_name = limits.name.min(Limits::OWN.name);
        Self { octets, at, limits, longest_name, references: 0, names: Names::new() }
    }

    #[inline]
    pub(super) fn rest(&self) -> &'d [u8] {
        self.octets.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    pub(super) fn since(&self, start: usize) -> &'d [u8] {
        self.octets.get(start..self.at).unwrap_or_default()
    }

    /// The octet after the next one.
    #[inline]
    pub(super) fn peek_second(&self) -> Option<u8> {
        self.octets.get(self.at + 1).copied()
    }

    /// How many octets of white space were skipped.
    #[inline]
    pub(super) fn skip_space(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at - start
    }

    /// Skip white space, mostly one space; what there was of it, and what comes next.
    #[inline]
    pub(super) fn gap(&mut self) -> (Gap, Option<u8>) {
        match (self.peek(), self.peek_second()) {
            (Some(b' '), Some(next)) if !is_space(next) => {
                self.at += 1;
                (Gap::Space, Some(next))
            }
            _ => {
                let gap = if self.skip_space() == 0 { Gap::None } else { Gap::Other };
                (gap, self.peek())
            }
        }
    }

    pub(super) fn expect(&mut self, wanted: &[u8], rule: &'static str) -> Result<(), Refusal> {
        if !self.rest().starts_with(wanted) {
            return Err(self.malformed(rule));
        }
        self.at += wanted.len();
        Ok(())
    }

    /// Namespaces production [7], `QName`; where it is known.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Slot, Refusal> {
        match self.names.expected(self.octets, self.at) {
            Some((slot, len)) => {
                self.at += len;
                Ok(slot)
            }
            None => self.other_name(),
        }
    }

    /// A name that is not the expected one.
    #[inline(never)]
    fn other_name(&mut self) -> Result<Slot, Refusal> {
        let name = self.new_name()?;
        Ok(self.names.keep(self.octets, name))
    }

    /// The name in this slot, which was read from `start` to here.
    #[inline]
    pub(super) fn named(&self, slot: Slot, start: usize) -> Name {
        Name {
            start: narrow(start),
            len: short(self.at - start),
            prefix_len: self.names.at(slot).prefix_len,
            binding: DeclarationId::NONE,
        }
    }

    fn new_name(&mut self) -> Result<Name, Refusal> {
        let start = self.at;
        let first = self.ncname()?;
        let mut prefix_len = 0;
        if self.peek() == Some(b':') {
            self.at += 1;
            self.ncname()?;
            prefix_len = first;
            if self.peek() == Some(b':') {
                return Err(self.malformed("a name has at most one colon"));
            }
        }
        let len = self.at - start;
        if len > self.longest_name {
            return Err(self.past(Limit::Name, self.longest_name));
        }
        Ok(Name {
            start: narrow(start),
            len: short(len),
            prefix_len: short(prefix_len),
            binding: DeclarationId::NONE,
        })
    }

    #[inline]
    fn ncname(&mut self) -> Result<usize, Refusal> {
        let len = ncname_len(self.rest());
        if len == 0 {
            return Err(self.malformed("a name is expected here"));
        }
        self.at += len;
        Ok(len)
    }

    /// Production [25].
    pub(super) fn equals(&mut self) -> Result<(), Refusal> {
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Err(self.malformed("an attribute has a value"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    pub(super) fn quote(&mut self) -> Result<u8, Refusal> {
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                Ok(quote)
            }
            _ => Err(self.malformed("a value stands in quotes")),
        }
    }

    /// Production [10] behind its opening quote; whether the raw value is its own canonical form.
    #[inline]
    pub(super) fn attribute_value(&mut self, quote: u8) -> Result<(Span, bool), Refusal> {
        let start = self.at;
        let first_end = if quote == b'"' { quoted_end } else { ordinary_end };
        self.at = first_end(self.octets, start);
        let plain = self.peek() == Some(quote) || self.rest_of_value(quote)?;
        let end = self.at;
        if end - start > self.limits.value {
            self.at = start + self.limits.value;
            return Err(self.past(Limit::Value, self.limits.value));
        }
        self.at += 1;
        Ok((Span::new(start, end), plain))
    }

    /// The same from an octet on that is not ordinary, up to the closing quote.
    #[inline(never)]
    fn rest_of_value(&mut self, quote: u8) -> Result<bool, Refusal> {
        let mut plain = true;
        loop {
            match self.peek() {
                Some(octet) if octet == quote => return Ok(plain),
                Some(b'&') => {
                    self.reference()?;
                    plain = false;
                }
                Some(b'<') => return Err(self.malformed("< stands in an attribute value")),
                Some(b'\'') => self.at += 1,
                Some(_) => {
                    self.at += 1;
                    plain = false;
                }
                None => return Err(self.malformed("a quoted value has no end")),
            }
            self.at = ordinary_end(self.octets, self.at);
        }
    }

    /// Production [67], with the five entities of XML itself; how it is written.
    pub(super) fn reference(&mut self) -> Result<&'d [u8], Refusal> {
        let Some((_, rest)) = text::reference(self.rest()) else {
            return Err(self.malformed("a reference names no character"));
        };
        if self.references == self.limits.references {
            return Err(self.past(Limit::References, self.limits.references));
        }
        self.references += 1;
        let start = self.at;
        self.at = self.octets.len() - rest.len();
        Ok(self.since(start))
    }

    #[cold]
    pub(super) fn malformed(&self, rule: &'static str) -> Refusal {
        malformed(self.at, rule)
    }

    #[cold]
    pub(super) fn past(&self, limit: Limit, bound: usize) -> Refusal {
        Error::Limit { limit, bound, offset: self.at }.into()
    }
}

/// The white space between attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    None,
    /// One space, as Canonical XML writes it.
    Space,
    Other,
}

#[cold]
pub(super) fn malformed(offset: usize, rule: &'static str) -> Refusal {
    Error::malformed(offset, rule).into()
}

/// A count that `Limits` keeps within 16 bits.
#[inline]
pub(super) fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
