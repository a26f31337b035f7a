//! What must hold for every input, whatever it is: one hook per target, asserting invariants of the XML core.
//!
//! A hook takes octets and panics where an invariant is broken; refusing the octets is always right. Targets are the files
//! of `src/bin`, each found by its name: it hands its input to its hook, and lets [`edits`] change it.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod canonicalize;
pub mod edits;
pub mod insert;
pub mod locate;
pub mod memory;
pub mod message;
pub mod passing;
pub mod reader;
pub mod sign;
pub mod vectors;
pub mod verify;
