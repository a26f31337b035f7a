//! How large a document may be before it is refused by name.

/// Bounds of the reader and of canonicalization.
///
/// Whatever the shape of the input, reading holds at most 26 octets for each octet of it, beside itself; a canonical form
/// while it grows, at most three for each octet of its own and of the input; and one that is only hashed, at most 10 for each of
/// the input, all of them for what is rare: its declarations, and a text that has to be rewritten. Time is linear in the input, and that of
/// canonicalization in what it writes, with `namespaces` as the only factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Size of the document; never above 4 GiB − 1, because places in it are 32-bit numbers.
    pub octets: usize,
    /// Elements inside elements.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included; never above 65,535.
    pub attributes: usize,
    /// Namespace declarations in scope at one element.
    pub namespaces: usize,
    /// Octets of one name with its prefix; never above 65,535.
    pub name: usize,
    /// Octets of one attribute value as it is written.
    pub value: usize,
    /// Character references and references to the five entities, in the whole document.
    pub references: usize,
    /// Octets of a canonical form for each octet of its document: the exclusive one repeats a declaration wherever it is used
    /// again, so that it could be as long as the square of the document.
    pub growth: usize,
}

impl Limits {
    /// For octets that this crate wrote itself from a document within limits.
    pub(crate) const OWN: Self = Self {
        octets: 0xFFFF_FFFF,
        depth: usize::MAX,
        attributes: 0xFFFF,
        namespaces: usize::MAX,
        name: 0xFFFF,
        value: usize::MAX,
        references: usize::MAX,
        growth: usize::MAX,
    };
}

impl Default for Limits {
    /// 10 MiB, 100 levels, 256 attributes, 64 namespaces in scope, names of 4096 octets, values of 1 MiB, a million references,
    /// canonical forms of 32 times the document.
    fn default() -> Self {
        Self {
            octets: 10 * 1024 * 1024,
            depth: 100,
            attributes: 256,
            namespaces: 64,
            name: 4096,
            value: 1024 * 1024,
            references: 1_000_000,
            growth: 32,
        }
    }
}
