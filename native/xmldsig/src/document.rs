//! A document that was read: a flat tape of nodes over its own octets.
//!
//! Nothing is copied and nothing is a tree of boxes: a node is a place in the octets, an element knows where its last
//! node stands, and walking is a loop. So depth costs no stack and memory is a constant per octet of input.

use std::borrow::Cow;
use std::num::NonZeroU32;

use crate::encoding::Encoding;
use crate::sink::{EndTag, Places, Tag};
use crate::text;
use crate::words::{WORD, first_of, word_at};

/// A stretch of octets, `start <= end <= len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A stretch of the source, or of the side buffer for what the source does not hold literally.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece {
    Source(Span),
    Side(Span),
}

/// An element's place among the elements, in document order, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ElementId(NonZeroU32);

/// A namespace declaration's place among the declarations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeclarationId(pub(crate) u32);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    Start(ElementId),
    End(ElementId),
    /// Raw character data; `plain` where it is its own canonical form.
    Text {
        span: Span,
        plain: bool,
    },
    /// The inside of a CDATA section.
    Cdata(Span),
    /// The inside of a comment.
    Comment(Span),
    /// The inside of a processing instruction, target first.
    Instruction(Span),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    /// Stands behind the `<` of the start tag.
    pub(crate) name: Name,
    /// Behind the `>` of the start tag.
    pub(crate) tag_end: u32,
    /// Behind the `>` of the end tag; that of the start tag where it is both.
    pub(crate) end: u32,
    pub(crate) first_node: u32,
    pub(crate) last_node: u32,
    pub(crate) parent: Option<ElementId>,
    /// Where its own begin in `attributes` and `declarations`.
    pub(crate) first_attribute: u32,
    pub(crate) first_declaration: u32,
    pub(crate) attribute_count: u16,
    pub(crate) declaration_count: u16,
    /// The start tag is its own canonical form as long as exactly its own declarations are written.
    pub(crate) verbatim: bool,
    /// There is an end tag, without white space.
    pub(crate) verbatim_end: bool,
}

/// A qualified name and the declaration its prefix resolves to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    pub(crate) start: u32,
    pub(crate) len: u16,
    pub(crate) prefix_len: u16,
    pub(crate) binding: DeclarationId,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute {
    pub(crate) name: Name,
    pub(crate) value: Span,
    /// The raw value is its own canonical form.
    pub(crate) plain: bool,
    /// So is the whole attribute, one space before it included.
    pub(crate) verbatim: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Declaration {
    pub(crate) prefix: Piece,
    pub(crate) uri: Piece,
    /// The outermost declaration around it with the same URI, or itself; [`DeclarationId::NONE`] for the empty one. So two
    /// declarations in scope of one element have equal URIs where these are equal.
    pub(crate) same: DeclarationId,
    /// Where it stands.
    pub(crate) offset: u32,
    /// The raw declaration is its own canonical form, one space before it included.
    pub(crate) verbatim: bool,
}

/// A well-formed, namespace-well-formed document.
#[derive(Debug)]
pub struct Document<'a> {
    /// UTF-8, whatever the encoding was.
    pub(crate) source: Cow<'a, [u8]>,
    pub(crate) encoding: Encoding,
    pub(crate) side: Vec<u8>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) elements: Vec<Element>,
    /// Those of one element stand together, in canonical order.
    pub(crate) attributes: Vec<Attribute>,
    /// The first two are [`DeclarationId::NONE`] and [`DeclarationId::XML`], then come those inherited from where the
    /// document was cut out, then its own.
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) inherited: u32,
    /// Octets of a canonical form.
    pub(crate) longest_form: usize,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { start: 0, end: 0 };

    /// Both places are below 4 GiB, which [`crate::Limits`] guarantees for every document.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: narrow(start), end: narrow(end) }
    }

    #[inline]
    pub(crate) fn of(self, octets: &[u8]) -> &[u8] {
        octets.get(wide(self.start)..wide(self.end)).unwrap_or_default()
    }
}

impl ElementId {
    /// The element at this index of the list.
    pub(crate) fn at(index: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(narrow(index)))
    }

    pub(crate) const fn index(self) -> usize {
        wide(self.0.get() - 1)
    }
}

impl DeclarationId {
    /// No declaration, and no namespace.
    pub(crate) const NONE: Self = Self(0);
    /// The one of `xml`, which every document starts with.
    pub(crate) const XML: Self = Self(1);
}

impl Name {
    pub(crate) fn span(self) -> Span {
        Span { start: self.start, end: self.start + u32::from(self.len) }
    }

    /// The name without its prefix.
    #[inline]
    pub(crate) fn local(self, octets: &[u8]) -> &[u8] {
        self.local_span().of(octets)
    }

    /// The first word of the local part, in the order of the names: where it is equal, they may differ further on.
    #[inline]
    pub(crate) fn order(self, octets: &[u8]) -> u64 {
        let local = self.local_span();
        let word = word_at(octets, wide(local.start)).unwrap_or_else(|| {
            let mut word = [0; WORD];
            word.iter_mut().zip(local.of(octets)).for_each(|(place, &octet)| *place = octet);
            u64::from_le_bytes(word)
        });
        first_of(word, wide(local.end - local.start)).swap_bytes()
    }

    #[inline]
    fn local_span(self) -> Span {
        let skipped = u32::from(self.prefix_len) + u32::from(self.prefix_len > 0);
        Span { start: self.start + skipped, end: self.start + u32::from(self.len) }
    }

    #[inline]
    pub(crate) fn prefix(self, octets: &[u8]) -> &[u8] {
        Span { start: self.start, end: self.start + u32::from(self.prefix_len) }.of(octets)
    }
}

impl Element {
    pub(crate) fn end_tag(&self) -> EndTag {
        EndTag { name: self.name.span(), end: self.end, verbatim: self.verbatim_end }
    }

    /// Start tag to end tag.
    pub(crate) const fn whole(&self) -> Span {
        Span { start: self.name.start - 1, end: self.end }
    }

    pub(crate) fn declarations(&self) -> impl DoubleEndedIterator<Item = DeclarationId> + use<> {
        let first = self.first_declaration;
        (first..first + u32::from(self.declaration_count)).map(DeclarationId)
    }
}

impl Document<'_> {
    /// The same on octets of its own. Cost: a copy of them.
    pub(crate) fn into_owned(self) -> Document<'static> {
        Document { source: Cow::Owned(self.source.into_owned()), ..self }
    }

    pub(crate) const ROOT: ElementId = ElementId(NonZeroU32::MIN);

    pub(crate) fn element(&self, id: ElementId) -> &Element {
        #[expect(clippy::indexing_slicing, reason = "the reader makes ids from this list only")]
        &self.elements[id.index()]
    }

    pub(crate) fn places(&self) -> Places<'_> {
        Places {
            source: &self.source,
            side: &self.side,
            declarations: &self.declarations,
            inherited: self.inherited,
        }
    }

    pub(crate) fn tag(&self, element: &Element) -> Tag<'_> {
        Tag {
            name: element.name,
            end: element.tag_end,
            attributes: self.attributes(element),
            first_declaration: element.first_declaration,
            declaration_count: element.declaration_count,
            verbatim: element.verbatim,
        }
    }

    pub(crate) fn prefix(&self, id: DeclarationId) -> &[u8] {
        self.places().prefix(id)
    }

    pub(crate) fn uri(&self, id: DeclarationId) -> &[u8] {
        self.places().uri(id)
    }

    pub(crate) fn attributes(&self, element: &Element) -> &[Attribute] {
        let first = wide(element.first_attribute);
        let last = first + usize::from(element.attribute_count);
        self.attributes.get(first..last).unwrap_or_default()
    }

    /// Whether a name is `{namespace}local`; `""` is no namespace.
    pub(crate) fn is(&self, name: Name, namespace: &str, local: &str) -> bool {
        name.local(&self.source) == local.as_bytes()
            && self.uri(name.binding) == namespace.as_bytes()
    }

    pub(crate) fn is_element(&self, id: ElementId, namespace: &str, local: &str) -> bool {
        self.is(self.element(id).name, namespace, local)
    }

    /// The normalized value of an attribute in no namespace.
    pub(crate) fn attribute(&self, id: ElementId, local: &str) -> Option<String> {
        self.qualified_attribute(id, "", local)
    }

    /// The normalized value of `{namespace}local`.
    pub(crate) fn qualified_attribute(
        &self,
        id: ElementId,
        namespace: &str,
        local: &str,
    ) -> Option<String> {
        let found = self
            .attributes(self.element(id))
            .iter()
            .find(|attribute| self.is(attribute.name, namespace, local))?;
        Some(self.value(found))
    }

    pub(crate) fn value(&self, attribute: &Attribute) -> String {
        let mut value = Vec::new();
        text::read_attribute(attribute.value.of(&self.source), &mut value);
        text::into_string(value)
    }

    /// The nodes of an element between its tags.
    pub(crate) fn inside(&self, id: ElementId) -> &[Node] {
        let element = self.element(id);
        self.nodes.get(wide(element.first_node) + 1..wide(element.last_node)).unwrap_or_default()
    }

    pub(crate) fn children(&self, id: ElementId) -> impl Iterator<Item = ElementId> + '_ {
        let last = self.element(id).last_node;
        let mut at = self.element(id).first_node + 1;
        std::iter::from_fn(move || {
            while at < last {
                let node = self.nodes.get(wide(at))?;
                at += 1;
                if let Node::Start(child) = *node {
                    at = self.element(child).last_node + 1;
                    return Some(child);
                }
            }
            None
        })
    }

    pub(crate) fn children_named<'d>(
        &'d self,
        id: ElementId,
        namespace: &'d str,
        local: &'d str,
    ) -> impl Iterator<Item = ElementId> + 'd {
        self.children(id).filter(move |&child| self.is_element(child, namespace, local))
    }

    pub(crate) fn child(&self, id: ElementId, namespace: &str, local: &str) -> Option<ElementId> {
        self.children(id).find(|&child| self.is_element(child, namespace, local))
    }

    /// Whether an element is another, or stands somewhere in it.
    pub(crate) fn contains(&self, around: ElementId, inside: ElementId) -> bool {
        let (around, inside) = (self.element(around), self.element(inside));
        around.first_node <= inside.first_node && inside.last_node <= around.last_node
    }

    /// All character data under an element, comments and instructions skipped.
    pub(crate) fn text(&self, id: ElementId) -> String {
        let mut value = Vec::new();
        for node in self.inside(id) {
            match *node {
                Node::Text { span, .. } => text::read_text(span.of(&self.source), &mut value),
                Node::Cdata(span) => text::read_cdata(span.of(&self.source), &mut value),
                Node::Start(_) | Node::End(_) | Node::Comment(_) | Node::Instruction(_) => {}
            }
        }
        text::into_string(value)
    }

    /// Every declaration in scope at an element, the nearest of each prefix; `xml` is left out.
    pub(crate) fn in_scope(&self, id: ElementId) -> Vec<DeclarationId> {
        let mut found: Vec<DeclarationId> = Vec::new();
        let mut add = |candidate: DeclarationId| {
            let prefix = self.prefix(candidate);
            if !found.iter().any(|&nearer| self.prefix(nearer) == prefix) {
                found.push(candidate);
            }
        };
        let mut next = Some(id);
        while let Some(element) = next.map(|id| self.element(id)) {
            element.declarations().for_each(&mut add);
            next = element.parent;
        }
        (DeclarationId::XML.0 + 1..self.inherited)
            .rev()
            .for_each(|index| add(DeclarationId(index)));
        found
    }
}

/// A place as an index.
#[inline]
pub(crate) const fn wide(place: u32) -> usize {
    #[expect(
        clippy::as_conversions,
        reason = "usize is at least 32 bits on every supported target"
    )]
    {
        place as usize
    }
}

/// An index as a place; documents are below 4 GiB, and no list is longer than its document.
#[inline]
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
