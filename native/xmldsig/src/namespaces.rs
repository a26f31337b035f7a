//! Namespaces in XML 1.0: names, the rules of declarations, and what is in scope while reading.

use std::cmp::Ordering;

use crate::document::{Declaration, DeclarationId, Name, Piece, narrow, wide};
use crate::uri::is_uri_reference;
use crate::words::{WORD, first_of, word_at};

pub(crate) const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(crate) const EXC_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(crate) const SAML1: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
pub(crate) const SAML2: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(crate) const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub(crate) const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(crate) const WSA: &str = "http://www.w3.org/2005/08/addressing";
pub(crate) const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub(crate) const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub(crate) const XOP: &str = "http://www.w3.org/2004/08/xop/include";
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// The declarations in scope, innermost last.
///
/// Bounded by `Limits::namespaces`, so that a linear search is a constant, and mostly spared: a name remembers where its prefix
/// was found the last time. Each binding carries the rank of its URI among those in scope: equal URIs have equal ranks and a
/// smaller URI a smaller rank, so that sorting attributes never compares URIs again.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Those in scope, and behind them the last ones that stood on exactly these: a list of records binds the same again and again.
    bindings: Vec<Binding>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Binding {
    declaration: DeclarationId,
    /// The prefix in one word, because that is what reading compares most often.
    word: u64,
    prefix: Piece,
    uri: Piece,
    /// The place of the outermost one with the same URI: places stay what they are where one `returns`, declarations do not.
    same: usize,
    rank: u32,
    /// The place of the one that spoke for the prefix before.
    hides: Option<usize>,
    /// A nearer one speaks for the prefix.
    hidden: bool,
}

/// What a prefix resolves to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolved {
    pub(crate) declaration: DeclarationId,
    pub(crate) rank: u32,
}

impl Scope {
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Leave all but the outermost `len`.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        while self.len > len {
            self.len -= 1;
            self.set_hidden(self.len, false);
        }
    }

    /// Whether the last one that stood on the present ones said the same, so that it needs no second check.
    pub(crate) fn returns<'o>(
        &self,
        prefix: &[u8],
        uri: &[u8],
        octets: impl Fn(Piece) -> &'o [u8],
    ) -> bool {
        let last = self.bindings.get(self.len);
        last.is_some_and(|last| octets(last.prefix) == prefix && octets(last.uri) == uri)
    }

    /// Bring a declaration into scope, one that `returns` or another; the outermost one with the same URI. Cost of another:
    /// one comparison of the new URI with each in scope.
    pub(crate) fn push<'o>(
        &mut self,
        id: DeclarationId,
        declaration: Declaration,
        returns: bool,
        octets: impl Fn(Piece) -> &'o [u8],
    ) -> DeclarationId {
        if !returns {
            self.bindings.truncate(self.len);
            self.add(id, declaration, octets);
        }
        self.set_hidden(self.len, true);
        let binding = self.bindings.get_mut(self.len);
        self.len += 1;
        let same = binding.map(|binding| {
            binding.declaration = id;
            binding.hidden = false;
            binding.same
        });
        same.and_then(|same| self.bindings.get(same)).map_or(id, |same| same.declaration)
    }

    fn add<'o>(
        &mut self,
        id: DeclarationId,
        declaration: Declaration,
        octets: impl Fn(Piece) -> &'o [u8],
    ) {
        let Declaration { prefix, uri, .. } = declaration;
        let (prefix_octets, uri_octets) = (octets(prefix), octets(uri));
        let mut below = 0;
        let mut equal = None;
        for binding in &self.bindings {
            match octets(binding.uri).cmp(uri_octets) {
                Ordering::Less => below = below.max(binding.rank),
                Ordering::Equal if equal.is_none() => equal = Some((binding.rank, binding.same)),
                Ordering::Equal | Ordering::Greater => {}
            }
        }
        let (rank, same) = equal.unwrap_or_else(|| {
            let above = self.bindings.iter_mut().filter(|binding| binding.rank > below);
            above.for_each(|binding| binding.rank += 1);
            (below + 1, self.bindings.len())
        });
        let hides = self
            .bindings
            .iter()
            .rposition(|binding| !binding.hidden && octets(binding.prefix) == prefix_octets);
        let word = word_of(prefix_octets);
        let hidden = false;
        self.bindings.push(Binding {
            declaration: id,
            word,
            prefix,
            uri,
            same,
            rank,
            hides,
            hidden,
        });
    }

    /// Let the binding at a place hide the one it hides, or no longer.
    fn set_hidden(&mut self, place: usize, hidden: bool) {
        let hides = self.bindings.get(place).and_then(|binding| binding.hides);
        if let Some(before) = hides.and_then(|place| self.bindings.get_mut(place)) {
            before.hidden = hidden;
        }
    }

    /// What a prefix resolves to, with its word; `octets` reads the pieces that were pushed. `place` is where it was found the last
    /// time, and is kept up to date.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for every tag: a profile asked for it")]
    pub(crate) fn resolve<'o>(
        &self,
        word: u64,
        place: &mut u32,
        prefix: impl Fn() -> &'o [u8],
        octets: impl Fn(Piece) -> &'o [u8],
    ) -> Option<Resolved> {
        let is_wanted = |binding: &Binding| {
            binding.word == word
                && !binding.hidden
                && (is_whole(word) || octets(binding.prefix) == prefix())
        };
        let bindings = self.bindings.get(..self.len)?;
        if let Some(found) = bindings.get(wide(*place)).filter(|binding| is_wanted(binding)) {
            return Some(Resolved { declaration: found.declaration, rank: found.rank });
        }
        let found = last_of(bindings, is_wanted)?;
        *place = narrow(found);
        let found = bindings.get(found)?;
        Some(Resolved { declaration: found.declaration, rank: found.rank })
    }
}

#[inline(never)]
fn last_of(bindings: &[Binding], is_wanted: impl Fn(&Binding) -> bool) -> Option<usize> {
    bindings.iter().rposition(is_wanted)
}

/// The length of a name's prefix and its first seven octets in one word: equal for equal prefixes, and decisive where it is whole.
pub(crate) fn prefix_word(source: &[u8], name: Name) -> u64 {
    match word_at(source, wide(name.start)) {
        Some(octets) if name.prefix_len <= 7 => {
            first_of(octets, name.prefix_len.into()) << 8 | u64::from(name.prefix_len)
        }
        _ => word_of(name.prefix(source)),
    }
}

fn word_of(prefix: &[u8]) -> u64 {
    let mut word = [0; WORD];
    let (length, start) = word.split_at_mut(1);
    length.fill(u8::try_from(prefix.len()).unwrap_or(u8::MAX));
    start.iter_mut().zip(prefix).for_each(|(place, &octet)| *place = octet);
    u64::from_le_bytes(word)
}

/// Whether a prefix is all in its word.
#[inline]
const fn is_whole(word: u64) -> bool {
    word & 0xFF <= 7
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
