//! Canonical XML 1.0 and 1.1 and Exclusive XML Canonicalization 1.0, of a document or of one element.
//!
//! One walk over the tape. What the source already writes canonically is copied in runs, so that a document in canonical
//! form costs a copy; everything else is rebuilt piece by piece. A namespace that is a relative URI cannot be
//! canonicalized (Canonical XML 1.0, 1.3) and is refused.

mod declarations;
mod inherit;
mod join;
mod output;
mod tag;

use self::inherit::Inherited;
use self::output::Output;
use crate::characters::is_space;
use crate::document::{DeclarationId, Document, Element, ElementId, Node, Span, narrow, wide};
use crate::error::{Error, Limit};
use crate::text;
use crate::uri::is_absolute;

/// Which namespace declarations a canonical form writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Exclusive XML Canonicalization 1.0: those visibly used.
    Exclusive,
    /// Canonical XML 1.0: all in scope.
    Inclusive,
    /// Canonical XML 1.1: likewise; an element takes over other attributes of its ancestors than in 1.0.
    Inclusive11,
}

/// One canonicalization algorithm with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonicalization {
    method: Method,
    comments: bool,
    /// Sorted; `#default` is the empty prefix.
    inclusive_prefixes: Vec<Vec<u8>>,
}

/// What of a document is canonicalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subset {
    Document,
    /// An element and all it holds.
    Element(ElementId),
    /// An element without one of its descendants: what an enveloped signature signs.
    Enveloping {
        element: ElementId,
        signature: ElementId,
    },
    /// The document without an element that is not its root, likewise.
    Without(ElementId),
}

impl Canonicalization {
    /// An algorithm without PrefixList.
    #[must_use]
    pub const fn new(method: Method, comments: bool) -> Self {
        Self { method, comments, inclusive_prefixes: Vec::new() }
    }

    /// The InclusiveNamespaces PrefixList of exclusive canonicalization, `#default` for the default namespace; the others
    /// keep every prefix anyway.
    #[must_use]
    pub fn with_inclusive_prefixes<'p>(mut self, prefixes: impl Iterator<Item = &'p str>) -> Self {
        let octets = |prefix: &str| if prefix == "#default" { "" } else { prefix }.into();
        self.inclusive_prefixes = prefixes.map(octets).collect();
        self.inclusive_prefixes.sort_unstable();
        self
    }

    pub(crate) const fn is_exclusive(&self) -> bool {
        matches!(self.method, Method::Exclusive)
    }

    pub(crate) fn without_comments(self) -> Self {
        Self { comments: false, ..self }
    }
}

impl Document<'_> {
    /// The canonical form of the whole document, or of the element with this ID.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a relative namespace URI, [`Error::Limit`] for a form that is too long, [`Error::Argument`]
    /// for an ID that none or several have.
    pub fn canonicalize(
        &self,
        canonicalization: &Canonicalization,
        id: Option<&str>,
    ) -> Result<Vec<u8>, Error> {
        let subset = match id {
            None => Subset::Document,
            Some(id) => Subset::Element(self.element_by_id(id)?),
        };
        let form = self.canonicalize_subset(canonicalization, subset);
        form.map_err(|error| self.encoding.located(&self.source, error))
    }

    /// As [`Self::canonicalize`], but for offsets: they count in `source`.
    pub(crate) fn canonicalize_subset(
        &self,
        canonicalization: &Canonicalization,
        subset: Subset,
    ) -> Result<Vec<u8>, Error> {
        self.check_namespaces()?;
        let (apex, skipped) = match subset {
            Subset::Document => (Self::ROOT, None),
            Subset::Element(element) => (element, None),
            Subset::Enveloping { element, signature } => (element, Some(signature)),
            Subset::Without(signature) => (Self::ROOT, Some(signature)),
        };
        let whole = matches!(subset, Subset::Document | Subset::Without(_));
        let root = self.element(apex);
        let mut canonicalizer = Canonicalizer {
            document: self,
            canonicalization,
            apex,
            output: Output::new(&self.source, root.whole().of(&self.source).len()),
            rendered: Vec::new(),
            marks: Vec::new(),
            fresh: Vec::new(),
            value: Vec::new(),
        };
        let (first, last) = (root.first_node, root.last_node);
        if whole {
            canonicalizer.around(0, first, false);
        }
        canonicalizer.inside(first, last, skipped)?;
        if whole {
            canonicalizer.around(last + 1, narrow(self.nodes.len()), true);
        }
        Ok(canonicalizer.output.finish())
    }

    /// Canonical XML 1.0, 1.3: a document with relative namespace URIs has no canonical form, and neither has a part of it.
    /// What a document inherited from where it was cut out counts where it is written.
    pub(crate) fn check_namespaces(&self) -> Result<(), Error> {
        let own = self.inherited..narrow(self.declarations.len());
        own.map(DeclarationId).try_for_each(|id| self.check_absolute(id))
    }

    fn check_absolute(&self, id: DeclarationId) -> Result<(), Error> {
        let uri = self.uri(id);
        if uri.is_empty() || is_absolute(uri) {
            return Ok(());
        }
        let offset = wide(self.declaration(id).offset);
        Err(Error::malformed(offset, "a relative namespace URI has no canonical form"))
    }
}

struct Canonicalizer<'d> {
    document: &'d Document<'d>,
    canonicalization: &'d Canonicalization,
    apex: ElementId,
    output: Output<'d>,
    /// Declarations written by the elements around, innermost last.
    rendered: Vec<DeclarationId>,
    /// How many were written before each open element.
    marks: Vec<usize>,
    /// Declarations the current tag writes.
    fresh: Vec<DeclarationId>,
    value: Vec<u8>,
}

impl Canonicalizer<'_> {
    /// Comments and instructions beside the root, each on its line.
    fn around(&mut self, from: u32, to: u32, after: bool) {
        for index in from..to {
            let Some(&node) = self.document.nodes.get(wide(index)) else {
                break;
            };
            if matches!(node, Node::Comment(_)) && !self.canonicalization.comments {
                continue;
            }
            if after {
                self.output.write(b"\n");
            }
            self.rewrite(node);
            if !after {
                self.output.write(b"\n");
            }
        }
    }

    fn inside(&mut self, first: u32, last: u32, skipped: Option<ElementId>) -> Result<(), Error> {
        let Some(skipped) = skipped.map(|id| self.document.element(id)) else {
            return self.nodes(first, last + 1);
        };
        self.nodes(first, skipped.first_node)?;
        self.nodes(skipped.last_node + 1, last + 1)
    }

    fn nodes(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let document = self.document;
        for &node in document.nodes.get(wide(from)..wide(to)).unwrap_or_default() {
            match node {
                Node::Start(id) => self.start(id)?,
                Node::End(id) => self.end(id),
                Node::Text { span, plain: true } => self.output.copy(span),
                _ => self.rewrite(node),
            }
        }
        Ok(())
    }

    /// A node that is no tag, where its octets may not be its canonical form.
    fn rewrite(&mut self, node: Node) {
        let source = &self.document.source;
        match node {
            Node::Start(_) | Node::End(_) => {}
            Node::Text { span, .. } => {
                self.value.clear();
                text::read_text(span.of(source), &mut self.value);
                text::write_text(&self.value, self.output.buffer());
            }
            Node::Cdata(span) => {
                self.value.clear();
                text::read_cdata(span.of(source), &mut self.value);
                text::write_text(&self.value, self.output.buffer());
            }
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

    #[inline]
    fn start(&mut self, id: ElementId) -> Result<(), Error> {
        let element = self.document.element(id);
        self.marks.push(self.rendered.len());
        if element.verbatim && id != self.apex && self.adds_nothing(element) {
            self.output.copy(element.tag());
            return Ok(());
        }
        self.start_with_declarations(id, element)
    }

    fn start_with_declarations(&mut self, id: ElementId, element: &Element) -> Result<(), Error> {
        self.fresh.clear();
        self.collect(id, element)?;
        let inherited = if id == self.apex {
            Inherited::of(self.document, element, self.canonicalization.method)
        } else {
            Inherited::default()
        };
        let writes_its_own = self.fresh.len() == usize::from(element.declaration_count)
            && self.fresh.iter().all(|id| id.0 >= element.first_declaration);
        if element.verbatim && writes_its_own && inherited.is_empty() {
            self.output.copy(element.tag());
        } else {
            self.write_start(element, &inherited);
            self.check_growth(element)?;
        }
        self.rendered.extend_from_slice(&self.fresh);
        Ok(())
    }

    /// Only declarations that are repeated make a form much longer than its document, and they stand in start tags.
    fn check_growth(&self, element: &Element) -> Result<(), Error> {
        let bound = self.document.longest_form;
        if self.output.len() <= bound {
            return Ok(());
        }
        Err(Error::Limit { limit: Limit::Growth, bound, offset: wide(element.tag().start) })
    }

    #[inline]
    fn end(&mut self, id: ElementId) {
        if let Some(mark) = self.marks.pop() {
            self.rendered.truncate(mark);
        }
        let element = self.document.element(id);
        let len = u32::from(element.name.len);
        if element.verbatim_end {
            self.output.copy(Span { start: element.end - len - 3, end: element.end });
        } else {
            self.output.write(b"</");
            self.output.copy(element.name.span());
            self.output.write(b">");
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
}

#[cfg(test)]
mod tests;
