//! The target of [`passing`].
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use xmldsig_fuzz::{edits, passing};

fuzz_target!(|octets: &[u8]| passing::check(octets));
fuzz_mutator!(|octets: &mut [u8], size: usize, most: usize, seed: u32| {
    edits::change(octets, size, most, seed)
});
