//! `SignedInfo`: written for our own signatures, read strictly from those of others.
//!
//! Reading accepts one shape only: CanonicalizationMethod, SignatureMethod, one Reference to the whole assertion with the
//! enveloped-signature transform and at most exclusive canonicalization after it. Everything else XMLDSig allows
//! (external references, XPath, XSLT, several references, manifests, HMAC lengths) is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::algorithms::{C14N_10, C14N_EXCLUSIVE, ENVELOPED};
use crate::c14n::{Canonicalization, Method};
use crate::characters::is_space;
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
    pub(crate) canonicalization: Canonicalization,
    pub(crate) digest_method: String,
    pub(crate) digest_value: String,
}

impl SignedInfo {
    pub(crate) fn read(document: &Document<'_>, signed_info: ElementId) -> Result<Self, Error> {
        let [canonicalization, method, reference] = ds_children(
            document,
            signed_info,
            ["CanonicalizationMethod", "SignatureMethod", "Reference"],
            "SignedInfo is not one method of each kind and one Reference",
        )?;
        let uri = algorithm(document, canonicalization)?;
        let canonicalization = if uri == C14N_10 {
            check_empty(document, canonicalization)?;
            Canonicalization::new(Method::Inclusive, false)
        } else if uri == C14N_EXCLUSIVE {
            exclusive(document, canonicalization)?
        } else {
            return Err(Error::profile("SignedInfo is canonicalized in a way outside the profile"));
        };
        check_empty(document, method)?;
        Ok(Self {
            canonicalization,
            signature_method: algorithm(document, method)?,
            reference: Reference::read(document, reference)?,
        })
    }

    /// The canonical form of what variant A signs, as a document of its own.
    pub(crate) fn write(methods: &Methods, id: &str, digest: &[u8]) -> Vec<u8> {
        let mut octets = Vec::with_capacity(1024);
        octets.extend_from_slice(b"<ds:SignedInfo xmlns:ds=\"");
        octets.extend_from_slice(DS.as_bytes());
        octets.extend_from_slice(b"\">");
        write_inside(methods, id, digest, &mut octets);
        octets
    }
}

/// The algorithm URIs of one signing key.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    pub(crate) signature: String,
    pub(crate) digest: String,
}

/// `SignedInfo` behind its start tag, end tag included: the part that stands in the Signature as it was signed.
pub(crate) fn write_inside(methods: &Methods, id: &str, digest: &[u8], octets: &mut Vec<u8>) {
    let mut raw = |markup: &str| octets.extend_from_slice(markup.as_bytes());
    raw("<ds:CanonicalizationMethod Algorithm=\"");
    raw(C14N_EXCLUSIVE);
    raw("\"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"");
    raw(&methods.signature);
    raw("\"></ds:SignatureMethod><ds:Reference URI=\"#");
    raw(id);
    raw("\"><ds:Transforms><ds:Transform Algorithm=\"");
    raw(ENVELOPED);
    raw("\"></ds:Transform><ds:Transform Algorithm=\"");
    raw(C14N_EXCLUSIVE);
    raw("\"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm=\"");
    raw(&methods.digest);
    raw("\"></ds:DigestMethod><ds:DigestValue>");
    raw(&STANDARD.encode(digest));
    raw("</ds:DigestValue></ds:Reference></ds:SignedInfo>");
}

impl Reference {
    fn read(document: &Document<'_>, reference: ElementId) -> Result<Self, Error> {
        let [transforms, method, value] = ds_children(
            document,
            reference,
            ["Transforms", "DigestMethod", "DigestValue"],
            "Reference is not Transforms, DigestMethod and DigestValue",
        )?;
        let uri =
            document.attribute(reference, "URI").ok_or(Error::profile("Reference has no URI"))?;
        let id = match uri.strip_prefix('#') {
            Some(id) if !id.is_empty() => Some(id.to_owned()),
            None if uri.is_empty() => None,
            _ => return Err(Error::profile("Reference leads outside the assertion")),
        };
        check_empty(document, method)?;
        Ok(Self {
            id,
            canonicalization: read_transforms(document, transforms)?,
            digest_method: algorithm(document, method)?,
            digest_value: leaf_text(document, value)?,
        })
    }
}

/// Enveloped-signature, then exclusive canonicalization or nothing (XMLDSig 4.4.3.2: then Canonical XML 1.0).
fn read_transforms(
    document: &Document<'_>,
    transforms: ElementId,
) -> Result<Canonicalization, Error> {
    let mut steps = Vec::new();
    for step in element_content(document, transforms)? {
        if !document.is_element(step, DS, "Transform") || steps.len() == 2 {
            return Err(Error::profile("Transforms holds more than the two allowed ones"));
        }
        steps.push((step, algorithm(document, step)?));
    }
    let Some(((first, uri), rest)) = steps.split_first() else {
        return Err(Error::profile("the enveloped-signature transform is missing"));
    };
    if uri != ENVELOPED {
        return Err(Error::profile("the first transform is not enveloped-signature"));
    }
    check_empty(document, *first)?;
    match rest.first() {
        None => Ok(Canonicalization::new(Method::Inclusive, false)),
        Some((second, uri)) if uri == C14N_EXCLUSIVE => exclusive(document, *second),
        Some(_) => Err(Error::profile("the second transform is not exclusive canonicalization")),
    }
}

/// Exclusive canonicalization with the PrefixList its element may hold.
fn exclusive(document: &Document<'_>, method: ElementId) -> Result<Canonicalization, Error> {
    let canonicalization = Canonicalization::new(Method::Exclusive, false);
    let parameters = element_content(document, method)?;
    let Some((&parameter, rest)) = parameters.split_first() else {
        return Ok(canonicalization);
    };
    if !document.is_element(parameter, EXC_C14N, "InclusiveNamespaces") || !rest.is_empty() {
        return Err(Error::profile("canonicalization has a parameter outside the profile"));
    }
    check_empty(document, parameter)?;
    let prefixes = document.attribute(parameter, "PrefixList").unwrap_or_default();
    Ok(canonicalization.with_inclusive_prefixes(prefixes.split_ascii_whitespace()))
}

/// The child elements of `parent`, which are exactly these, in this order, in the XMLDSig namespace.
fn ds_children<const N: usize>(
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

/// Octets of base64 text with the white space of XML anywhere; None where it is not base64.
pub(crate) fn read_base64(value: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = value.bytes().filter(|&octet| !is_space(octet)).collect();
    STANDARD.decode(compact).ok()
}

fn algorithm(document: &Document<'_>, method: ElementId) -> Result<String, Error> {
    document.attribute(method, "Algorithm").ok_or(Error::profile("a method names no algorithm"))
}

fn check_empty(document: &Document<'_>, method: ElementId) -> Result<(), Error> {
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
