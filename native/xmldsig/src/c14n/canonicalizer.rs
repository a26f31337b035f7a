//! Canonical XML 1.0 and 1.1 and Exclusive XML Canonicalization 1.0 of what it is told, tag by tag.
//!
//! What the source already writes canonically is copied in runs, so that a document in canonical form costs a copy;
//! everything else is rebuilt piece by piece.

use super::Canonicalization;
use super::inherit::Inherited;
use super::output::{Output, PIECE};
use crate::characters::is_space;
use crate::document::{DeclarationId, Node, Span, wide};
use crate::error::{Error, Limit, Refusal};
use crate::sink::{EndTag, Places, Sink, Tag};
use crate::text;

pub(super) struct Canonicalizer<'d> {
    pub(super) canonicalization: &'d Canonicalization,
    pub(super) output: Output<'d>,
    /// Octets that a form may have.
    longest: usize,
    /// Open elements.
    depth: usize,
    /// The root came by.
    has_root: bool,
    /// Declarations written by the elements around, innermost last, each with the depth of its element.
    pub(super) rendered: Vec<(DeclarationId, usize)>,
    /// Declarations the current tag writes.
    pub(super) fresh: Vec<DeclarationId>,
    pub(super) value: Vec<u8>,
}

impl<'d> Canonicalizer<'d> {
    pub(super) fn new(
        canonicalization: &'d Canonicalization,
        output: Output<'d>,
        longest: usize,
    ) -> Self {
        Self {
            canonicalization,
            output,
            longest,
            depth: 0,
            has_root: false,
            rendered: Vec::with_capacity(16),
            fresh: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The start tag of an element whose ancestors are not told of: what it takes over from them is `inherited`, and those of
    /// their declarations it needs, with its own, are in `in_scope`.
    pub(super) fn start_apex(
        &mut self,
        places: Places<'_>,
        tag: &Tag<'_>,
        in_scope: &[DeclarationId],
        inherited: &Inherited,
    ) -> Result<(), Refusal> {
        self.enter();
        self.collect(places, tag, in_scope.iter().copied())?;
        self.write_tag(places, tag, inherited)
    }

    #[inline(never)]
    fn start_with_declarations(
        &mut self,
        places: Places<'_>,
        tag: &Tag<'_>,
    ) -> Result<(), Refusal> {
        self.collect(places, tag, tag.declarations())?;
        self.write_tag(places, tag, &Inherited::default())
    }

    fn enter(&mut self) {
        self.depth += 1;
        self.has_root = true;
    }

    fn write_tag(
        &mut self,
        places: Places<'_>,
        tag: &Tag<'_>,
        inherited: &Inherited,
    ) -> Result<(), Refusal> {
        let writes_its_own = self.fresh.len() == usize::from(tag.declaration_count)
            && self.fresh.iter().all(|id| id.0 >= tag.first_declaration);
        if tag.verbatim && writes_its_own && inherited.is_empty() {
            self.output.copy(tag.span());
        } else {
            self.write_start(places, tag, inherited);
            self.check_growth(tag)?;
        }
        let depth = self.depth;
        self.rendered.extend(self.fresh.iter().map(|&id| (id, depth)));
        Ok(())
    }

    /// Only declarations that are repeated make a form much longer than its document, and they stand in start tags.
    fn check_growth(&self, tag: &Tag<'_>) -> Result<(), Refusal> {
        let bound = self.longest;
        if self.output.len() <= bound {
            return Ok(());
        }
        Err(Error::Limit { limit: Limit::Growth, bound, offset: wide(tag.span().start) }.into())
    }

    /// Comments and instructions beside the root stand each on its line.
    #[cold]
    fn beside_root(&mut self, node: Node) {
        if matches!(node, Node::Comment(_)) && !self.canonicalization.comments {
            return;
        }
        if self.has_root {
            self.output.write(b"\n");
        }
        self.rewrite(node);
        if !self.has_root {
            self.output.write(b"\n");
        }
    }

    /// A node that is no tag, where its octets may not be its canonical form.
    fn rewrite(&mut self, node: Node) {
        let source = self.output.source();
        match node {
            Node::Start(_) | Node::End(_) => {}
            Node::Text { span, .. } => self.write_text(span.of(source), text::read_text),
            Node::Cdata(span) => self.write_text(span.of(source), text::read_cdata),
            Node::Comment(span) => {
                if self.canonicalization.comments {
                    self.output.write(b"<!--");
                    text::read_cdata(span.of(source), self.output.buffer());
                    self.output.write(b"-->");
                }
            }
            Node::Instruction(span) => self.instruction(span.of(source)),
        }
    }

    fn write_text(&mut self, raw: &[u8], read: fn(&[u8], &mut Vec<u8>)) {
        self.value.clear();
        self.value.reserve(raw.len());
        read(raw, &mut self.value);
        for piece in self.value.chunks(PIECE) {
            text::write_text(piece, self.output.buffer());
        }
    }

    /// Target, one space, data; no space where there is no data.
    fn instruction(&mut self, raw: &[u8]) {
        let end = raw.iter().position(|&octet| is_space(octet)).unwrap_or(raw.len());
        let (target, data) = raw.split_at(end);
        let data = data.trim_ascii_start();
        self.output.write(b"<?");
        self.output.write(target);
        if !data.is_empty() {
            self.output.write(b" ");
            text::read_cdata(data, self.output.buffer());
        }
        self.output.write(b"?>");
    }

    /// What is written of a tag that ends in `/>` or holds white space.
    fn write_end(&mut self, name: Span) {
        self.output.write(b"</");
        self.output.copy(name);
        self.output.write(b">");
    }
}

impl Sink for Canonicalizer<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for every tag: a profile asked for it")]
    fn start(&mut self, places: Places<'_>, tag: &Tag<'_>) -> Result<(), Refusal> {
        self.enter();
        if tag.verbatim && self.adds_nothing(tag) {
            self.output.copy(tag.span());
            return Ok(());
        }
        self.start_with_declarations(places, tag)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for every tag: a profile asked for it")]
    fn end(&mut self, tag: EndTag) {
        while self.rendered.last().is_some_and(|written| written.1 == self.depth) {
            self.rendered.pop();
        }
        self.depth -= 1;
        if tag.verbatim {
            let len = tag.name.end - tag.name.start;
            self.output.copy(Span { start: tag.end - len - 3, end: tag.end });
        } else {
            self.write_end(tag.name);
        }
    }

    #[inline]
    fn node(&mut self, node: Node) {
        match node {
            Node::Text { span, plain: true } => self.output.copy(span),
            _ if self.depth == 0 => self.beside_root(node),
            _ => self.rewrite(node),
        }
    }
}
