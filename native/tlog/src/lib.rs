//! Merkle logs as RFC 9162 section 2.1 hashes them (SHA-256, as RFC 6962) and C2SP tlog-tiles stores them.
//!
//! Owns hashes, proofs, and the names and octets of tiles and entry bundles. Promises that a tree grown here has one form on
//! disk, whatever the steps it grew by, and that nothing read is believed before its size fits. Does no input or output, knows
//! no checkpoint, no key and no entry's meaning.
//!
//! A log grows at its right [`Edge`]: `edge.grow(entries)` computes a [`Growth`], the files to write and the edge that follows
//! once they are written; the old edge stays valid until then. Proofs are made over [`Nodes`], which a growth, or tiles read
//! back ([`TileNodes`]), can answer.
#![forbid(unsafe_code)]

mod bundle;
mod edge;
mod error;
mod hash;
mod proof;
mod tile;

#[cfg(test)]
mod tests;

pub use bundle::{read_bundle, write_entry};
pub use edge::{Edge, File, Growth};
pub use error::Error;
pub use hash::{EMPTY_ROOT, HASH_OCTETS, Hash, leaf_hash, merkle_root, node_hash};
pub use proof::{
    Nodes, consistency_proof, inclusion_proof, tree_root, verify_consistency, verify_inclusion,
};
pub use tile::{Resource, TILE_WIDTH, TileNodes, read_tile, write_tile};
