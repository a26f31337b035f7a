//! Writing a start tag that is not its own canonical form.

use super::Canonicalizer;
use super::inherit::Inherited;
use super::output::Output;
use crate::document::{Attribute, DeclarationId, Document, Element, Piece, Span};
use crate::namespaces::XML;
use crate::text;

impl Canonicalizer<'_> {
    pub(super) fn write_start(&mut self, element: &Element, inherited: &Inherited) {
        let document = self.document;
        self.output.write(b"<");
        self.output.copy(element.name.span());
        for &id in &self.fresh {
            write_declaration(document, id, &mut self.output);
        }
        if inherited.is_empty() {
            document.attributes(element).iter().for_each(|one| self.write_attribute(one));
        } else {
            self.write_with(element, inherited);
        }
        self.output.write(b">");
    }

    /// The attributes of an element and those it inherits, in canonical order.
    fn write_with(&mut self, element: &Element, inherited: &Inherited) {
        let document = self.document;
        let uri = |one: &Attribute| document.uri(one.name.binding);
        let local = |one: &Attribute| one.name.local(&document.source);
        let is_replaced = |one: &Attribute| {
            inherited.base.is_some()
                && one.name.binding == DeclarationId::XML
                && local(one) == b"base"
        };
        let own = document.attributes(element).iter().filter(|one| !is_replaced(one));
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
            text::read_attribute(attribute.value.of(&self.document.source), &mut self.value);
            text::write_attribute(&self.value, self.output.buffer());
        }
        self.output.write(b"\"");
    }
}

fn write_declaration(document: &Document<'_>, id: DeclarationId, output: &mut Output<'_>) {
    let declaration = document.declaration(id);
    if let (Piece::Source(uri), true) = (declaration.uri, declaration.verbatim) {
        output.copy(Span { start: declaration.offset - 1, end: uri.end + 1 });
        return;
    }
    let prefix = document.prefix(id);
    output.write(if prefix.is_empty() { b" xmlns" } else { b" xmlns:" });
    output.write(prefix);
    output.write(b"=\"");
    text::write_attribute(document.uri(id), output.buffer());
    output.write(b"\"");
}
