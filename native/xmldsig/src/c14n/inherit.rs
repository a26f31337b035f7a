//! What an element without its ancestors takes over from them: attributes of the XML namespace, as each version says.

use std::collections::HashSet;

use super::Method;
use super::join::Joined;
use crate::document::{Attribute, DeclarationId, Document, Element};

/// What the start tag of the apex writes beyond its own attributes.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    pub(super) attributes: Vec<Attribute>,
    /// In the place of the element's own `xml:base`, if any; an empty one is not written.
    pub(super) base: Option<String>,
}

impl Inherited {
    /// Cost: one pass over the attributes of the ancestors; in version 1.1 one over their `xml:base`.
    pub(super) fn of(document: &Document<'_>, element: &Element, method: Method) -> Self {
        match method {
            Method::Exclusive => Self::default(),
            // Canonical XML 1.0, 2.4: all of them, the nearest of each name.
            Method::Inclusive => {
                Self { attributes: nearest(document, element, |_| true), base: None }
            }
            // Canonical XML 1.1, 2.4: xml:lang and xml:space so, xml:base joined, and no other.
            Method::Inclusive11 => {
                let is_simple = |local: &[u8]| matches!(local, b"lang" | b"space");
                Self {
                    attributes: nearest(document, element, is_simple),
                    base: joined_base(document, element),
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.base.is_none()
    }
}

/// Those of the ancestors that the element does not have, of each name the nearest.
fn nearest(
    document: &Document<'_>,
    element: &Element,
    is_inherited: impl Fn(&[u8]) -> bool,
) -> Vec<Attribute> {
    let local = |attribute: Attribute| attribute.name.local(&document.source);
    let mut nearer: HashSet<&[u8]> = xml_attributes(document, element).map(local).collect();
    let farther = ancestors(document, element).flat_map(|one| xml_attributes(document, one));
    farther
        .filter(|attribute| is_inherited(local(*attribute)) && nearer.insert(local(*attribute)))
        .collect()
}

/// Canonical XML 1.1, 2.4, `xml:base` fixup: the values from the element outwards, each resolved against the next. None where
/// no ancestor has one. Cost: one pass over the values.
fn joined_base(document: &Document<'_>, element: &Element) -> Option<String> {
    let base_of = |element| {
        let mut attributes = xml_attributes(document, element);
        attributes.find(|one| one.name.local(&document.source) == b"base")
    };
    let own = base_of(element);
    let farther: Vec<Attribute> = ancestors(document, element).filter_map(base_of).collect();
    let (&nearest, farthest) = farther.split_first()?;
    let (innermost, outwards) = match own {
        Some(own) => (own, farther.as_slice()),
        None if farthest.is_empty() => return Some(document.value(&nearest)),
        None => (nearest, farthest),
    };
    let octets = std::iter::once(&innermost)
        .chain(outwards)
        .map(|base| base.value.of(&document.source).len());
    let mut joined = Joined::new(&document.value(&innermost), octets.sum());
    for base in outwards {
        joined.resolve(&document.value(base));
    }
    Some(joined.finish())
}

fn ancestors<'d>(
    document: &'d Document<'_>,
    element: &Element,
) -> impl Iterator<Item = &'d Element> {
    let parent = |element: &Element| element.parent.map(|id| document.element(id));
    std::iter::successors(parent(element), move |&element| parent(element))
}

fn xml_attributes<'d>(
    document: &'d Document<'_>,
    element: &Element,
) -> impl Iterator<Item = Attribute> + use<'d> {
    let attributes = document.attributes(element).iter().copied();
    attributes.filter(|attribute| attribute.name.binding == DeclarationId::XML)
}
