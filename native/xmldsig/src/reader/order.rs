//! The canonical order of a tag's attributes, in which equals are neighbours.

use std::collections::HashSet;

use super::Reader;
use super::cursor::malformed;
use crate::characters::ncname_len;
use crate::document::{Attribute, DeclarationId, Name, wide};
use crate::error::Refusal;
use crate::namespaces::prefix_word;
use crate::sink::Sink;
use crate::text;

/// An attribute with what decides its canonical place: the rank of its namespace, and its name, whose first word mostly does.
#[derive(Debug)]
pub(super) struct Ranked {
    rank: u32,
    order: u64,
    attribute: Attribute,
}

impl<S: Sink> Reader<'_, S> {
    /// Resolve the attributes and put them in canonical order, where equals become neighbours. Whether that is the order they
    /// came in.
    pub(super) fn place_attributes(&mut self) -> Result<bool, Refusal> {
        let octets = self.cursor.octets;
        if let [] | [Attribute { name: Name { prefix_len: 0, .. }, .. }] = *self.attributes {
            return Ok(true);
        }
        self.rank_attributes()?;
        let compared = |one: &Ranked, other: &Ranked| {
            let local = |ranked: &Ranked| ranked.attribute.name.local(octets);
            (one.rank, one.order)
                .cmp(&(other.rank, other.order))
                .then_with(|| local(one).cmp(local(other)))
        };
        let in_order = self.ranked.is_sorted_by(|one, other| compared(one, other).is_lt());
        if !in_order {
            self.ranked.sort_unstable_by(compared);
            for pair in self.ranked.windows(2) {
                if let [one, other] = pair {
                    if compared(one, other).is_eq() {
                        let start = |ranked: &Ranked| ranked.attribute.name.start;
                        let offset = wide(start(one).max(start(other)));
                        return Err(malformed(offset, "an attribute stands twice on one element"));
                    }
                }
            }
        }
        self.attributes.clear();
        self.attributes.extend(self.ranked.iter().map(|ranked| ranked.attribute));
        Ok(in_order)
    }

    /// Resolve the attributes, each with the rank of its namespace: no prefix is rank 0, so that the names alone decide.
    fn rank_attributes(&mut self) -> Result<(), Refusal> {
        let octets = self.cursor.octets;
        self.ranked.clear();
        for &attribute in &self.attributes {
            let Attribute { name, .. } = attribute;
            let mut ranked = Ranked { rank: 0, order: name.order(octets), attribute };
            if name.prefix_len > 0 {
                let found = self.binding(name, prefix_word(octets, name), &mut 0)?;
                ranked.attribute.name.binding = found.declaration;
                ranked.rank = found.rank;
                if found.declaration == DeclarationId::XML {
                    check_xml_id(octets, &attribute, &mut self.xml_ids)?;
                }
            }
            self.ranked.push(ranked);
        }
        Ok(())
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
