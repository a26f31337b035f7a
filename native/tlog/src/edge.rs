//! The right edge of a log: all that growing needs to know of it.

use crate::bundle::{read_bundle, write_entry};
use crate::error::Error;
use crate::hash::{EMPTY_ROOT, Hash, leaf_hash, merkle_root, node_hash};
use crate::proof::Nodes;
use crate::tile::{Resource, TILE_WIDTH, read_tile, write_tile};

/// One file of a log: its path below the log's prefix, and its octets, which never change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// Which it is.
    pub resource: Resource,
    /// What it holds.
    pub octets: Vec<u8>,
}

/// The partial tiles and the partial bundle of a log of `size` entries.
///
/// `levels[l]` holds the hashes of the partial tile of level `l`, `(size >> 8 * l) % 256` of them.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

/// A log that has grown: what it is then, and what has to be written before it is.
#[derive(Debug, Clone)]
pub struct Growth {
    edge: Edge,
    first: u64,
    peaks: Vec<Peak>,
    leaves: Vec<Hash>,
    files: Vec<File>,
}

/// A largest complete subtree of a tree.
#[derive(Debug, Clone, Copy)]
struct Peak {
    height: u32,
    index: u64,
    hash: Hash,
}

impl Edge {
    /// The edge of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge as read back: `tiles[l]` is the partial tile of level `l`, empty where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::TileWidth`] or [`Error::BundleTorn`] when they are not what a log of `size` has at its edge, the entries not
    /// those that the tile of level 0 has hashes of.
    pub fn restore(size: u64, tiles: &[&[u8]], bundle: &[u8]) -> Result<Self, Error> {
        let mut levels = Vec::new();
        for (level, octets) in (0..level_count(size)).zip(tiles) {
            let hashes = size >> (8 * level);
            levels.push(if hashes % u64::from(TILE_WIDTH) == 0 {
                Vec::new()
            } else {
                read_tile(octets, Resource::tile(level, hashes / u64::from(TILE_WIDTH), size)?)?
            });
        }
        let leaves = read_bundle(bundle)?.into_iter().map(leaf_hash).collect::<Vec<_>>();
        let expected = levels.first().map_or(&[][..], Vec::as_slice);
        if leaves != expected {
            let wrong = leaves.iter().zip(expected).take_while(|(a, b)| a == b).count();
            return Err(Error::BundleTorn { entry: wrong });
        }
        if levels.len() != usize::try_from(level_count(size)).unwrap_or(usize::MAX) {
            return Err(Error::NodeUnknown);
        }
        Ok(Self { size, levels, bundle: bundle.to_vec() })
    }

    /// Entries of the log.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all of them.
    #[must_use]
    pub fn root(&self) -> Hash {
        let peaks = self.peaks();
        let mut hashes = peaks.iter().rev().map(|peak| peak.hash);
        let Some(last) = hashes.next() else { return EMPTY_ROOT };
        hashes.fold(last, |right, left| node_hash(&left, &right))
    }

    /// Computes what the log becomes with these entries; hashes each once, and one node more for each.
    ///
    /// # Errors
    ///
    /// [`Error::EntryTooLarge`]
    pub fn grow(&self, entries: &[&[u8]]) -> Result<Growth, Error> {
        let (edge, leaves, files) = self.extend(entries, self.size)?;
        Ok(Growth { edge, first: self.size, peaks: self.peaks(), leaves, files })
    }

    /// The edge behind these entries, their leaf hashes, and the files that became full or that a log of `before` entries has not.
    fn extend(
        &self,
        entries: &[&[u8]],
        before: u64,
    ) -> Result<(Self, Vec<Hash>, Vec<File>), Error> {
        let mut edge = self.clone();
        let mut leaves = Vec::with_capacity(entries.len());
        let mut files = Vec::new();
        for entry in entries {
            write_entry(&mut edge.bundle, entry)?;
            let leaf = leaf_hash(entry);
            leaves.push(leaf);
            edge.size += 1;
            edge.push(leaf, &mut files)?;
        }
        edge.write_partials(before, &mut files)?;
        Ok((edge, leaves, files))
    }

    /// Adds a leaf hash, whose entry is counted already, and hands over every file that became full with it.
    fn push(&mut self, leaf: Hash, files: &mut Vec<File>) -> Result<(), Error> {
        let mut hash = leaf;
        while self.levels.len() < usize::try_from(level_count(self.size)).unwrap_or(0) {
            self.levels.push(Vec::new());
        }
        for (level, hashes) in (0..).zip(&mut self.levels) {
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let full = std::mem::take(hashes);
            let index = (self.size >> (8 * level)) / u64::from(TILE_WIDTH) - 1;
            if level == 0 {
                let octets = std::mem::take(&mut self.bundle);
                files.push(File { resource: Resource::bundle(index, self.size)?, octets });
            }
            let resource = Resource::tile(level, index, self.size)?;
            files.push(File { resource, octets: write_tile(&full) });
            hash = merkle_root(&full);
        }
        Ok(())
    }

    /// Hands over the partial files that a log of `before` entries did not have.
    fn write_partials(&self, before: u64, files: &mut Vec<File>) -> Result<(), Error> {
        for (level, hashes) in (0..level_count(self.size)).zip(&self.levels) {
            let count = self.size >> (8 * level);
            if hashes.is_empty() || count == before >> (8 * level) {
                continue;
            }
            let index = count / u64::from(TILE_WIDTH);
            if level == 0 {
                let resource = Resource::bundle(index, self.size)?;
                files.push(File { resource, octets: self.bundle.clone() });
            }
            let resource = Resource::tile(level, index, self.size)?;
            files.push(File { resource, octets: write_tile(hashes) });
        }
        Ok(())
    }

    /// The largest complete subtrees, from the left.
    fn peaks(&self) -> Vec<Peak> {
        let mut peaks = Vec::new();
        for (level, hashes) in (0..level_count(self.size)).zip(&self.levels).rev() {
            let mut rest = hashes.as_slice();
            for above in (0..8).rev() {
                let Some((subtree, behind)) = rest.split_at_checked(1 << above) else { continue };
                let height = 8 * level + above;
                // The bits of the size above `height` count the subtrees of this height; the last of them is this one.
                let index = (self.size >> height) - 1;
                peaks.push(Peak { height, index, hash: merkle_root(subtree) });
                rest = behind;
            }
        }
        peaks
    }
}

impl Growth {
    /// Computes what the log becomes with still more entries: what it would be if it had grown by all of them at once, but that of
    /// the full files those alone are handed over which this growth does not have.
    ///
    /// # Errors
    ///
    /// [`Error::EntryTooLarge`]
    pub fn grow(&self, entries: &[&[u8]]) -> Result<Self, Error> {
        let (edge, more, files) = self.edge.extend(entries, self.first)?;
        let leaves = [self.leaves.as_slice(), &more].concat();
        Ok(Self { edge, first: self.first, peaks: self.peaks.clone(), leaves, files })
    }

    /// The edge once every file is written.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// What has to be written: full tiles and bundles as they filled since the last step, then the partial ones.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The leaf hashes of the new entries.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }
}

/// Any node of the grown tree that is new, or was a peak before: enough for consistency proofs from every size between the two.
impl Nodes for &Growth {
    type Error = Error;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Error> {
        let (start, end) = (index << height, (index + 1) << height);
        if end <= self.first {
            let held = self.peaks.iter().find(|peak| peak.height == height && peak.index == index);
            return held.map(|peak| peak.hash).ok_or(Error::NodeUnknown);
        }
        if start >= self.first {
            let range = usize::try_from(start - self.first)
                .and_then(|from| usize::try_from(end - self.first).map(|to| from..to))
                .map_err(|_| Error::OutOfTree)?;
            return self.leaves.get(range).map(merkle_root).ok_or(Error::OutOfTree);
        }
        let left = self.node(height - 1, 2 * index)?;
        Ok(node_hash(&left, &self.node(height - 1, 2 * index + 1)?))
    }
}

/// Levels of tiles that a tree of `size` entries has, partial ones of no width included.
fn level_count(size: u64) -> u32 {
    (u64::BITS - size.leading_zeros()).div_ceil(8)
}
