//! How large a document may be before it is refused by name.

/// Bounds of the reader. Memory stays under 24 octets per octet of input plus the input itself,
/// whatever its shape; time is linear in the input with `namespaces` as the only factor.
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
}

impl Limits {
    /// For octets that this crate wrote itself from a document within limits.
    pub(crate) const OWN: Self = Self {
        octets: 0xFFFF_FFFF,
        depth: usize::MAX,
        attributes: 0xFFFF,
        namespaces: usize::MAX,
        name: 0xFFFF,
    };
}

impl Default for Limits {
    /// 10 MiB, 100 levels, 256 attributes, 64 namespaces in scope, names of 4096 octets.
    fn default() -> Self {
        Self { octets: 10 * 1024 * 1024, depth: 100, attributes: 256, namespaces: 64, name: 4096 }
    }
}
