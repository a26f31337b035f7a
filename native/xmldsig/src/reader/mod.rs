//! The strict reader: XML 1.0 (fifth edition) and Namespaces in XML 1.0, without DTD.
//!
//! Promises: what it accepts is well-formed and namespace-well-formed; every refusal names the rule and the octet; time
//! is linear in the input, nothing recurses, nothing outside the octets is looked at. Refuses: any DOCTYPE, entities
//! beyond the five, whatever passes [`Limits`].

mod cursor;
mod markup;
mod names;
mod order;
mod tag;
mod tape;

use std::borrow::Cow;
use std::collections::HashSet;

use self::cursor::Cursor;
use self::order::Ranked;
use self::tape::Tape;
use crate::characters::markup_place;
use crate::document::{Attribute, Declaration, DeclarationId, Document, Node, Piece, Span, narrow};
use crate::encoding::{Decoded, Encoding};
use crate::error::{Error, Refusal};
use crate::limits::Limits;
use crate::namespaces::{Scope, XML};
use crate::sink::Sink;

/// A prefix and the namespace it was bound to where a document was cut out of another.
pub(crate) type Inherited = (Vec<u8>, Vec<u8>);

/// Read a document.
///
/// # Errors
/// [`Error::Malformed`], [`Error::DtdForbidden`] or [`Error::Limit`].
pub fn read<'a>(octets: &'a [u8], limits: &Limits) -> Result<Document<'a>, Error> {
    let decoded = Decoded::new(octets, limits)?;
    let lists = tape(&decoded, &[], limits)?;
    Ok(lists.document(decoded.octets, decoded.encoding, limits))
}

/// Read octets cut out of a document, in a scope where `inherited` was bound, outermost first.
pub(crate) fn read_cut(
    octets: Vec<u8>,
    inherited: &[Inherited],
    limits: &Limits,
) -> Result<Document<'static>, Error> {
    let lists = tape(&Decoded::new(&octets, limits)?, inherited, limits)?;
    Ok(lists.document(Cow::Owned(octets), Encoding::Utf8, limits))
}

/// Read a document to a sink and keep nothing of it.
pub(crate) fn read_to(
    sink: &mut impl Sink,
    decoded: &Decoded<'_>,
    limits: &Limits,
) -> Result<(), Error> {
    let mut reader = Reader::new(decoded, sink, limits);
    reader.inherit(&[]);
    reader.document(decoded).map_err(|refusal| decoded.located(refusal.into()))
}

fn tape(decoded: &Decoded<'_>, inherited: &[Inherited], limits: &Limits) -> Result<Lists, Error> {
    let mut tape = Tape::new(&decoded.octets);
    let mut reader = Reader::new(decoded, &mut tape, limits);
    reader.inherit(inherited);
    reader.document(decoded).map_err(|refusal| decoded.located(refusal.into()))?;
    let Reader { side, declarations, inherited, .. } = reader;
    Ok(Lists { tape, side, declarations, inherited })
}

/// What a document is made of, beside its octets.
struct Lists {
    tape: Tape,
    side: Vec<u8>,
    declarations: Vec<Declaration>,
    inherited: u32,
}

struct Reader<'d, S> {
    cursor: Cursor<'d>,
    limits: &'d Limits,
    sink: &'d mut S,
    side: Vec<u8>,
    declarations: Vec<Declaration>,
    inherited: u32,
    scope: Scope,
    open: Vec<Open>,
    carriage_return: bool,
    /// Values of the `xml:id` attributes so far.
    xml_ids: HashSet<Vec<u8>>,
    /// Those of the tag being read.
    attributes: Vec<Attribute>,
    /// Attributes on their way to their canonical place, reused from tag to tag.
    ranked: Vec<Ranked>,
}

/// An element whose end tag is still to come.
#[derive(Debug, Clone, Copy)]
struct Open {
    name: Span,
    /// Bindings in scope around it.
    scope: usize,
}

impl Lists {
    fn document<'s>(
        self,
        source: Cow<'s, [u8]>,
        encoding: Encoding,
        limits: &Limits,
    ) -> Document<'s> {
        let Self { tape, side, declarations, inherited } = self;
        let longest_form = limits.growth.saturating_mul(source.len() + side.len());
        Document {
            source,
            encoding,
            side,
            nodes: tape.nodes,
            elements: tape.elements,
            attributes: tape.attributes,
            declarations,
            inherited,
            longest_form,
        }
    }
}

impl<'d, S: Sink> Reader<'d, S> {
    fn new(decoded: &'d Decoded<'_>, sink: &'d mut S, limits: &'d Limits) -> Self {
        Self {
            cursor: Cursor::new(&decoded.octets, decoded.start, limits),
            limits,
            sink,
            side: Vec::new(),
            declarations: Vec::with_capacity(16),
            inherited: 0,
            scope: Scope::default(),
            open: Vec::with_capacity(16),
            carriage_return: decoded.scanned.carriage_return,
            xml_ids: HashSet::new(),
            attributes: Vec::with_capacity(8),
            ranked: Vec::new(),
        }
    }

    fn inherit(&mut self, inherited: &[Inherited]) {
        let none = Piece::Side(Span::EMPTY);
        self.bind(none, none, 0, false);
        self.bind_aside(b"xml", XML.as_bytes());
        for (prefix, uri) in inherited {
            self.bind_aside(prefix, uri);
        }
        self.inherited = narrow(self.declarations.len());
    }

    fn document(&mut self, decoded: &Decoded<'_>) -> Result<(), Refusal> {
        self.xml_declaration(decoded)?;
        self.misc()?;
        if self.cursor.peek() != Some(b'<') {
            return Err(self.cursor.malformed("a document starts with an element"));
        }
        self.start_tag()?;
        self.content()?;
        self.misc()?;
        if self.cursor.peek().is_some() {
            let rule = "nothing but comments and instructions follow the root";
            return Err(self.cursor.malformed(rule));
        }
        Ok(())
    }

    /// Everything up to the end tag of the root.
    fn content(&mut self) -> Result<(), Refusal> {
        let nowhere = "no declaration may stand here";
        while !self.open.is_empty() {
            if self.cursor.peek() != Some(b'<') {
                self.character_data()?;
            }
            match self.cursor.peek_second() {
                Some(b'/') => self.end_tag()?,
                Some(b'?') => self.instruction()?,
                Some(b'!') => match self.cursor.rest() {
                    [_, _, b'-', b'-', ..] => self.comment()?,
                    [_, _, b'[', ..] => self.cdata()?,
                    _ => return Err(self.cursor.malformed(nowhere)),
                },
                _ => self.start_tag()?,
            }
        }
        Ok(())
    }

    /// Production [14], with the references of production [43].
    #[inline]
    fn character_data(&mut self) -> Result<(), Refusal> {
        let cursor = &mut self.cursor;
        let start = cursor.at;
        let mut plain = true;
        loop {
            let Some(place) = markup_place(cursor.octets, cursor.at) else {
                cursor.at = cursor.octets.len();
                return Err(cursor.malformed("the document ends inside an element"));
            };
            cursor.at = place;
            match cursor.peek() {
                Some(b'&') => {
                    let written = cursor.reference()?;
                    plain &= matches!(written, b"&amp;" | b"&lt;" | b"&gt;");
                }
                Some(b'>') => {
                    if cursor.since(start).ends_with(b"]]") {
                        return Err(cursor.malformed("]]> stands outside a CDATA section"));
                    }
                    cursor.at += 1;
                    plain = false;
                }
                _ => break,
            }
        }
        if self.carriage_return && plain {
            plain = !cursor.since(start).contains(&b'\r');
        }
        self.sink.node(Node::Text { span: Span::new(start, cursor.at), plain });
        Ok(())
    }

    /// Production [27], as often as it comes.
    fn misc(&mut self) -> Result<(), Refusal> {
        loop {
            self.cursor.skip_space();
            match self.cursor.rest() {
                [b'<', b'?', ..] => self.instruction()?,
                [b'<', b'!', b'-', b'-', ..] => self.comment()?,
                rest if rest.starts_with(b"<!DOCTYPE") => {
                    return Err(Error::DtdForbidden { offset: self.cursor.at }.into());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Record a declaration and bring it into scope.
    fn bind(&mut self, prefix: Piece, uri: Piece, offset: u32, verbatim: bool) {
        let (octets, side) = (self.cursor.octets, &self.side);
        let piece = |piece| piece_of(octets, side, piece);
        let id = DeclarationId(narrow(self.declarations.len()));
        let mut declaration = Declaration { prefix, uri, same: id, offset, verbatim };
        let returns = self.scope.returns(piece(prefix), piece(uri), piece);
        declaration.same = self.scope.push(id, declaration, returns, piece);
        self.declarations.push(declaration);
    }

    /// Bring into scope what was bound outside.
    fn bind_aside(&mut self, prefix: &[u8], uri: &[u8]) {
        let (prefix, uri) = (self.aside(prefix), self.aside(uri));
        self.bind(prefix, uri, 0, false);
    }

    /// Keep octets that the source does not hold literally.
    fn aside(&mut self, octets: &[u8]) -> Piece {
        let start = self.side.len();
        self.side.extend_from_slice(octets);
        Piece::Side(Span::new(start, self.side.len()))
    }
}

fn piece_of<'o>(source: &'o [u8], side: &'o [u8], piece: Piece) -> &'o [u8] {
    match piece {
        Piece::Source(span) => span.of(source),
        Piece::Side(span) => span.of(side),
    }
}

#[cfg(test)]
mod tests;
