//! Which namespace declarations a start tag writes, and in which order.

use super::canonicalizer::Canonicalizer;
use crate::document::{DeclarationId, Name};
use crate::error::Refusal;
use crate::sink::{Places, Tag};

impl Canonicalizer<'_> {
    /// Find the declarations that a tag writes: of those in `candidates`, and those that its names use.
    pub(super) fn collect(
        &mut self,
        places: Places<'_>,
        tag: &Tag<'_>,
        candidates: impl Iterator<Item = DeclarationId>,
    ) -> Result<(), Refusal> {
        let exclusive = self.canonicalization.is_exclusive();
        self.fresh.clear();
        self.visible(places, tag.name, exclusive)?;
        for attribute in tag.attributes {
            self.visible(places, attribute.name, exclusive)?;
        }
        if self.canonicalization.lists_declarations() {
            for id in candidates {
                self.listed(places, id, exclusive)?;
            }
        }
        if self.fresh.len() > 1 {
            self.fresh
                .sort_unstable_by(|&one, &other| places.prefix(one).cmp(places.prefix(other)));
        }
        Ok(())
    }

    /// Exclusive canonicalization writes what a name uses. The inclusive one does so for namespaces that come from
    /// outside a document that was cut out: a copy carries only those it uses.
    fn visible(&mut self, places: Places<'_>, name: Name, exclusive: bool) -> Result<(), Refusal> {
        let id = name.binding;
        if id > DeclarationId::XML && (exclusive || id.0 < places.inherited) {
            self.want(places, id)?;
        }
        Ok(())
    }

    /// A declaration that inclusive canonicalization, or the PrefixList of the exclusive one, writes.
    fn listed(
        &mut self,
        places: Places<'_>,
        id: DeclarationId,
        exclusive: bool,
    ) -> Result<(), Refusal> {
        let prefixes = &self.canonicalization.inclusive_prefixes;
        let prefix = places.prefix(id);
        if exclusive && prefixes.binary_search_by(|one| one.as_slice().cmp(prefix)).is_err() {
            return Ok(());
        }
        self.want(places, id)
    }

    /// Whether exclusive canonicalization writes no declaration in this tag, as in most: none stands here, and those that its names
    /// use are written already.
    #[inline]
    pub(super) fn adds_nothing(&self, tag: &Tag<'_>) -> bool {
        let said =
            |name: Name| name.binding <= DeclarationId::XML || self.is_rendered(name.binding);
        tag.declaration_count == 0
            && self.canonicalization.is_exclusive()
            && said(tag.name)
            && tag.attributes.iter().all(|attribute| said(attribute.name))
    }

    /// Whether a declaration in scope is written around. No nearer one then speaks for its prefix: that would hide this one.
    #[inline]
    fn is_rendered(&self, id: DeclarationId) -> bool {
        self.rendered.iter().rev().any(|&(written, _)| written == id)
    }

    /// Add a declaration unless the nearest one written for its prefix says the same.
    fn want(&mut self, places: Places<'_>, id: DeclarationId) -> Result<(), Refusal> {
        if self.is_rendered(id) || self.fresh.contains(&id) {
            return Ok(());
        }
        let prefix = places.prefix(id);
        let mut around = self.rendered.iter().rev().map(|&(written, _)| written);
        let nearest = around.find(|&written| places.prefix(written) == prefix);
        let said = nearest.map_or(DeclarationId::NONE, |written| places.declaration(written).same);
        if said == places.declaration(id).same {
            return Ok(());
        }
        if id.0 < places.inherited {
            places.check_absolute(id)?;
        }
        self.fresh.push(id);
        Ok(())
    }
}
