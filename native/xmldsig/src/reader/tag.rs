//! Start tags, end tags, and the namespaces they bring into scope.

use std::collections::HashSet;

use super::cursor::{malformed, short};
use super::{Open, Reader, piece_of};
use crate::characters::{is_space, ncname_len};
use crate::document::{
    Attribute, Declaration, DeclarationId, Element, ElementId, Name, Node, Piece, Span, narrow,
    wide,
};
use crate::error::{Limit, Refusal};
use crate::limits::Limits;
use crate::namespaces::check_declaration;
use crate::text;

/// What is known of a tag's attributes as they pass.
struct Attributes {
    count: usize,
    /// One that is no declaration came by.
    others: bool,
    /// So far the tag is written as Canonical XML would write it.
    verbatim: bool,
}

/// An attribute as written.
struct Written {
    name: Name,
    value: Span,
    /// The value is its own canonical form.
    plain: bool,
    /// So is the whole, one space before it included.
    verbatim: bool,
}

impl Reader<'_> {
    /// Productions [40] and [44], with the declarations of Namespaces section 3.
    pub(super) fn start_tag(&mut self) -> Result<(), Refusal> {
        if self.open.len() >= self.limits.depth {
            return Err(self.cursor.past(Limit::Depth, self.limits.depth));
        }
        self.cursor.at += 1;
        let name = self.cursor.name()?;
        let scope = self.scope.len();
        let first_attribute = self.tape.attributes.len();
        let first_declaration = self.tape.declarations.len();
        let (empty, seen) = self.attributes()?;
        let name = Name { binding: self.element_binding(name)?, ..name };
        let in_order = self.place_attributes(first_attribute)?;

        let id = ElementId::at(self.tape.elements.len());
        let node = narrow(self.tape.nodes.len());
        let declaration_count = self.tape.declarations.len() - first_declaration;
        self.tape.elements.push(Element {
            name,
            tag_end: narrow(self.cursor.at),
            end: narrow(self.cursor.at),
            first_node: node,
            last_node: node,
            parent: self.open.last().map(|open| open.element),
            first_attribute: narrow(first_attribute),
            first_declaration: narrow(first_declaration),
            attribute_count: short(self.tape.attributes.len() - first_attribute),
            declaration_count: short(declaration_count),
            verbatim: seen.verbatim && in_order && !empty,
            verbatim_end: false,
        });
        self.tape.nodes.push(Node::Start(id));
        self.open.push(Open { element: id, name: name.span(), scope });
        if empty {
            self.close(false);
        }
        Ok(())
    }

    /// Production [42]; the name must be that of the innermost open element.
    pub(super) fn end_tag(&mut self) -> Result<(), Refusal> {
        self.cursor.at += b"</".len();
        let open = self.open.last().map_or(Span::EMPTY, |open| open.name);
        let name = open.of(self.cursor.octets);
        match self.cursor.rest().strip_prefix(name) {
            Some([b'>', ..]) => {
                self.cursor.at += name.len() + 1;
                self.close(true);
                Ok(())
            }
            Some([octet, ..]) if is_space(*octet) => {
                self.cursor.at += name.len();
                self.cursor.skip_space();
                self.cursor.expect(b">", "an end tag holds a name and nothing else")?;
                self.close(false);
                Ok(())
            }
            _ => Err(self.cursor.malformed("an end tag does not match its start tag")),
        }
    }

    fn close(&mut self, verbatim: bool) {
        let Some(open) = self.open.pop() else { return };
        self.scope.truncate(open.scope);
        if let Some(element) = self.tape.elements.get_mut(open.element.index()) {
            element.end = narrow(self.cursor.at);
            element.last_node = narrow(self.tape.nodes.len());
            element.verbatim_end = verbatim;
        }
        self.tape.nodes.push(Node::End(open.element));
    }

    /// Everything behind the tag's name; whether the tag ended in `/>`.
    fn attributes(&mut self) -> Result<(bool, Attributes), Refusal> {
        if self.cursor.peek() == Some(b'>') {
            self.cursor.at += 1;
            return Ok((false, Attributes { count: 0, others: false, verbatim: true }));
        }
        let mut seen = Attributes { count: 0, others: false, verbatim: true };
        let bound = self.limits.attributes.min(Limits::OWN.attributes);
        loop {
            let before = self.cursor.peek();
            let width = self.cursor.separator();
            match self.cursor.rest() {
                [b'>', ..] => {
                    self.cursor.at += 1;
                    seen.verbatim &= width == 0;
                    return Ok((false, seen));
                }
                [b'/', b'>', ..] => {
                    self.cursor.at += 2;
                    return Ok((true, seen));
                }
                _ if width == 0 => {
                    return Err(self.cursor.malformed("white space separates attributes"));
                }
                _ => {}
            }
            seen.count += 1;
            if seen.count > bound {
                return Err(self.cursor.past(Limit::Attributes, bound));
            }
            let mut written = self.attribute()?;
            written.verbatim &= width == 1 && before == Some(b' ');
            seen.verbatim &= written.verbatim;
            self.record(&written, &mut seen)?;
        }
    }

    /// Production [41].
    fn attribute(&mut self) -> Result<Written, Refusal> {
        let name = self.cursor.name()?;
        let name_end = self.cursor.at;
        self.cursor.equals()?;
        let tight = self.cursor.at == name_end + 1;
        let quote = self.cursor.quote()?;
        let (value, plain) = self.cursor.attribute_value(quote)?;
        Ok(Written { name, value, plain, verbatim: plain && tight && quote == b'"' })
    }

    fn record(&mut self, written: &Written, seen: &mut Attributes) -> Result<(), Refusal> {
        let &Written { name, value, plain, verbatim } = written;
        if name.prefix(self.cursor.octets) == b"xmlns"
            || name.span().of(self.cursor.octets) == b"xmlns"
        {
            return self.declare(written, seen);
        }
        self.tape.attributes.push(Attribute { name, value, plain, verbatim });
        seen.others = true;
        Ok(())
    }

    /// An attribute that binds a prefix, or the default namespace.
    fn declare(&mut self, written: &Written, seen: &mut Attributes) -> Result<(), Refusal> {
        let Name { start, len, prefix_len, .. } = written.name;
        let end = start + u32::from(len);
        let bare = prefix_len == 0;
        let prefix = Span { start: if bare { end } else { start + 6 }, end };
        let uri = if written.plain {
            Piece::Source(written.value)
        } else {
            let mut normalized = Vec::new();
            text::read_attribute(written.value.of(self.cursor.octets), &mut normalized);
            self.aside(&normalized)
        };
        let octets = |piece| piece_of(self.cursor.octets, &self.tape.side, piece);
        let refused = |rule| malformed(wide(start), rule);
        let prefix_octets = prefix.of(self.cursor.octets);
        if !check_declaration(prefix_octets, octets(uri)).map_err(refused)? {
            seen.verbatim = false;
            return Ok(());
        }
        let own = self.own_declarations();
        if own.iter().any(|other| octets(other.prefix) == prefix_octets) {
            return Err(refused("a prefix is declared twice on one element"));
        }
        // The canonical form writes declarations first, sorted by prefix.
        let sorted = own.last().is_none_or(|last| octets(last.prefix) < prefix_octets);
        seen.verbatim &= sorted && !seen.others;
        // The scope starts with xml, which does not count.
        if self.scope.len() > self.limits.namespaces {
            return Err(self.cursor.past(Limit::Namespaces, self.limits.namespaces));
        }
        self.bind(Piece::Source(prefix), uri, start, written.verbatim);
        Ok(())
    }

    /// The declarations of the tag being read.
    fn own_declarations(&self) -> &[Declaration] {
        let before = self.tape.elements.last().map_or(self.tape.inherited, |element| {
            element.first_declaration + u32::from(element.declaration_count)
        });
        self.tape.declarations.get(wide(before)..).unwrap_or_default()
    }

    fn element_binding(&self, name: Name) -> Result<DeclarationId, Refusal> {
        let (octets, side) = (self.cursor.octets, &self.tape.side);
        match self.scope.resolve(octets, name, |piece| piece_of(octets, side, piece)) {
            Some(found) => Ok(found.declaration),
            None if name.prefix_len == 0 => Ok(DeclarationId::NONE),
            None => Err(undeclared(name)),
        }
    }

    /// Resolve the attributes from `first` on and put them in canonical order, where equals become neighbours. Whether
    /// that is the order they came in.
    fn place_attributes(&mut self, first: usize) -> Result<bool, Refusal> {
        let octets = self.cursor.octets;
        let own = self.tape.attributes.get_mut(first..).unwrap_or_default();
        if let [] | [Attribute { name: Name { prefix_len: 0, .. }, .. }] = own {
            return Ok(true);
        }
        // No prefix is rank 0, so that the names alone decide.
        let local = |attribute: &Attribute| attribute.name.local(octets);
        if own.iter().all(|attribute| attribute.name.prefix_len == 0)
            && own.is_sorted_by(|one, other| local(one) < local(other))
        {
            return Ok(true);
        }
        self.ranked.clear();
        for attribute in own.iter() {
            let mut attribute = *attribute;
            let mut rank = 0;
            if attribute.name.prefix_len > 0 {
                let side = &self.tape.side;
                let found = self
                    .scope
                    .resolve(octets, attribute.name, |piece| piece_of(octets, side, piece))
                    .ok_or_else(|| undeclared(attribute.name))?;
                attribute.name.binding = found.declaration;
                rank = found.rank;
                if found.declaration == DeclarationId::XML {
                    check_xml_id(octets, &attribute, &mut self.xml_ids)?;
                }
            }
            self.ranked.push((rank, attribute));
        }
        let key = |item: &(u32, Attribute)| (item.0, item.1.name.local(octets));
        if self.ranked.is_sorted_by(|one, other| key(one) < key(other)) {
            own.iter_mut().zip(&self.ranked).for_each(|(place, item)| *place = item.1);
            return Ok(true);
        }
        self.ranked.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        for pair in self.ranked.windows(2) {
            if let [one, other] = pair {
                if key(one) == key(other) {
                    let offset = wide(one.1.name.start.max(other.1.name.start));
                    return Err(malformed(offset, "an attribute stands twice on one element"));
                }
            }
        }
        own.iter_mut().zip(&self.ranked).for_each(|(place, item)| *place = item.1);
        Ok(false)
    }
}

/// xml:id 1.0, section 4: the value is an `NCName`, and stands once in a document. White space around it is refused too,
/// because not every reader takes it off.
fn check_xml_id(
    octets: &[u8],
    attribute: &Attribute,
    seen: &mut HashSet<Vec<u8>>,
) -> Result<(), Refusal> {
    if attribute.name.local(octets) != b"id" {
        return Ok(());
    }
    let refused = |rule| malformed(wide(attribute.value.start), rule);
    let mut id = Vec::new();
    text::read_attribute(attribute.value.of(octets), &mut id);
    if id.is_empty() || ncname_len(&id) != id.len() {
        return Err(refused("the value of xml:id is not a name"));
    }
    if seen.insert(id) { Ok(()) } else { Err(refused("the value of xml:id stands twice")) }
}

fn undeclared(name: Name) -> Refusal {
    malformed(wide(name.start), "a prefix is not declared")
}
