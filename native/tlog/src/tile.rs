//! Names and octets of tiles and entry bundles (C2SP tlog-tiles), and the tree's nodes found in them.

use std::collections::HashMap;
use std::fmt;

use crate::error::Error;
use crate::hash::{HASH_OCTETS, Hash, merkle_root};
use crate::proof::Nodes;

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;

const TILE_HEIGHT: u32 = 8;

/// A tile or a bundle by its place; its `Display` is its path below the log's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Resource {
    /// Hash tile `index` of `level`, `width` hashes wide.
    Tile {
        /// 0 holds leaf hashes.
        level: u32,
        /// From the left.
        index: u64,
        /// 1 to 256.
        width: u16,
    },
    /// Entry bundle `index`, `width` entries wide.
    Bundle {
        /// From the left.
        index: u64,
        /// 1 to 256.
        width: u16,
    },
}

impl Resource {
    /// The tile at a place in a tree of a size: full, or as wide as the tree reaches.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTree`] where the tree has nothing.
    pub fn tile(level: u32, index: u64, size: u64) -> Result<Self, Error> {
        let hashes = size.checked_shr(level * TILE_HEIGHT).unwrap_or(0);
        Ok(Self::Tile { level, index, width: width_at(index, hashes)? })
    }

    /// The bundle at a place in a log of a size.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfTree`] where the log has nothing.
    pub fn bundle(index: u64, size: u64) -> Result<Self, Error> {
        Ok(Self::Bundle { index, width: width_at(index, size)? })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match self {
            Self::Tile { level, index, width } => {
                write!(f, "tile/{level}/")?;
                (index, width)
            }
            Self::Bundle { index, width } => {
                f.write_str("tile/entries/")?;
                (index, width)
            }
        };
        let digits = index.to_string();
        let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
        for (at, digit) in padded.chars().enumerate() {
            if at % 3 == 0 {
                // Every element but the last begins with an x, and a slash divides them.
                let is_last = padded.len() - at == 3;
                f.write_str(match (at, is_last) {
                    (0, true) => "",
                    (0, false) => "x",
                    (_, true) => "/",
                    (_, false) => "/x",
                })?;
            }
            write!(f, "{digit}")?;
        }
        if *width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

fn width_at(index: u64, count: u64) -> Result<u16, Error> {
    let start = index.checked_mul(u64::from(TILE_WIDTH)).ok_or(Error::OutOfTree)?;
    let width = count.saturating_sub(start).min(u64::from(TILE_WIDTH));
    if width == 0 {
        return Err(Error::OutOfTree);
    }
    u16::try_from(width).map_err(|_| Error::OutOfTree)
}

/// Cuts a tile into its hashes.
///
/// # Errors
///
/// [`Error::TileWidth`] when it is not exactly `width` wide.
pub fn read_tile(octets: &[u8], resource: Resource) -> Result<Vec<Hash>, Error> {
    let (Resource::Tile { width, .. } | Resource::Bundle { width, .. }) = resource;
    if octets.len() == usize::from(width) * HASH_OCTETS {
        return Ok(octets.chunks_exact(HASH_OCTETS).flat_map(Hash::try_from).collect());
    }
    Err(Error::TileWidth {
        path: resource.to_string(),
        expected: usize::from(width),
        octets: octets.len(),
    })
}

/// Writes hashes as a tile.
#[must_use]
pub fn write_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The nodes of a tree of `size` entries, from tiles that `fetch` reads; each tile is fetched once.
#[derive(Debug)]
pub struct TileNodes<F> {
    size: u64,
    fetch: F,
    tiles: HashMap<Resource, Vec<Hash>>,
}

impl<F> TileNodes<F> {
    /// Nodes of the tree of `size` entries.
    pub fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, tiles: HashMap::new() }
    }
}

impl<E: From<Error>, F: FnMut(Resource) -> Result<Vec<u8>, E>> Nodes for TileNodes<F> {
    type Error = E;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, E> {
        let (level, above) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = index << above;
        let resource = Resource::tile(level, first >> TILE_HEIGHT, self.size)?;
        if !self.tiles.contains_key(&resource) {
            let hashes = read_tile(&(self.fetch)(resource)?, resource)?;
            self.tiles.insert(resource, hashes);
        }
        let start = usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| Error::OutOfTree)?;
        let hashes =
            self.tiles.get(&resource).and_then(|tile| tile.get(start..start + (1 << above)));
        hashes.map(merkle_root).ok_or_else(|| Error::OutOfTree.into())
    }
}
