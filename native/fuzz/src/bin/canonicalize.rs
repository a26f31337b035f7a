//! The target of [`canonicalize`].
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use xmldsig_fuzz::{canonicalize, edits, memory::Counting};

#[global_allocator]
static COUNTING: Counting = Counting;

fuzz_target!(|octets: &[u8]| canonicalize::check(octets));
fuzz_mutator!(|octets: &mut [u8], size: usize, most: usize, seed: u32| {
    edits::change(octets, size, most, seed)
});
