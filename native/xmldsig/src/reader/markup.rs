//! Everything in angle brackets that is not a tag: XML declaration, comments, instructions, CDATA sections.

use memchr::memmem;

use super::Reader;
use crate::characters::ncname_len;
use crate::document::{Node, Span};
use crate::encoding::Decoded;
use crate::error::Refusal;
use crate::sink::Sink;

impl<'d, S: Sink> Reader<'d, S> {
    /// Production [23]; absent is fine.
    pub(super) fn xml_declaration(&mut self, decoded: &Decoded<'_>) -> Result<(), Refusal> {
        if !matches!(
            self.cursor.rest(),
            [b'<', b'?', b'x', b'm', b'l', b' ' | b'\t' | b'\n' | b'\r', ..]
        ) {
            return Ok(());
        }
        self.cursor.at += b"<?xml".len();
        let version = self.pseudo_attribute(b"version")?;
        if !version.is_some_and(is_version) {
            return Err(self.cursor.malformed("the XML declaration states no version 1.x"));
        }
        if let Some(name) = self.pseudo_attribute(b"encoding")? {
            let offset = self.cursor.at - name.len() - 1;
            decoded.check_declaration(name, offset)?;
        }
        if let Some(value) = self.pseudo_attribute(b"standalone")? {
            if value != b"yes" && value != b"no" {
                return Err(self.cursor.malformed("standalone is yes or no"));
            }
        }
        self.cursor.skip_space();
        self.cursor.expect(b"?>", "the XML declaration is not as production [23] says")
    }

    /// White space, a name, `=` and a quoted value; the value, or None where another name or the end follows.
    fn pseudo_attribute(&mut self, name: &[u8]) -> Result<Option<&'d [u8]>, Refusal> {
        let before = self.cursor.at;
        if self.cursor.skip_space() == 0 || !self.cursor.rest().starts_with(name) {
            self.cursor.at = before;
            return Ok(None);
        }
        self.cursor.at += name.len();
        self.cursor.equals()?;
        let quote = self.cursor.quote()?;
        let start = self.cursor.at;
        let Some(length) = memchr::memchr(quote, self.cursor.rest()) else {
            return Err(self.cursor.malformed("a quoted value has no end"));
        };
        self.cursor.at += length + 1;
        Ok(self.cursor.octets.get(start..start + length))
    }

    /// Production [15]: no `--` inside, none of its dashes part of the end.
    pub(super) fn comment(&mut self) -> Result<(), Refusal> {
        self.cursor.at += b"<!--".len();
        let start = self.cursor.at;
        let Some(length) = memmem::find(self.cursor.rest(), b"--") else {
            return Err(self.cursor.malformed("a comment has no end"));
        };
        self.cursor.at += length;
        let span = Span::new(start, self.cursor.at);
        self.cursor.expect(b"-->", "-- stands inside a comment")?;
        self.sink.node(Node::Comment(span));
        Ok(())
    }

    /// Production [16]; the target is no `xml` in any case and, per Namespaces section 7, holds no colon.
    pub(super) fn instruction(&mut self) -> Result<(), Refusal> {
        let opening = self.cursor.at;
        self.cursor.at += b"<?".len();
        let start = self.cursor.at;
        let target_len = ncname_len(self.cursor.rest());
        self.cursor.at += target_len;
        let target = self.cursor.since(start);
        if target_len == 0 || target.eq_ignore_ascii_case(b"xml") {
            self.cursor.at = opening;
            return Err(self.cursor.malformed("an instruction has no legal target"));
        }
        let spaced = self.cursor.skip_space() > 0;
        let Some(length) = memmem::find(self.cursor.rest(), b"?>") else {
            return Err(self.cursor.malformed("an instruction has no end"));
        };
        if length > 0 && !spaced {
            return Err(self
                .cursor
                .malformed("white space separates an instruction's target and data"));
        }
        self.cursor.at += length;
        self.sink.node(Node::Instruction(Span::new(start, self.cursor.at)));
        self.cursor.at += b"?>".len();
        Ok(())
    }

    /// Production [18].
    pub(super) fn cdata(&mut self) -> Result<(), Refusal> {
        self.cursor.expect(b"<![CDATA[", "no declaration may stand here")?;
        let start = self.cursor.at;
        let Some(length) = memmem::find(self.cursor.rest(), b"]]>") else {
            return Err(self.cursor.malformed("a CDATA section has no end"));
        };
        self.cursor.at += length;
        self.sink.node(Node::Cdata(Span::new(start, self.cursor.at)));
        self.cursor.at += b"]]>".len();
        Ok(())
    }
}

/// Production [26].
fn is_version(version: &[u8]) -> bool {
    matches!(version, [b'1', b'.', digits @ ..]
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}
