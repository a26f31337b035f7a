//! Start tags, end tags, and the namespaces they bring into scope.

use super::cursor::{Gap, malformed, short};
use super::names::{Known, Slot};
use super::{Open, Reader, piece_of};
use crate::characters::{is_space, quoted_end};
use crate::document::{Attribute, DeclarationId, Name, Piece, Span, narrow, wide};
use crate::error::{Limit, Refusal};
use crate::limits::Limits;
use crate::namespaces::{Resolved, check_declaration};
use crate::sink::{EndTag, Places, Sink, Tag};
use crate::text;
use crate::words::are_equal;

/// What is known of a tag's attributes as they pass.
struct Attributes {
    count: usize,
    /// One that is no declaration came by.
    others: bool,
    /// So far the tag is written as Canonical XML would write it.
    verbatim: bool,
    /// So far all are in no namespace and in canonical order; the start of the last one's name.
    sorted: bool,
    order: u64,
}

impl<S: Sink> Reader<'_, S> {
    /// Productions [40] and [44], with the declarations of Namespaces section 3.
    pub(super) fn start_tag(&mut self) -> Result<(), Refusal> {
        if self.open.len() >= self.limits.depth {
            return Err(self.cursor.past(Limit::Depth, self.limits.depth));
        }
        self.cursor.at += 1;
        let start = self.cursor.at;
        let slot = self.cursor.name()?;
        let name = self.cursor.named(slot, start);
        if self.cursor.peek() != Some(b'>') {
            return self.tag_with_attributes(name, slot);
        }
        self.cursor.at += 1;
        let Known { prefix, mut binding, .. } = *self.cursor.names.at(slot);
        let name = Name { binding: self.binding(name, prefix, &mut binding)?.declaration, ..name };
        self.cursor.names.at_mut(slot).binding = binding;
        let tag = Tag {
            name,
            end: narrow(self.cursor.at),
            attributes: &[],
            first_declaration: narrow(self.declarations.len()),
            declaration_count: 0,
            verbatim: true,
        };
        let places = Places {
            source: self.cursor.octets,
            side: &self.side,
            declarations: &self.declarations,
            inherited: self.inherited,
        };
        self.sink.start(places, &tag)?;
        self.open.push(Open { name: name.span(), scope: self.scope.len() });
        Ok(())
    }

    /// The rest of a start tag that does not end behind its name.
    #[inline(never)]
    fn tag_with_attributes(&mut self, name: Name, slot: Slot) -> Result<(), Refusal> {
        let Known { prefix, mut binding, .. } = *self.cursor.names.at(slot);
        let scope = self.scope.len();
        let first_declaration = self.declarations.len();
        self.attributes.clear();
        let (empty, seen) = self.attributes(first_declaration)?;
        let name = Name { binding: self.binding(name, prefix, &mut binding)?.declaration, ..name };
        self.cursor.names.at_mut(slot).binding = binding;
        let in_order = seen.sorted || self.place_attributes()?;
        let end = narrow(self.cursor.at);
        let tag = Tag {
            name,
            end,
            attributes: &self.attributes,
            first_declaration: narrow(first_declaration),
            declaration_count: short(self.declarations.len() - first_declaration),
            verbatim: seen.verbatim && in_order && !empty,
        };
        let places = Places {
            source: self.cursor.octets,
            side: &self.side,
            declarations: &self.declarations,
            inherited: self.inherited,
        };
        self.sink.start(places, &tag)?;
        if empty {
            self.scope.truncate(scope);
            self.sink.end(EndTag { name: name.span(), end, verbatim: false });
        } else {
            self.open.push(Open { name: name.span(), scope });
        }
        Ok(())
    }

    /// Production [42]; the name must be that of the innermost open element.
    pub(super) fn end_tag(&mut self) -> Result<(), Refusal> {
        let open = self.open.pop().unwrap_or(Open { name: Span::EMPTY, scope: 0 });
        let Span { start, end } = open.name;
        let (start, len) = (wide(start), wide(end - start));
        self.cursor.at += b"</".len();
        let name_end = self.cursor.at + len;
        let octets = self.cursor.octets;
        let is_its = name_end < octets.len() && are_equal(octets, start, self.cursor.at, len);
        let verbatim = match octets.get(name_end) {
            Some(b'>') if is_its => {
                self.cursor.at = name_end + 1;
                true
            }
            Some(&octet) if is_its && is_space(octet) => {
                self.cursor.at = name_end;
                self.cursor.skip_space();
                self.cursor.expect(b">", "an end tag holds a name and nothing else")?;
                false
            }
            _ => return Err(self.cursor.malformed("an end tag does not match its start tag")),
        };
        self.scope.truncate(open.scope);
        self.sink.end(EndTag { name: open.name, end: narrow(self.cursor.at), verbatim });
        Ok(())
    }

    /// Everything behind the tag's name; whether the tag ended in `/>`.
    #[inline]
    fn attributes(&mut self, first_declaration: usize) -> Result<(bool, Attributes), Refusal> {
        let mut seen =
            Attributes { count: 0, others: false, verbatim: true, sorted: true, order: 0 };
        let bound = self.limits.attributes.min(Limits::OWN.attributes);
        loop {
            while seen.count < bound && self.usual_attribute(&mut seen) {
                seen.count += 1;
            }
            let (gap, next) = self.cursor.gap();
            match next {
                Some(b'>') => {
                    self.cursor.at += 1;
                    seen.verbatim &= gap == Gap::None;
                    return Ok((false, seen));
                }
                Some(b'/') if self.cursor.peek_second() == Some(b'>') => {
                    self.cursor.at += 2;
                    return Ok((true, seen));
                }
                _ if gap == Gap::None => {
                    return Err(self.cursor.malformed("white space separates attributes"));
                }
                _ => {}
            }
            seen.count += 1;
            if seen.count > bound {
                return Err(self.cursor.past(Limit::Attributes, bound));
            }
            self.attribute(gap, first_declaration, &mut seen)?;
        }
    }

    /// An attribute as most are, and whether there was one: one space, the expected name, `="`, a value that needs no second look,
    /// and `"`. What is anything else is left where it stands.
    #[inline]
    fn usual_attribute(&mut self, seen: &mut Attributes) -> bool {
        let cursor = &mut self.cursor;
        let (octets, start) = (cursor.octets, cursor.at + 1);
        if octets.get(cursor.at) != Some(&b' ') {
            return false;
        }
        let Some((slot, name_end)) = cursor.names.start_of_expected(octets, start) else {
            return false;
        };
        let value = name_end + b"=\"".len();
        if octets.get(name_end..value) != Some(b"=\"") {
            return false;
        }
        let end = quoted_end(octets, value);
        let &Known { declares, prefix_len, order, .. } = cursor.names.at(slot);
        if octets.get(end) != Some(&b'"') || end - value > self.limits.value || declares {
            return false;
        }
        cursor.names.advance(slot);
        cursor.at = end + 1;
        seen.others = true;
        seen.sorted &= prefix_len == 0 && order > seen.order;
        seen.order = order;
        let name = Name {
            start: narrow(start),
            len: short(name_end - start),
            prefix_len,
            binding: DeclarationId::NONE,
        };
        let value = Span::new(value, end);
        self.attributes.push(Attribute { name, value, plain: true, verbatim: true });
        true
    }

    /// Production [41].
    #[inline(never)]
    fn attribute(
        &mut self,
        gap: Gap,
        first_declaration: usize,
        seen: &mut Attributes,
    ) -> Result<(), Refusal> {
        let start = self.cursor.at;
        let slot = self.cursor.name()?;
        let name = self.cursor.named(slot, start);
        let is_tight = (self.cursor.peek(), self.cursor.peek_second()) == (Some(b'='), Some(b'"'));
        let quote = if is_tight {
            self.cursor.at += 2;
            b'"'
        } else {
            self.cursor.equals()?;
            self.cursor.quote()?
        };
        let (value, plain) = self.cursor.attribute_value(quote)?;
        let verbatim = plain && is_tight && gap == Gap::Space;
        seen.verbatim &= verbatim;
        let attribute = Attribute { name, value, plain, verbatim };
        if self.cursor.names.at(slot).declares {
            return self.declare(&attribute, first_declaration, seen);
        }
        self.attributes.push(attribute);
        seen.others = true;
        seen.sorted = false;
        Ok(())
    }

    /// An attribute that binds a prefix, or the default namespace.
    fn declare(
        &mut self,
        written: &Attribute,
        first_declaration: usize,
        seen: &mut Attributes,
    ) -> Result<(), Refusal> {
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
        let octets = |piece| piece_of(self.cursor.octets, &self.side, piece);
        let refused = |rule| malformed(wide(start), rule);
        let prefix_octets = prefix.of(self.cursor.octets);
        let returns = self.scope.returns(prefix_octets, octets(uri), octets);
        if !returns && !check_declaration(prefix_octets, octets(uri)).map_err(refused)? {
            seen.verbatim = false;
            return Ok(());
        }
        let own = self.declarations.get(first_declaration..).unwrap_or_default();
        if own.iter().any(|other| octets(other.prefix) == prefix_octets) {
            return Err(refused("a prefix is declared twice on one element"));
        }
        // The canonical form writes declarations first, sorted by prefix.
        let sorted = own.last().is_none_or(|last| octets(last.prefix) < prefix_octets);
        seen.verbatim &= sorted && !seen.others;
        // The scope starts with no namespace and xml, which do not count.
        if self.scope.len() > self.limits.namespaces.saturating_add(1) {
            return Err(self.cursor.past(Limit::Namespaces, self.limits.namespaces));
        }
        self.bind(Piece::Source(prefix), uri, start, written.verbatim);
        Ok(())
    }

    /// What the prefix of a name resolves to, with the prefix's word.
    #[inline]
    pub(super) fn binding(
        &self,
        name: Name,
        word: u64,
        place: &mut u32,
    ) -> Result<Resolved, Refusal> {
        let (octets, side) = (self.cursor.octets, &self.side);
        let (prefix, piece) = (|| name.prefix(octets), |piece| piece_of(octets, side, piece));
        self.scope.resolve(word, place, prefix, piece).ok_or_else(|| undeclared(name))
    }
}

fn undeclared(name: Name) -> Refusal {
    malformed(wide(name.start), "a prefix is not declared")
}
