//! The attributes that name an element, in one space of values.

use crate::document::{Attribute, DeclarationId, Document, ElementId};
use crate::error::Error;
use crate::namespaces::WSU;

impl Document<'_> {
    /// Whether an attribute is one of those that name an element: `ID`, `Id`, `AssertionID`, `wsu:Id`, `xml:id`.
    pub(crate) fn is_id(&self, attribute: &Attribute) -> bool {
        match attribute.name.local(&self.source) {
            b"ID" | b"AssertionID" => attribute.name.binding == DeclarationId::NONE,
            b"Id" => {
                let uri = self.uri(attribute.name.binding);
                uri.is_empty() || uri == WSU.as_bytes()
            }
            b"id" => attribute.name.binding == DeclarationId::XML,
            _ => false,
        }
    }

    /// The one element with this ID.
    ///
    /// # Errors
    /// [`Error::Argument`] where none or more than one has it.
    pub(crate) fn element_by_id(&self, wanted: &str) -> Result<ElementId, Error> {
        let mut found = None;
        for (index, element) in self.elements.iter().enumerate() {
            for attribute in self.attributes(element).iter().filter(|item| self.is_id(item)) {
                if self.value(attribute) != wanted {
                    continue;
                }
                if found.is_some() {
                    return Err(Error::Argument(format!("the ID {wanted:?} stands twice")));
                }
                found = Some(ElementId::at(index));
            }
        }
        found.ok_or_else(|| Error::Argument(format!("no element has the ID {wanted:?}")))
    }
}
