//! The hashing of RFC 9162 section 2.1.1.

use sha2::{Digest, Sha256};

/// Octets of a hash.
pub const HASH_OCTETS: usize = 32;

/// One SHA-256 value of the tree.
pub type Hash = [u8; HASH_OCTETS];

/// The root of a tree without entries: the hash of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// `SHA-256(0x00 || entry)`
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// `SHA-256(0x01 || left || right)`
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The Merkle tree hash over a sequence of hashes; a hash for each hash, no more memory than one level.
#[must_use]
pub fn merkle_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                // RFC 9162 2.1.1 splits at the largest power of two, so an odd last subtree rises unchanged.
                _ => pair.first().copied().unwrap_or(EMPTY_ROOT),
            })
            .collect();
    }
    level.first().copied().unwrap_or(EMPTY_ROOT)
}
