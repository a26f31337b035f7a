//! The sink that makes a document.

use crate::document::{Attribute, Element, ElementId, Node, narrow};
use crate::error::Refusal;
use crate::sink::{EndTag, Places, Sink, Tag};

/// The lists a document is made of, while they grow.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) nodes: Vec<Node>,
    pub(super) elements: Vec<Element>,
    pub(super) attributes: Vec<Attribute>,
    open: Vec<ElementId>,
}

impl Tape {
    /// For these octets. The lists are reserved once.
    pub(super) fn new(octets: &[u8]) -> Self {
        let expected = Expected::of(octets);
        Self {
            nodes: Vec::with_capacity(expected.nodes),
            elements: Vec::with_capacity(expected.elements),
            attributes: Vec::with_capacity(expected.attributes),
            open: Vec::new(),
        }
    }
}

impl Sink for Tape {
    #[inline]
    fn start(&mut self, _: Places<'_>, tag: &Tag<'_>) -> Result<(), Refusal> {
        let id = ElementId::at(self.elements.len());
        let node = narrow(self.nodes.len());
        self.elements.push(Element {
            name: tag.name,
            tag_end: tag.end,
            end: tag.end,
            first_node: node,
            last_node: node,
            parent: self.open.last().copied(),
            first_attribute: narrow(self.attributes.len()),
            first_declaration: tag.first_declaration,
            attribute_count: super::cursor::short(tag.attributes.len()),
            declaration_count: tag.declaration_count,
            verbatim: tag.verbatim,
            verbatim_end: false,
        });
        self.attributes.extend_from_slice(tag.attributes);
        self.nodes.push(Node::Start(id));
        self.open.push(id);
        Ok(())
    }

    #[inline]
    fn end(&mut self, tag: EndTag) {
        let Some(id) = self.open.pop() else { return };
        if let Some(element) = self.elements.get_mut(id.index()) {
            element.end = tag.end;
            element.last_node = narrow(self.nodes.len());
            element.verbatim_end = tag.verbatim;
        }
        self.nodes.push(Node::End(id));
    }

    #[inline]
    fn node(&mut self, node: Node) {
        self.nodes.push(node);
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
