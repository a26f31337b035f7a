//! The shape a SOAP message must have before anything is put into it or believed of it.

use crate::document::{Document, ElementId};
use crate::error::{Error, MessageFault};
use crate::locate::{MessageKind, kind_of};
use crate::namespaces::{SOAP11, SOAP12};

/// An envelope whose Body follows its one Header, or stands first where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    /// The SOAP namespace.
    pub(super) soap: &'static str,
    pub(super) header: Option<ElementId>,
    pub(super) body: ElementId,
}

impl Envelope {
    /// SOAP 1.1 section 4 and SOAP 1.2 part 1 section 5.
    pub(super) fn of(document: &Document<'_>) -> Result<Self, Error> {
        let soap = match kind_of(document) {
            MessageKind::Soap11 => SOAP11,
            MessageKind::Soap12 => SOAP12,
            MessageKind::Assertion | MessageKind::Other => {
                let detail = "the root is not an Envelope of SOAP 1.1 or 1.2";
                return Err(Error::message(MessageFault::NotSoap, detail));
            }
        };
        let is = |&child: &ElementId, local| document.is_element(child, soap, local);
        let mut children = document.children(Document::ROOT).peekable();
        let header = children.next_if(|child| is(child, "Header"));
        let Some(body) = children.next_if(|child| is(child, "Body")) else {
            let detail = "the Envelope does not hold a Header, if any, and then a Body";
            return Err(Error::message(MessageFault::EnvelopeInvalid, detail));
        };
        if children.any(|child| is(&child, "Header") || is(&child, "Body")) {
            let detail = "a Header or a second Body follows the Body";
            return Err(Error::message(MessageFault::EnvelopeInvalid, detail));
        }
        Ok(Self { soap, header, body })
    }
}
