//! Inclusion and consistency proofs: made over nodes, verified without them (RFC 9162 sections 2.1.3 and 2.1.4).

use crate::error::Error;
use crate::hash::{EMPTY_ROOT, Hash, node_hash};

/// What can tell the hash of a complete subtree.
pub trait Nodes {
    /// Why it cannot.
    type Error: From<Error>;

    /// The hash of the subtree over entries `index << height` to `(index + 1) << height`.
    ///
    /// # Errors
    ///
    /// The node is not at hand, or lies outside the tree.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the tree of `size` entries.
///
/// # Errors
///
/// Whatever the nodes raise.
pub fn tree_root<N: Nodes>(size: u64, nodes: &mut N) -> Result<Hash, N::Error> {
    if size == 0 { Ok(EMPTY_ROOT) } else { range_hash(0, size, nodes) }
}

/// Proves that the entry at `index` is in the tree of `size` entries.
///
/// # Errors
///
/// [`Error::OutOfTree`] for an index that is not; whatever the nodes raise.
pub fn inclusion_proof<N: Nodes>(
    index: u64,
    size: u64,
    nodes: &mut N,
) -> Result<Vec<Hash>, N::Error> {
    if index >= size {
        return Err(Error::OutOfTree.into());
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_hash(middle, end, nodes)?);
            end = middle;
        } else {
            proof.push(range_hash(start, middle, nodes)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of `first` entries is the beginning of the tree of `second`.
///
/// # Errors
///
/// [`Error::OutOfTree`] unless `first <= second`; whatever the nodes raise.
pub fn consistency_proof<N: Nodes>(
    first: u64,
    second: u64,
    nodes: &mut N,
) -> Result<Vec<Hash>, N::Error> {
    if first > second {
        return Err(Error::OutOfTree.into());
    }
    let (mut start, mut end) = (0, second);
    let mut proof = Vec::new();
    if first == 0 || first == second {
        return Ok(proof);
    }
    while first != end {
        let middle = start + split(end - start);
        if first <= middle {
            proof.push(range_hash(middle, end, nodes)?);
            end = middle;
        } else {
            proof.push(range_hash(start, middle, nodes)?);
            start = middle;
        }
    }
    if start != 0 {
        // A walk that never went right ends at the first tree itself, whose root the verifier has.
        proof.push(range_hash(start, end, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is the entry at `index` of the tree with this size and root (RFC 9162 section 2.1.3.2).
///
/// # Errors
///
/// [`Error::OutOfTree`], [`Error::ProofInvalid`]
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), Error> {
    if index >= size {
        return Err(Error::OutOfTree);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(Error::ProofInvalid);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(Error::ProofInvalid) }
}

/// Checks that a tree is the beginning of another (RFC 9162 section 2.1.4.2); every tree extends the empty one.
///
/// # Errors
///
/// [`Error::OutOfTree`] unless `first <= second`; [`Error::ProofInvalid`]
pub fn verify_consistency(
    first: u64,
    first_root: &Hash,
    second: u64,
    second_root: &Hash,
    proof: &[Hash],
) -> Result<(), Error> {
    if first > second {
        return Err(Error::OutOfTree);
    }
    if first == second || first == 0 {
        let same = if first == 0 { first_root == &EMPTY_ROOT } else { first_root == second_root };
        return if same && proof.is_empty() { Ok(()) } else { Err(Error::ProofInvalid) };
    }
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let mut rest = proof.iter();
    let seed = if first.is_power_of_two() { Some(first_root) } else { rest.next() };
    let Some(seed) = seed else { return Err(Error::ProofInvalid) };
    let (mut old, mut new) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return Err(Error::ProofInvalid);
        }
        if node & 1 == 1 || node == last {
            (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new = node_hash(&new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    let leads = last == 0 && old == *first_root && new == *second_root;
    if leads { Ok(()) } else { Err(Error::ProofInvalid) }
}

/// The hash over entries `start` to `end` of a range that a walk from the root meets: `start` is a multiple of the power of two
/// at or above its length.
fn range_hash<N: Nodes>(start: u64, end: u64, nodes: &mut N) -> Result<Hash, N::Error> {
    let length = end - start;
    if length.is_power_of_two() {
        let height = length.trailing_zeros();
        return nodes.node(height, start >> height);
    }
    let middle = start + split(length);
    let left = range_hash(start, middle, nodes)?;
    Ok(node_hash(&left, &range_hash(middle, end, nodes)?))
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}
