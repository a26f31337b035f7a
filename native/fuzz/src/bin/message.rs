//! The target of [`message`].
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use xmldsig_fuzz::{edits, message};

fuzz_target!(|octets: &[u8]| message::check(octets));
fuzz_mutator!(|octets: &mut [u8], size: usize, most: usize, seed: u32| {
    edits::change(octets, size, most, seed)
});
