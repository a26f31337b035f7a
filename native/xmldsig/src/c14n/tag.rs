//! Writing a start tag that is not its own canonical form.

use super::canonicalizer::Canonicalizer;
use super::inherit::Inherited;
use super::output::Output;
use crate::document::{Attribute, DeclarationId, Piece, Span};
use crate::namespaces::XML;
use crate::sink::{Places, Tag};
use crate::text;

impl Canonicalizer<'_> {
    pub(super) fn write_start(&mut self, places: Places<'_>, tag: &Tag<'_>, inherited: &Inherited) {
        // What the source has of it is copied: a run goes on over it.
        let name = tag.name.span();
        self.output.copy(Span { start: name.start - 1, end: name.end });
        for &id in &self.fresh {
            write_declaration(places, id, &mut self.output);
        }
        if inherited.is_empty() {
            tag.attributes.iter().for_each(|one| self.write_attribute(one));
        } else {
            self.write_with(places, tag, inherited);
        }
        self.output.copy(Span { start: tag.end - 1, end: tag.end });
    }

    /// The attributes of an element and those it inherits, in canonical order.
    fn write_with(&mut self, places: Places<'_>, tag: &Tag<'_>, inherited: &Inherited) {
        let uri = |one: &Attribute| places.uri(one.name.binding);
        let local = |one: &Attribute| one.name.local(places.source);
        let is_replaced = |one: &Attribute| {
            inherited.base.is_some()
                && one.name.binding == DeclarationId::XML
                && local(one) == b"base"
        };
        let own = tag.attributes.iter().filter(|one| !is_replaced(one));
        let mut all: Vec<&Attribute> = own.chain(&inherited.attributes).collect();
        all.sort_by_cached_key(|one| (uri(one), local(one)));
        let base = inherited.base.as_deref().filter(|base| !base.is_empty());
        let place = all.partition_point(|one| (uri(one), local(one)) < (XML.as_bytes(), b"base"));
        let (before, behind) = all.split_at(place);
        for one in before {
            self.write_attribute(one);
        }
        if let Some(base) = base {
            self.output.write(b" xml:base=\"");
            text::write_attribute(base.as_bytes(), self.output.buffer());
            self.output.write(b"\"");
        }
        for one in behind {
            self.write_attribute(one);
        }
    }

    fn write_attribute(&mut self, attribute: &Attribute) {
        if attribute.verbatim {
            let (start, end) = (attribute.name.start - 1, attribute.value.end + 1);
            self.output.copy(Span { start, end });
            return;
        }
        self.output.write(b" ");
        self.output.copy(attribute.name.span());
        self.output.write(b"=\"");
        if attribute.plain {
            self.output.copy(attribute.value);
        } else {
            self.value.clear();
            text::read_attribute(attribute.value.of(self.output.source()), &mut self.value);
            text::write_attribute(&self.value, self.output.buffer());
        }
        self.output.write(b"\"");
    }
}

fn write_declaration(places: Places<'_>, id: DeclarationId, output: &mut Output<'_>) {
    let declaration = places.declaration(id);
    if let (Piece::Source(uri), true) = (declaration.uri, declaration.verbatim) {
        output.copy(Span { start: declaration.offset - 1, end: uri.end + 1 });
        return;
    }
    let prefix = places.prefix(id);
    output.write(if prefix.is_empty() { b" xmlns" } else { b" xmlns:" });
    output.write(prefix);
    output.write(b"=\"");
    text::write_attribute(places.uri(id), output.buffer());
    output.write(b"\"");
}
