//! Canonical XML 1.0 and 1.1 and Exclusive XML Canonicalization 1.0, of a document or of one element.
//!
//! One canonicalizer, told by the reader while it reads, or by a walk over a document that was read. A namespace that is a
//! relative URI cannot be canonicalized (Canonical XML 1.0, 1.3) and is refused.

mod canonicalizer;
mod declarations;
mod digest;
mod inherit;
mod join;
mod output;
mod tag;

use self::canonicalizer::Canonicalizer;
use self::inherit::Inherited;
use self::output::Output;
use crate::document::{DeclarationId, Document, ElementId, Node, narrow, wide};
use crate::error::{Error, Refusal};
use crate::sink::{Places, Sink};
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

    /// Declarations are written that no name uses.
    pub(crate) fn lists_declarations(&self) -> bool {
        !self.is_exclusive() || !self.inclusive_prefixes.is_empty()
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
        let root = self.element(apex);
        let (from, to) = match subset {
            Subset::Document | Subset::Without(_) => (0, narrow(self.nodes.len())),
            Subset::Element(_) | Subset::Enveloping { .. } => (root.first_node, root.last_node + 1),
        };
        let output = Output::new(&self.source, root.whole().of(&self.source).len());
        let mut canonicalizer = Canonicalizer::new(canonicalization, output, self.longest_form);
        match skipped.map(|id| self.element(id)) {
            None => self.tell(&mut canonicalizer, apex, from, to)?,
            Some(skipped) => {
                self.tell(&mut canonicalizer, apex, from, skipped.first_node)?;
                self.tell(&mut canonicalizer, apex, skipped.last_node + 1, to)?;
            }
        }
        Ok(canonicalizer.output.finish())
    }

    /// Tell a stretch of nodes.
    fn tell(
        &self,
        canonicalizer: &mut Canonicalizer<'_>,
        apex: ElementId,
        from: u32,
        to: u32,
    ) -> Result<(), Refusal> {
        let places = self.places();
        for &node in self.nodes.get(wide(from)..wide(to)).unwrap_or_default() {
            match node {
                Node::Start(id) if id == apex => self.tell_apex(canonicalizer, apex)?,
                Node::Start(id) => canonicalizer.start(places, &self.tag(self.element(id)))?,
                Node::End(id) => canonicalizer.end(self.element(id).end_tag()),
                _ => canonicalizer.node(node),
            }
        }
        Ok(())
    }

    fn tell_apex(
        &self,
        canonicalizer: &mut Canonicalizer<'_>,
        apex: ElementId,
    ) -> Result<(), Refusal> {
        let Canonicalization { method, .. } = *canonicalizer.canonicalization;
        let element = self.element(apex);
        let inherited = Inherited::of(self, element, method);
        let mut in_scope = Vec::new();
        if canonicalizer.canonicalization.lists_declarations() {
            in_scope = self.in_scope(apex);
            // Of what was bound where the document was cut out, inclusive canonicalization writes only what is used.
            in_scope.retain(|id| method == Method::Exclusive || id.0 >= self.inherited);
        }
        canonicalizer.start_apex(self.places(), &self.tag(element), &in_scope, &inherited)
    }

    /// Canonical XML 1.0, 1.3: a document with relative namespace URIs has no canonical form, and neither has a part of it.
    /// What a document inherited from where it was cut out counts where it is written.
    pub(crate) fn check_namespaces(&self) -> Result<(), Error> {
        let own = self.inherited..narrow(self.declarations.len());
        own.map(DeclarationId).try_for_each(|id| self.places().check_absolute(id))
    }
}

impl Places<'_> {
    fn check_absolute(self, id: DeclarationId) -> Result<(), Error> {
        let uri = self.uri(id);
        if uri.is_empty() || is_absolute(uri) {
            return Ok(());
        }
        let offset = wide(self.declaration(id).offset);
        Err(Error::malformed(offset, "a relative namespace URI has no canonical form"))
    }
}

#[cfg(test)]
mod tests;
