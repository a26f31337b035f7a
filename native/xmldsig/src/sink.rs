//! What the reader tells of a document while it reads it, and to whom.
//!
//! One reader decides what is well-formed; a [`Sink`] makes something of it: the tape makes a [`crate::Document`], the
//! canonicalizer a canonical form. A document is what its sink was told only where the reader came to its end.

use crate::document::{Attribute, Declaration, DeclarationId, Name, Node, Piece, Span, wide};
use crate::error::Refusal;

/// Who listens to the reader.
pub(crate) trait Sink {
    /// A start tag, in whose place `places` is what its names and declarations point into.
    fn start(&mut self, places: Places<'_>, tag: &Tag<'_>) -> Result<(), Refusal>;

    /// The end of the innermost open element.
    fn end(&mut self, tag: EndTag);

    /// Anything but a tag.
    fn node(&mut self, node: Node);
}

/// What names, pieces and declarations are places in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'p> {
    pub(crate) source: &'p [u8],
    /// What the source does not hold literally.
    pub(crate) side: &'p [u8],
    /// The first two are [`DeclarationId::NONE`] and [`DeclarationId::XML`].
    pub(crate) declarations: &'p [Declaration],
    /// So many declarations are not the document's own.
    pub(crate) inherited: u32,
}

/// A start tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'t> {
    pub(crate) name: Name,
    /// Behind its `>`.
    pub(crate) end: u32,
    /// In canonical order.
    pub(crate) attributes: &'t [Attribute],
    /// Its own declarations stand together.
    pub(crate) first_declaration: u32,
    pub(crate) declaration_count: u16,
    /// It is its own canonical form as long as exactly its own declarations are written.
    pub(crate) verbatim: bool,
}

/// The end of an element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndTag {
    /// As the start tag has it.
    pub(crate) name: Span,
    /// Behind the `>` of the end tag; that of the start tag where it is both.
    pub(crate) end: u32,
    /// There is an end tag, without white space.
    pub(crate) verbatim: bool,
}

impl<'p> Places<'p> {
    #[inline]
    pub(crate) fn declaration(self, id: DeclarationId) -> &'p Declaration {
        #[expect(clippy::indexing_slicing, reason = "the reader makes ids from this list only")]
        &self.declarations[wide(id.0)]
    }

    #[inline]
    pub(crate) fn piece(self, piece: Piece) -> &'p [u8] {
        match piece {
            Piece::Source(span) => span.of(self.source),
            Piece::Side(span) => span.of(self.side),
        }
    }

    pub(crate) fn prefix(self, id: DeclarationId) -> &'p [u8] {
        self.piece(self.declaration(id).prefix)
    }

    pub(crate) fn uri(self, id: DeclarationId) -> &'p [u8] {
        self.piece(self.declaration(id).uri)
    }
}

impl Tag<'_> {
    /// `<` to `>`.
    #[inline]
    pub(crate) const fn span(&self) -> Span {
        Span { start: self.name.start - 1, end: self.end }
    }

    pub(crate) fn declarations(&self) -> impl Iterator<Item = DeclarationId> + use<> {
        let first = self.first_declaration;
        (first..first + u32::from(self.declaration_count)).map(DeclarationId)
    }
}
