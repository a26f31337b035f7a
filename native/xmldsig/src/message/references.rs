//! What the References of a message signature lead to, and the `SignedInfo` they stand in.
//!
//! Three parts can be signed, each in one way. The Body and the Timestamp are named by their `wsu:Id` and canonicalized
//! exclusively; the assertion is named by the `wsu:Id` of the `SecurityTokenReference` that leads to it, through the STR
//! Dereference Transform. A part is known by where it stands, never by its ID alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::envelope::Envelope;
use super::{SAML_ID, STR_TRANSFORM};
use crate::algorithms::C14N_EXCLUSIVE;
use crate::c14n::{Canonicalization, Method, Subset};
use crate::document::{Document, ElementId};
use crate::error::Error;
use crate::namespaces::{DS, EXC_C14N, WSSE, WSU};
use crate::signed_info::{
    algorithm, check_empty, ds_children, element_content, is_id, leaf_text, read_canonicalization,
};
use crate::template::Methods;
use crate::text::trimmed;

/// A part of a message that a signature can cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The vector, its own Signature included.
    Assertion,
    /// `soap:Body`.
    Body,
    /// `wsu:Timestamp` of the security header.
    Timestamp,
}

/// Where the parts of a message stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) body: ElementId,
    pub(super) security: ElementId,
    pub(super) assertion: ElementId,
}

/// What one Reference says, but for its digest.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) id: String,
    pub(super) transform: Transform,
}

/// How what it leads to becomes octets.
#[derive(Debug, Clone)]
pub(super) enum Transform {
    /// Exclusive canonicalization, with a PrefixList.
    Exclusive(Vec<String>),
    /// The STR Dereference Transform, with exclusive canonicalization.
    TokenReference,
}

/// A part that a Reference leads to, not yet canonicalized.
#[derive(Debug, Clone)]
pub(super) struct PartPlace {
    pub(super) part: Part,
    element: ElementId,
    canonicalization: Canonicalization,
}

/// A Reference as it was read.
#[derive(Debug, Clone)]
pub(super) struct ReadReference {
    pub(super) reference: Reference,
    pub(super) digest_method: String,
    pub(super) digest_value: String,
}

impl Places {
    /// The Body, and the vector where [`locate()`](crate::locate()) finds it; None where it finds none or several.
    pub(super) fn of(document: &Document<'_>, envelope: &Envelope) -> Option<Self> {
        let assertion = crate::locate::in_envelope(document, envelope.soap).ok()?;
        let security = document.element(assertion).parent?;
        Some(Self { body: envelope.body, security, assertion })
    }
}

impl Reference {
    /// The part a Reference leads to.
    ///
    /// # Errors
    /// [`Error::Signature`]: the ID is not that of exactly one element, or the element is not a part.
    pub(super) fn resolve(
        &self,
        document: &Document<'_>,
        places: &Places,
    ) -> Result<PartPlace, Error> {
        let element = only(document, &self.id)?;
        let form = Canonicalization::new(Method::Exclusive, false);
        let prefixes = match &self.transform {
            Transform::TokenReference => {
                check_token_reference(document, places, element)?;
                // WSS 1.1, 8.3: the default namespace is always said.
                let canonicalization = form.with_inclusive_prefixes(std::iter::once("#default"));
                let element = places.assertion;
                return Ok(PartPlace { part: Part::Assertion, element, canonicalization });
            }
            Transform::Exclusive(prefixes) => prefixes,
        };
        let mut timestamps = document.children_named(places.security, WSU, "Timestamp");
        let part = if element == places.body {
            Part::Body
        } else if timestamps.next() == Some(element) && timestamps.next().is_none() {
            Part::Timestamp
        } else {
            return Err(Error::profile("a Reference is to a part outside the profile"));
        };
        let canonicalization = form.with_inclusive_prefixes(prefixes.iter().map(String::as_str));
        Ok(PartPlace { part, element, canonicalization })
    }

    fn write(&self, methods: &Methods, digest: &[u8], octets: &mut Vec<u8>) {
        let transform = match &self.transform {
            Transform::Exclusive(prefixes) if prefixes.is_empty() => {
                format!("<ds:Transform Algorithm=\"{C14N_EXCLUSIVE}\"></ds:Transform>")
            }
            Transform::Exclusive(prefixes) => format!(
                "<ds:Transform Algorithm=\"{C14N_EXCLUSIVE}\"><ec:InclusiveNamespaces xmlns:ec=\"{EXC_C14N}\" \
                 PrefixList=\"{}\"></ec:InclusiveNamespaces></ds:Transform>",
                prefixes.join(" ")
            ),
            Transform::TokenReference => format!(
                "<ds:Transform Algorithm=\"{STR_TRANSFORM}\"><wsse:TransformationParameters xmlns:wsse=\"{WSSE}\">\
                 <ds:CanonicalizationMethod Algorithm=\"{C14N_EXCLUSIVE}\"></ds:CanonicalizationMethod>\
                 </wsse:TransformationParameters></ds:Transform>"
            ),
        };
        let (id, method, value) = (&self.id, &methods.digest, STANDARD.encode(digest));
        let element = format!(
            "<ds:Reference URI=\"#{id}\"><ds:Transforms>{transform}</ds:Transforms><ds:DigestMethod \
             Algorithm=\"{method}\"></ds:DigestMethod><ds:DigestValue>{value}</ds:DigestValue></ds:Reference>"
        );
        octets.extend_from_slice(element.as_bytes());
    }
}

impl PartPlace {
    /// Its canonical octets.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::Limit`]: there are none.
    pub(super) fn octets(&self, document: &Document<'_>) -> Result<Vec<u8>, Error> {
        let subset = Subset::Element(self.element);
        let octets = document.canonicalize_subset(&self.canonicalization, subset)?;
        Ok(match self.part {
            Part::Assertion => dereferenced(document, self.element, octets),
            Part::Body | Part::Timestamp => octets,
        })
    }
}

impl ReadReference {
    fn read(document: &Document<'_>, reference: ElementId) -> Result<Self, Error> {
        let [transforms, method, value] = ds_children(
            document,
            reference,
            ["Transforms", "DigestMethod", "DigestValue"],
            "Reference is not Transforms, DigestMethod and DigestValue",
        )?;
        let uri = document.attribute(reference, "URI").unwrap_or_default();
        let Some(id) = uri.strip_prefix('#').filter(|id| is_id(id)) else {
            return Err(Error::profile("a Reference is not to an element of the message"));
        };
        let rule = "a part is not transformed exactly once";
        let [transform] = ds_children(document, transforms, ["Transform"], rule)?;
        check_empty(document, method)?;
        let reference =
            Reference { id: id.into(), transform: Transform::read(document, transform)? };
        let digest_method = algorithm(document, method)?;
        Ok(Self { reference, digest_method, digest_value: leaf_text(document, value)? })
    }
}

impl Transform {
    fn read(document: &Document<'_>, transform: ElementId) -> Result<Self, Error> {
        match algorithm(document, transform)?.as_str() {
            C14N_EXCLUSIVE => {
                let prefixes = exclusive_prefixes(document, transform)?;
                Ok(Self::Exclusive(prefixes))
            }
            STR_TRANSFORM => {
                let rule = "the STR-Transform is not with exclusive canonicalization";
                let refused = Err(Error::profile(rule));
                let [parameters] = element_content(document, transform)?[..] else {
                    return refused;
                };
                if !document.is_element(parameters, WSSE, "TransformationParameters") {
                    return refused;
                }
                let [method] = ds_children(document, parameters, ["CanonicalizationMethod"], rule)?;
                check_empty(document, method)?;
                if algorithm(document, method)? == C14N_EXCLUSIVE {
                    return Ok(Self::TokenReference);
                }
                refused
            }
            _ => Err(Error::profile("a part is transformed in a way outside the profile")),
        }
    }
}

/// What a message's `SignedInfo` says; algorithms are URIs, not yet admitted.
#[derive(Debug, Clone)]
pub(super) struct MessageSignedInfo {
    pub(super) canonicalization: Canonicalization,
    pub(super) signature_method: String,
    pub(super) references: Vec<ReadReference>,
}

impl MessageSignedInfo {
    /// How many parts there are, and so how many References.
    const MOST: usize = 3;

    /// The start tag as it is signed: a document of its own.
    pub(super) fn start() -> String {
        format!("<ds:SignedInfo xmlns:ds=\"{DS}\">")
    }

    /// The canonical `SignedInfo` over these References with their digests.
    pub(super) fn write(methods: &Methods, references: &[(Reference, Vec<u8>)]) -> Vec<u8> {
        let mut octets = Self::start().into_bytes();
        let opening = format!(
            "<ds:CanonicalizationMethod Algorithm=\"{C14N_EXCLUSIVE}\"></ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"{}\"></ds:SignatureMethod>",
            methods.signature
        );
        octets.extend_from_slice(opening.as_bytes());
        for (reference, digest) in references {
            reference.write(methods, digest, &mut octets);
        }
        octets.extend_from_slice(b"</ds:SignedInfo>");
        octets
    }

    pub(super) fn read(document: &Document<'_>, signed_info: ElementId) -> Result<Self, Error> {
        let children = element_content(document, signed_info)?;
        let [canonicalization, method, references @ ..] = children.as_slice() else {
            return Err(Error::profile("SignedInfo is not two methods and References"));
        };
        let named = document.is_element(*canonicalization, DS, "CanonicalizationMethod")
            && document.is_element(*method, DS, "SignatureMethod")
            && references.iter().all(|&id| document.is_element(id, DS, "Reference"));
        if !named || !(1..=Self::MOST).contains(&references.len()) {
            return Err(Error::profile(
                "SignedInfo is not two methods and one to three References",
            ));
        }
        if algorithm(document, *canonicalization)? != C14N_EXCLUSIVE {
            return Err(Error::profile("SignedInfo is canonicalized in a way outside the profile"));
        }
        check_empty(document, *method)?;
        let references = references.iter().map(|&id| ReadReference::read(document, id));
        Ok(Self {
            canonicalization: read_canonicalization(document, *canonicalization, C14N_EXCLUSIVE)?,
            signature_method: algorithm(document, *method)?,
            references: references.collect::<Result<_, _>>()?,
        })
    }
}

/// The one element with this ID, whichever attribute holds it.
pub(super) fn only(document: &Document<'_>, id: &str) -> Result<ElementId, Error> {
    let rule = "a Reference is not to exactly one element";
    document.element_by_id(id).map_err(|_| Error::profile(rule))
}

/// The prefixes of the InclusiveNamespaces that a transform may hold.
fn exclusive_prefixes(document: &Document<'_>, method: ElementId) -> Result<Vec<String>, Error> {
    read_canonicalization(document, method, C14N_EXCLUSIVE)?;
    let list = document.child(method, EXC_C14N, "InclusiveNamespaces");
    let list = list.and_then(|list| document.attribute(list, "PrefixList")).unwrap_or_default();
    Ok(list.split_ascii_whitespace().map(str::to_owned).collect())
}

/// WSS 1.1, 7.3, with SAML Token Profile 1.1, 3.4: a reference beside the assertion, by its ID and nothing else.
fn check_token_reference(
    document: &Document<'_>,
    places: &Places,
    reference: ElementId,
) -> Result<(), Error> {
    let refused = Err(Error::profile("a SecurityTokenReference is not to the vector beside it"));
    let stands = document.element(reference).parent == Some(places.security)
        && document.is_element(reference, WSSE, "SecurityTokenReference");
    let [identifier] = element_content(document, reference)?[..] else {
        return refused;
    };
    let names = document.is_element(identifier, WSSE, "KeyIdentifier")
        && document.attribute(identifier, "ValueType").as_deref() == Some(SAML_ID);
    if !stands || !names {
        return refused;
    }
    let id = leaf_text(document, identifier)?;
    if only(document, trimmed(&id))? == places.assertion { Ok(()) } else { refused }
}

/// WSS 1.1, 8.3: the canonical form of the token in place of the reference, where no default namespace is one that is said.
fn dereferenced(document: &Document<'_>, assertion: ElementId, mut octets: Vec<u8>) -> Vec<u8> {
    let scope = document.in_scope(assertion);
    let default = scope.iter().find(|&&id| document.prefix(id).is_empty());
    if default.is_none_or(|&id| document.uri(id).is_empty()) {
        // The canonical form starts with `<` and the name; declarations follow, the default one first.
        let at = 1 + usize::from(document.element(assertion).name.len);
        octets.splice(at..at, *b" xmlns=\"\"");
    }
    octets
}
