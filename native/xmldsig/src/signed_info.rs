//! `SignedInfo`, read strictly.
//!
//! Accepted is CanonicalizationMethod, SignatureMethod and one Reference within the document, in that order and nothing
//! else. Of a vector the Reference has the enveloped-signature transform, then exclusive canonicalization or nothing; of any
//! other signature it has at most the two, in that order, with any canonicalization this crate knows. Everything else
//! XMLDSig allows (external references, `XPointer`, XPath, XSLT, several references, HMAC lengths) is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::algorithms::{C14N_10, C14N_EXCLUSIVE, ENVELOPED, Profile};
use crate::c14n::{Canonicalization, Method};
use crate::characters::{is_name_char, is_space};
use crate::document::{Document, ElementId, Node};
use crate::error::Error;
use crate::namespaces::{DS, EXC_C14N};

/// What a `SignedInfo` of legal shape says; algorithms are URIs, not yet admitted.
#[derive(Debug, Clone)]
pub(crate) struct SignedInfo {
    pub(crate) canonicalization: Canonicalization,
    pub(crate) signature_method: String,
    pub(crate) reference: Reference,
}

#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// None: `URI=""`, the whole document.
    pub(crate) id: Option<String>,
    /// The enveloped-signature transform comes first.
    pub(crate) enveloped: bool,
    pub(crate) canonicalization: Canonicalization,
    pub(crate) digest_method: String,
    pub(crate) digest_value: String,
}

impl SignedInfo {
    pub(crate) fn read(
        document: &Document<'_>,
        signed_info: ElementId,
        profile: Profile,
    ) -> Result<Self, Error> {
        let [canonicalization, method, reference] = ds_children(
            document,
            signed_info,
            ["CanonicalizationMethod", "SignatureMethod", "Reference"],
            "SignedInfo is not one method of each kind and one Reference",
        )?;
        let uri = algorithm(document, canonicalization)?;
        if profile == Profile::Assertion && uri != C14N_10 && uri != C14N_EXCLUSIVE {
            return Err(Error::profile("SignedInfo is canonicalized in a way outside the profile"));
        }
        check_empty(document, method)?;
        Ok(Self {
            canonicalization: read_canonicalization(document, canonicalization, &uri)?,
            signature_method: algorithm(document, method)?,
            reference: Reference::read(document, reference, profile)?,
        })
    }
}

impl Reference {
    fn read(
        document: &Document<'_>,
        reference: ElementId,
        profile: Profile,
    ) -> Result<Self, Error> {
        let rule = "Reference is not Transforms, DigestMethod and DigestValue";
        let (transforms, [method, value]) = match *element_content(document, reference)?.as_slice()
        {
            [transforms, method, value] => (Some(transforms), [method, value]),
            [method, value] if profile == Profile::Generic => (None, [method, value]),
            _ => return Err(Error::profile(rule)),
        };
        let named = transforms.is_none_or(|id| document.is_element(id, DS, "Transforms"))
            && document.is_element(method, DS, "DigestMethod")
            && document.is_element(value, DS, "DigestValue");
        if !named {
            return Err(Error::profile(rule));
        }
        let uri =
            document.attribute(reference, "URI").ok_or(Error::profile("Reference has no URI"))?;
        let id = match uri.strip_prefix('#') {
            Some("") => return Err(Error::profile("Reference leads outside the document")),
            Some(id) if is_id(id) => Some(id.to_owned()),
            Some(_) => return Err(Error::profile("the fragment of a Reference is not an ID")),
            None if uri.is_empty() => None,
            _ => return Err(Error::profile("Reference leads outside the document")),
        };
        check_empty(document, method)?;
        let (enveloped, canonicalization) = match transforms {
            Some(transforms) => read_transforms(document, transforms, profile)?,
            None => (false, Canonicalization::new(Method::Inclusive, false)),
        };
        Ok(Self {
            id,
            enveloped,
            canonicalization,
            digest_method: algorithm(document, method)?,
            digest_value: leaf_text(document, value)?,
        })
    }
}

/// Enveloped-signature, then a canonicalization or nothing (XMLDSig 4.4.3.2: then Canonical XML 1.0). Neither may stand
/// twice, and no octets are parsed again. Whether there is an enveloped-signature transform, and the canonicalization.
fn read_transforms(
    document: &Document<'_>,
    transforms: ElementId,
    profile: Profile,
) -> Result<(bool, Canonicalization), Error> {
    let mut steps = Vec::new();
    for step in element_content(document, transforms)? {
        if !document.is_element(step, DS, "Transform") || steps.len() == 2 {
            return Err(Error::profile("Transforms holds more than the two allowed ones"));
        }
        steps.push((step, algorithm(document, step)?));
    }
    let (enveloped, rest) = match steps.as_slice() {
        [(first, uri), rest @ ..] if uri == ENVELOPED => {
            check_empty(document, *first)?;
            (true, rest)
        }
        [_, ..] if profile == Profile::Assertion => {
            return Err(Error::profile("the first transform is not enveloped-signature"));
        }
        [] => return Err(Error::profile("Transforms holds no transform")),
        rest => (false, rest),
    };
    let canonicalization = match rest {
        [] => Canonicalization::new(Method::Inclusive, false),
        [(_, uri)] if profile == Profile::Assertion && uri != C14N_EXCLUSIVE => {
            return Err(Error::profile("the second transform is not exclusive canonicalization"));
        }
        [(step, uri)] => read_canonicalization(document, *step, uri)?,
        _ => return Err(Error::profile("a transform stands where none may")),
    };
    // XMLDSig 4.4.3.3: a same-document reference that is no XPointer has no comments, whatever the transform keeps.
    Ok((enveloped, canonicalization.without_comments()))
}

/// The canonicalization with this URI, and the PrefixList that the exclusive one may hold.
pub(crate) fn read_canonicalization(
    document: &Document<'_>,
    method: ElementId,
    uri: &str,
) -> Result<Canonicalization, Error> {
    let canonicalization = Canonicalization::from_uri(uri)
        .ok_or(Error::profile("a transform or canonicalization is not one this verifier knows"))?;
    let parameters = element_content(document, method)?;
    let Some((&parameter, rest)) = parameters.split_first() else {
        return Ok(canonicalization);
    };
    if !canonicalization.is_exclusive()
        || !document.is_element(parameter, EXC_C14N, "InclusiveNamespaces")
        || !rest.is_empty()
    {
        return Err(Error::profile("canonicalization has a parameter outside the profile"));
    }
    check_empty(document, parameter)?;
    let prefixes = document.attribute(parameter, "PrefixList").unwrap_or_default();
    Ok(canonicalization.with_inclusive_prefixes(prefixes.split_ascii_whitespace()))
}

/// The child elements of `parent`, which are exactly these, in this order, in the XMLDSig namespace.
pub(crate) fn ds_children<const N: usize>(
    document: &Document<'_>,
    parent: ElementId,
    names: [&str; N],
    rule: &'static str,
) -> Result<[ElementId; N], Error> {
    let children = element_content(document, parent)?;
    let found: [ElementId; N] = children.try_into().map_err(|_| Error::profile(rule))?;
    let expected = found.iter().zip(names).all(|(&id, name)| document.is_element(id, DS, name));
    if expected { Ok(found) } else { Err(Error::profile(rule)) }
}

/// The child elements of an element that holds elements only; white space, comments and instructions are skipped.
pub(crate) fn element_content(
    document: &Document<'_>,
    parent: ElementId,
) -> Result<Vec<ElementId>, Error> {
    let mut skip_to = None;
    let mut children = Vec::new();
    for node in document.inside(parent) {
        match *node {
            Node::End(id) if skip_to == Some(id) => skip_to = None,
            _ if skip_to.is_some() => {}
            Node::Start(id) => {
                children.push(id);
                skip_to = Some(id);
            }
            Node::Text { span, .. } if span.of(&document.source).iter().copied().all(is_space) => {}
            Node::Comment(_) | Node::Instruction(_) => {}
            Node::Text { .. } | Node::Cdata(_) | Node::End(_) => {
                return Err(Error::profile("text stands between the elements of a signature"));
            }
        }
    }
    Ok(children)
}

/// The text of an element that holds nothing else: a comment would let two readers see two values.
pub(crate) fn leaf_text(document: &Document<'_>, leaf: ElementId) -> Result<String, Error> {
    let only_text = |node: &Node| matches!(node, Node::Text { .. } | Node::Cdata(_));
    if document.inside(leaf).iter().all(only_text) {
        return Ok(document.text(leaf));
    }
    Err(Error::profile("a value of the signature holds more than text"))
}

/// Whether a fragment is an ID and not an `XPointer`, whose parentheses no name can hold. The ID of a vector may start with a
/// digit (DOMAIN 2.2), so the first character is one like the others.
pub(crate) fn is_id(fragment: &str) -> bool {
    !fragment.is_empty() && fragment.chars().all(is_name_char)
}

/// Octets of base64 text with the white space of XML anywhere; None where it is not base64.
pub(crate) fn read_base64(value: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = value.bytes().filter(|&octet| !is_space(octet)).collect();
    STANDARD.decode(compact).ok()
}

pub(crate) fn algorithm(document: &Document<'_>, method: ElementId) -> Result<String, Error> {
    document.attribute(method, "Algorithm").ok_or(Error::profile("a method names no algorithm"))
}

pub(crate) fn check_empty(document: &Document<'_>, method: ElementId) -> Result<(), Error> {
    if element_content(document, method)?.is_empty() {
        return Ok(());
    }
    Err(Error::profile("a method has a parameter outside the profile"))
}

/// Base64 as it stands in a signature of ours: no line breaks.
pub(crate) fn write_base64(octets: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(STANDARD.encode(octets).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict_but_for_white_space() {
        assert_eq!(read_base64(" AQ\r\nID\t"), Some(vec![1, 2, 3]));
        assert_eq!(read_base64(""), Some(vec![]));
        for wrong in ["A", "AQ", "AQ=", "AQI=ID==", "AR==", "A-_=", "AQID\u{a0}", "????"] {
            assert_eq!(read_base64(wrong), None, "{wrong}");
        }
    }
}
