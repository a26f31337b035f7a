//! Which namespace declarations a start tag writes, and in which order.

use super::{Canonicalizer, Method};
use crate::document::{DeclarationId, Element, ElementId, Name};
use crate::error::Error;

impl Canonicalizer<'_> {
    /// Find the declarations that this tag writes.
    pub(super) fn collect(&mut self, id: ElementId, element: &Element) -> Result<(), Error> {
        let exclusive = self.canonicalization.method == Method::Exclusive;
        let document = self.document;
        self.visible(element.name, exclusive)?;
        for attribute in document.attributes(element) {
            self.visible(attribute.name, exclusive)?;
        }
        if exclusive && self.canonicalization.inclusive_prefixes.is_empty() {
            self.sort();
            return Ok(());
        }
        if id == self.apex {
            for declaration in document.in_scope(id) {
                if !exclusive && declaration.0 < document.inherited {
                    continue;
                }
                self.listed(declaration, exclusive)?;
            }
        } else {
            for id in element.declarations() {
                self.listed(id, exclusive)?;
            }
        }
        self.sort();
        Ok(())
    }

    /// Exclusive canonicalization writes what a name uses. The inclusive one does so for namespaces that come from
    /// outside a document that was cut out: a copy carries only those it uses.
    fn visible(&mut self, name: Name, exclusive: bool) -> Result<(), Error> {
        let id = name.binding;
        if id > DeclarationId::XML && (exclusive || id.0 < self.document.inherited) {
            self.want(id)?;
        }
        Ok(())
    }

    /// A declaration that inclusive canonicalization, or the PrefixList of the exclusive one, writes.
    fn listed(&mut self, id: DeclarationId, exclusive: bool) -> Result<(), Error> {
        let prefixes = &self.canonicalization.inclusive_prefixes;
        let prefix = self.document.prefix(id);
        if exclusive && prefixes.binary_search_by(|one| one.as_slice().cmp(prefix)).is_err() {
            return Ok(());
        }
        self.want(id)
    }

    /// Whether exclusive canonicalization writes no declaration in this tag, as in most: none stands here, and those that its names
    /// use are written already.
    pub(super) fn adds_nothing(&self, element: &Element) -> bool {
        let said =
            |name: Name| name.binding <= DeclarationId::XML || self.is_rendered(name.binding);
        element.declaration_count == 0
            && self.canonicalization.is_exclusive()
            && said(element.name)
            && self.document.attributes(element).iter().all(|attribute| said(attribute.name))
    }

    /// Whether a declaration in scope is written around. No nearer one then speaks for its prefix: that would hide this one.
    fn is_rendered(&self, id: DeclarationId) -> bool {
        self.rendered.iter().rev().any(|&written| written == id)
    }

    /// Add a declaration unless the nearest one written for its prefix says the same.
    fn want(&mut self, id: DeclarationId) -> Result<(), Error> {
        let document = self.document;
        if self.is_rendered(id) || self.fresh.contains(&id) {
            return Ok(());
        }
        let prefix = document.prefix(id);
        let nearest =
            self.rendered.iter().rev().find(|&&written| document.prefix(written) == prefix);
        let said =
            nearest.map_or(DeclarationId::NONE, |&written| document.declaration(written).same);
        if said == document.declaration(id).same {
            return Ok(());
        }
        if id.0 < document.inherited {
            document.check_absolute(id)?;
        }
        self.fresh.push(id);
        Ok(())
    }

    fn sort(&mut self) {
        if self.fresh.len() > 1 {
            let document = self.document;
            self.fresh
                .sort_unstable_by(|&one, &other| document.prefix(one).cmp(document.prefix(other)));
        }
    }
}
