//! Namespaces in XML 1.0: names, the rules of declarations, and what is in scope while reading.

use crate::document::{Declaration, DeclarationId, Name, Piece, wide};
use crate::uri::is_uri_reference;

pub(crate) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(crate) const EXC_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(crate) const SAML1: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
pub(crate) const SAML2: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(crate) const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub(crate) const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub(crate) const XOP: &str = "http://www.w3.org/2004/08/xop/include";
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The declarations in scope, innermost last.
///
/// Bounded by `Limits::namespaces`, so that a linear search is a constant. Each binding carries the rank of its URI
/// among those in scope: equal URIs have equal ranks and a smaller URI a smaller rank, so that sorting attributes
/// never compares URIs again.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    bindings: Vec<Binding>,
}

#[derive(Debug, Clone, Copy)]
struct Binding {
    declaration: DeclarationId,
    /// The prefix in one word, because that is what reading compares most often.
    word: u64,
    prefix: Piece,
    uri: Piece,
    same: DeclarationId,
    rank: u32,
}

/// What a prefix resolves to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolved {
    pub(crate) declaration: DeclarationId,
    pub(crate) rank: u32,
}

impl Scope {
    pub(crate) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bindings.truncate(len);
    }

    /// Bring a declaration into scope; the outermost one with the same URI. Cost: one comparison of the new URI with each in
    /// scope.
    pub(crate) fn push<'o>(
        &mut self,
        id: DeclarationId,
        declaration: Declaration,
        octets: impl Fn(Piece) -> &'o [u8],
    ) -> DeclarationId {
        let uri = octets(declaration.uri);
        let mut below = 0;
        let mut equal = uri.is_empty().then_some((0, DeclarationId::NONE));
        for binding in &self.bindings {
            let other = octets(binding.uri);
            if other == uri {
                equal = Some((binding.rank, binding.same));
                break;
            }
            if other < uri {
                below = below.max(binding.rank);
            }
        }
        let (rank, same) = equal.unwrap_or_else(|| {
            let above = self.bindings.iter_mut().filter(|binding| binding.rank > below);
            above.for_each(|binding| binding.rank += 1);
            (below + 1, id)
        });
        let word = word(octets(declaration.prefix));
        let Declaration { prefix, uri, .. } = declaration;
        self.bindings.push(Binding { declaration: id, word, prefix, uri, same, rank });
        same
    }

    /// What the prefix of a name in `source` resolves to; `octets` reads the pieces that were pushed.
    #[inline]
    pub(crate) fn resolve<'o>(
        &self,
        source: &[u8],
        name: Name,
        octets: impl Fn(Piece) -> &'o [u8],
    ) -> Option<Resolved> {
        let wanted = word_at(source, name);
        let long = name.prefix_len > 7;
        let binding = self.bindings.iter().rev().find(|item| {
            item.word == wanted && (!long || octets(item.prefix) == name.prefix(source))
        })?;
        Some(Resolved { declaration: binding.declaration, rank: binding.rank })
    }
}

/// A prefix's length and its first seven octets in one word: equal for equal prefixes, and decisive up to seven octets.
fn word(prefix: &[u8]) -> u64 {
    let mut word = [0; 8];
    let (length, start) = word.split_at_mut(1);
    length.fill(u8::try_from(prefix.len()).unwrap_or(u8::MAX));
    start.iter_mut().zip(prefix).for_each(|(place, &octet)| *place = octet);
    u64::from_le_bytes(word)
}

/// `word` of a name's prefix, read with one load where the source goes on for long enough.
#[inline]
fn word_at(source: &[u8], name: Name) -> u64 {
    let start = wide(name.start);
    match source.get(start..).and_then(|rest| rest.first_chunk()) {
        Some(&chunk) if name.prefix_len <= 7 => {
            let len = u64::from(name.prefix_len);
            let kept = u64::from_le_bytes(chunk) & ((1 << (8 * len)) - 1);
            kept << 8 | len
        }
        _ => word(name.prefix(source)),
    }
}

/// Namespaces in XML 1.0, section 3: what may be bound to what. `Ok(false)`: `xml` itself, nothing to record.
pub(crate) fn check_declaration(prefix: &[u8], uri: &[u8]) -> Result<bool, &'static str> {
    match (prefix, uri) {
        (b"xmlns", _) => Err("the prefix xmlns cannot be declared"),
        (b"xml", uri) if uri == XML.as_bytes() => Ok(false),
        (b"xml", _) => Err("the prefix xml cannot be bound to another namespace"),
        (_, uri) if uri == XML.as_bytes() => {
            Err("the XML namespace cannot be bound to another prefix")
        }
        (_, uri) if uri == XMLNS.as_bytes() => Err("the xmlns namespace cannot be declared"),
        ([_, ..], b"") => Err("a prefix cannot be undeclared"),
        (_, uri) if !is_uri_reference(uri) => Err("a namespace name is not a URI reference"),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bindings_are_refused() {
        assert_eq!(check_declaration(b"xml", XML.as_bytes()), Ok(false));
        assert!(check_declaration(b"xml", b"urn:a").is_err());
        assert!(check_declaration(b"a", XML.as_bytes()).is_err());
        assert!(check_declaration(b"", XML.as_bytes()).is_err());
        assert!(check_declaration(b"a", XMLNS.as_bytes()).is_err());
        assert!(check_declaration(b"xmlns", b"urn:a").is_err());
        assert!(check_declaration(b"a", b"").is_err());
        assert_eq!(check_declaration(b"", b""), Ok(true));
    }
}
