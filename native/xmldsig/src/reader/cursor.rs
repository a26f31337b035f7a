//! A place in the octets, and the small steps every production takes.

use crate::characters::{is_space, ncname_len, ordinary_len};
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
}

impl<'d> Cursor<'d> {
    pub(super) fn new(octets: &'d [u8], at: usize, limits: &'d Limits) -> Self {
        let longest_name = limits.name.min(Limits::OWN.name);
        Self { octets, at, limits, longest_name, references: 0 }
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

    /// How many octets of white space were skipped.
    #[inline]
    pub(super) fn skip_space(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.at - start
    }

    /// `skip_space`, quick where one space stands before something else, as mostly between attributes.
    #[inline]
    pub(super) fn separator(&mut self) -> usize {
        match self.rest() {
            &[b' ', next, ..] if !is_space(next) => {
                self.at += 1;
                1
            }
            _ => self.skip_space(),
        }
    }

    pub(super) fn expect(&mut self, wanted: &[u8], rule: &'static str) -> Result<(), Refusal> {
        if !self.rest().starts_with(wanted) {
            return Err(self.malformed(rule));
        }
        self.at += wanted.len();
        Ok(())
    }

    /// Namespaces production [7], `QName`.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Name, Refusal> {
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
    #[inline]
    pub(super) fn equals(&mut self) -> Result<(), Refusal> {
        if let [b'=', b'"', ..] = self.rest() {
            self.at += 1;
            return Ok(());
        }
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Err(self.malformed("an attribute has a value"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    #[inline]
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
        let mut plain = true;
        loop {
            self.at += ordinary_len(self.rest());
            match self.peek() {
                Some(octet) if octet == quote => break,
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
        }
        if self.at - start > self.limits.value {
            self.at = start + self.limits.value;
            return Err(self.past(Limit::Value, self.limits.value));
        }
        self.at += 1;
        Ok((Span::new(start, self.at - 1), plain))
    }

    /// Production [67], with the five entities of XML itself.
    pub(super) fn reference(&mut self) -> Result<(), Refusal> {
        let Some((_, rest)) = text::reference(self.rest()) else {
            return Err(self.malformed("a reference names no character"));
        };
        if self.references == self.limits.references {
            return Err(self.past(Limit::References, self.limits.references));
        }
        self.references += 1;
        self.at = self.octets.len() - rest.len();
        Ok(())
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

#[cold]
pub(super) fn malformed(offset: usize, rule: &'static str) -> Refusal {
    Error::malformed(offset, rule).into()
}

/// A count that `Limits` keeps within 16 bits.
#[inline]
pub(super) fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
