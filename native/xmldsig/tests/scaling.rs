//! Time is linear in the input, whatever its shape: eight times the octets never cost much more than eight times the time.
//!
//! What is compared is processor time with processor time of the same work, the least of several runs; no time is asserted.

use std::hint::black_box;

use xmldsig::{Canonicalization, Hash, Limits, Method, locate, read};

mod shapes;

const SMALL: usize = 1 << 12;
const TIMES: u32 = 8;
/// Linear is one and quadratic eight; a cache that the larger input does not fit in is below two.
const MOST: u64 = 3;
const RUNS: usize = 3;

#[test]
fn time_is_linear_in_the_input() {
    let large = SMALL * usize::try_from(TIMES).expect("a small number");
    let mut pairs: Vec<_> = shapes::SHAPES
        .iter()
        .map(|shape| (shape.name, shape.document(SMALL), shape.document(large)))
        .collect();
    let bounds = shapes::at_the_bounds(SMALL).into_iter().zip(shapes::at_the_bounds(large));
    pairs.extend(bounds.map(|((name, small), (_, large))| (name, small, large)));
    let by_id = shapes::by_id(SMALL).into_iter().zip(shapes::by_id(large));
    pairs.extend(by_id.map(|((name, small), (_, large))| (name, small, large)));
    let mut wrong = Vec::new();
    for (name, small, large) in &pairs {
        let (one, other) = (cost(small), cost(large));
        if other > one * u64::from(TIMES) * MOST {
            wrong.push(format!("{name}: {one} ns, then {other} ns"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("; "));
}

/// The least processor time of some runs over a document, in nanoseconds.
fn cost(document: &str) -> u64 {
    let run = |_| {
        let before = processor_time();
        work(document.as_bytes());
        processor_time() - before
    };
    (0..RUNS).map(run).min().unwrap_or_default()
}

/// All that may be done to a document before a signature is known. Refusals count too.
fn work(document: &[u8]) {
    let limits = Limits::default();
    if let Ok(read) = read(document, &limits) {
        for method in [Method::Exclusive, Method::Inclusive, Method::Inclusive11] {
            let form = Canonicalization::new(method, true);
            black_box(read.canonicalize(&form, None)).ok();
            black_box(read.canonicalize(&form, Some("i"))).ok();
            black_box(form.digest(Hash::Sha256, document, &limits)).ok();
        }
    }
    black_box(locate(document, &limits)).ok();
}

/// Nanoseconds of the processor that this thread had.
fn processor_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the kernel counts the time of threads");
    let part = |count: i64| u64::try_from(count).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
