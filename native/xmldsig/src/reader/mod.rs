//! The strict reader: XML 1.0 (fifth edition) and Namespaces in XML 1.0, without DTD.
//!
//! Promises: what it accepts is well-formed and namespace-well-formed; every refusal names the rule and the octet; time
//! is linear in the input, nothing recurses, nothing outside the octets is looked at. Refuses: any DOCTYPE, entities
//! beyond the five, whatever passes [`Limits`].

mod cursor;
mod markup;
mod tag;

use std::borrow::Cow;
use std::collections::HashSet;

use self::cursor::Cursor;
use crate::characters::markup_place;
use crate::document::{
    Attribute, Declaration, DeclarationId, Document, Element, ElementId, Node, Piece, Span, narrow,
};
use crate::encoding::{Decoded, Encoding};
use crate::error::{Error, Refusal};
use crate::limits::Limits;
use crate::namespaces::{Scope, XML};

/// A prefix and the namespace it was bound to where a document was cut out of another.
pub(crate) type Inherited = (Vec<u8>, Vec<u8>);

/// Read a document.
///
/// # Errors
/// [`Error::Malformed`], [`Error::DtdForbidden`] or [`Error::Limit`].
pub fn read<'a>(octets: &'a [u8], limits: &Limits) -> Result<Document<'a>, Error> {
    let decoded = Decoded::new(octets, limits)?;
    let tape = tape(&decoded, &[], limits)?;
    Ok(tape.document(decoded.octets, decoded.encoding, limits))
}

/// Read octets cut out of a document, in a scope where `inherited` was bound, outermost first.
pub(crate) fn read_cut(
    octets: Vec<u8>,
    inherited: &[Inherited],
    limits: &Limits,
) -> Result<Document<'static>, Error> {
    let tape = tape(&Decoded::new(&octets, limits)?, inherited, limits)?;
    Ok(tape.document(Cow::Owned(octets), Encoding::Utf8, limits))
}

fn tape(decoded: &Decoded<'_>, inherited: &[Inherited], limits: &Limits) -> Result<Tape, Error> {
    let mut reader = Reader::new(&decoded.octets, decoded.start, limits);
    reader.inherit(inherited);
    reader.document(decoded).map_err(|refusal| decoded.located(refusal.into()))?;
    Ok(reader.tape)
}

/// The lists a document is made of, while they grow.
#[derive(Debug, Default)]
struct Tape {
    side: Vec<u8>,
    nodes: Vec<Node>,
    elements: Vec<Element>,
    attributes: Vec<Attribute>,
    declarations: Vec<Declaration>,
    inherited: u32,
}

struct Reader<'d> {
    cursor: Cursor<'d>,
    limits: &'d Limits,
    tape: Tape,
    scope: Scope,
    open: Vec<Open>,
    has_carriage_return: bool,
    /// Values of the `xml:id` attributes so far.
    xml_ids: HashSet<Vec<u8>>,
    /// Attributes on their way to their canonical place, reused from tag to tag.
    ranked: Vec<(u32, Attribute)>,
}

/// An element whose end tag is still to come.
#[derive(Debug, Clone, Copy)]
struct Open {
    element: ElementId,
    name: Span,
    /// Bindings in scope around it.
    scope: usize,
}

impl Tape {
    fn document<'s>(
        self,
        source: Cow<'s, [u8]>,
        encoding: Encoding,
        limits: &Limits,
    ) -> Document<'s> {
        let Self { side, nodes, elements, attributes, declarations, inherited } = self;
        let longest_form = limits.growth.saturating_mul(source.len() + side.len());
        Document {
            source,
            encoding,
            side,
            nodes,
            elements,
            attributes,
            declarations,
            inherited,
            longest_form,
        }
    }
}

/// How long the lists become, so that they are reserved once.
struct Expected {
    /// At least as many as there will be, but no more than octets of that number allow; so are `elements`.
    nodes: usize,
    elements: usize,
    /// About as many, and fewer where they are short.
    attributes: usize,
}

impl Expected {
    /// Cost: one vectorized pass.
    fn of(octets: &[u8]) -> Self {
        let (mut tags, mut ends, mut attributes) = (0, 0, 0);
        // In blocks that an octet can count, and without a branch in them, so that the compiler vectorizes it.
        for (block, next) in octets.chunks(128).zip(octets.get(1..).unwrap_or_default().chunks(128))
        {
            let (mut tag, mut end, mut attribute) = (0_u8, 0_u8, 0_u8);
            for (&octet, &next) in block.iter().zip(next) {
                let is = |wanted: u8| u8::from(octet == wanted);
                let is_next = |wanted: u8| u8::from(next == wanted);
                tag = tag.wrapping_add(is(b'<'));
                end = end.wrapping_add(is(b'<') & is_next(b'/'));
                attribute = attribute.wrapping_add(is(b'=') & (is_next(b'"') | is_next(b'\'')));
            }
            tags += usize::from(tag);
            ends += usize::from(end);
            attributes += usize::from(attribute);
        }
        // The shortest element has four octets, the shortest tag three. An element makes two nodes, and text follows a tag.
        let elements = (tags - ends).min(octets.len() / 4);
        let nodes = 2 * elements + tags.min(octets.len() / 3);
        Self { nodes, elements, attributes: attributes.min(octets.len() / 16) }
    }
}

impl<'d> Reader<'d> {
    fn new(octets: &'d [u8], at: usize, limits: &'d Limits) -> Self {
        let expected = Expected::of(octets);
        let tape = Tape {
            nodes: Vec::with_capacity(expected.nodes),
            elements: Vec::with_capacity(expected.elements),
            attributes: Vec::with_capacity(expected.attributes),
            ..Tape::default()
        };
        Self {
            cursor: Cursor::new(octets, at, limits),
            limits,
            tape,
            scope: Scope::default(),
            open: Vec::new(),
            has_carriage_return: memchr::memchr(b'\r', octets).is_some(),
            xml_ids: HashSet::new(),
            ranked: Vec::new(),
        }
    }

    fn inherit(&mut self, inherited: &[Inherited]) {
        let none = Piece::Side(Span::EMPTY);
        self.tape.declarations.push(Declaration {
            prefix: none,
            uri: none,
            same: DeclarationId::NONE,
            offset: 0,
            verbatim: false,
        });
        let xml = (b"xml".to_vec(), XML.as_bytes().to_vec());
        for (prefix, uri) in std::iter::once(&xml).chain(inherited) {
            let (prefix, uri) = (self.aside(prefix), self.aside(uri));
            self.bind(prefix, uri, 0, false);
        }
        self.tape.inherited = narrow(self.tape.declarations.len());
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
            match self.cursor.rest() {
                [b'<', b'/', ..] => self.end_tag()?,
                [b'<', b'?', ..] => self.instruction()?,
                [b'<', b'!', b'-', b'-', ..] => self.comment()?,
                [b'<', b'!', b'[', ..] => self.cdata()?,
                [b'<', b'!', ..] => return Err(self.cursor.malformed(nowhere)),
                [b'<', ..] => self.start_tag()?,
                _ => self.character_data()?,
            }
        }
        Ok(())
    }

    /// Production [14], with the references of production [43].
    fn character_data(&mut self) -> Result<(), Refusal> {
        let cursor = &mut self.cursor;
        let start = cursor.at;
        let mut plain = true;
        loop {
            let Some(length) = markup_place(cursor.rest()) else {
                cursor.at = cursor.octets.len();
                return Err(cursor.malformed("the document ends inside an element"));
            };
            cursor.at += length;
            match cursor.peek() {
                Some(b'&') => {
                    cursor.reference()?;
                    plain = false;
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
        if self.has_carriage_return && plain {
            plain = !cursor.since(start).contains(&b'\r');
        }
        self.tape.nodes.push(Node::Text { span: Span::new(start, cursor.at), plain });
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
        let id = DeclarationId(narrow(self.tape.declarations.len()));
        let mut declaration = Declaration { prefix, uri, same: id, offset, verbatim };
        let (octets, side) = (self.cursor.octets, &self.tape.side);
        declaration.same = self.scope.push(id, declaration, |piece| piece_of(octets, side, piece));
        self.tape.declarations.push(declaration);
    }

    /// Keep octets that the source does not hold literally.
    fn aside(&mut self, octets: &[u8]) -> Piece {
        let start = self.tape.side.len();
        self.tape.side.extend_from_slice(octets);
        Piece::Side(Span::new(start, self.tape.side.len()))
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
