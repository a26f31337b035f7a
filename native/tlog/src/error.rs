//! What can be wrong with what was given.

use std::fmt;

/// Why octets or numbers are not part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An entry bundle ends inside entry `entry` of it (from 0), or goes on behind its last.
    BundleTorn {
        /// Position of the entry in its bundle.
        entry: usize,
    },
    /// An entry has more than 65,535 octets, which its length prefix cannot say.
    EntryTooLarge {
        /// Its octets.
        octets: usize,
    },
    /// A tile does not have the width that the tree's size asks for.
    TileWidth {
        /// The tile's path.
        path: String,
        /// Hashes it should hold.
        expected: usize,
        /// Octets it has.
        octets: usize,
    },
    /// An index or size lies outside the tree.
    OutOfTree,
    /// A hash is asked for that is not at hand.
    NodeUnknown,
    /// A proof does not lead to the root.
    ProofInvalid,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BundleTorn { entry } => write!(f, "the bundle is torn at its entry {entry}"),
            Self::EntryTooLarge { octets } => {
                write!(f, "an entry of {octets} octets, at most 65535 fit")
            }
            Self::TileWidth { path, expected, octets } => {
                write!(f, "{path} has {octets} octets, {expected} hashes have {}", expected * 32)
            }
            Self::OutOfTree => f.write_str("an index or size outside the tree"),
            Self::NodeUnknown => f.write_str("a hash of the tree that is not at hand"),
            Self::ProofInvalid => f.write_str("the proof does not lead to the root"),
        }
    }
}

impl std::error::Error for Error {}
