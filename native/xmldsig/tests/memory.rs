//! The bound on memory that [`xmldsig::Limits`] states, held for every shape of document.

use xmldsig::{Canonicalization, Error, Hash, Limit, Limits, Method, digest, read};

use crate::memory::{Counting, most_held};

#[path = "../../fuzz/src/memory.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets, whose module it is, see it as a crate's")]
mod memory;
mod shapes;

#[global_allocator]
static COUNTING: Counting = Counting;

/// As stated, octets held for each octet of input.
const MOST_PER_OCTET: usize = 26;
/// As stated, octets held by a canonical form while it grows, for each of it and each of the input.
const MOST_PER_FORM: usize = 3;
/// As stated, octets held while a canonical form is hashed, for each octet of the input.
const MOST_BY_DIGEST: usize = 10;
/// What a document of no size costs.
const MOST_FOR_NOTHING: usize = 16 * 1024;

/// One test, because the count is of the process.
#[test]
fn memory_is_bounded_by_the_input() {
    let octets = 1 << 16;
    let shapes = shapes::SHAPES.iter().map(|shape| (shape.name, shape.document(octets)));
    let whole = shapes.chain(shapes::at_the_bounds(octets)).map(|shape| (shape, None));
    let by_id = shapes::by_id(octets).into_iter().map(|shape| (shape, Some("i")));
    for ((name, document), id) in whole.chain(by_id) {
        let len = document.len();
        let (read, most) = most_held(|| read(document.as_bytes(), &Limits::default()));
        let bound = MOST_PER_OCTET * len + MOST_FOR_NOTHING;
        assert!(most <= bound, "{name}: {most} octets held for {len}");
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        for method in [Method::Exclusive, Method::Inclusive, Method::Inclusive11] {
            let form = Canonicalization::new(method, true);
            let (canonical, most) = most_held(|| read.canonicalize(&form, id));
            if id.is_none() {
                check_digest(name, &form, document.as_bytes(), &canonical);
            }
            let written = match canonical {
                Ok(canonical) => canonical.len(),
                Err(Error::Limit { limit: Limit::Growth, bound, .. }) => bound,
                Err(error) => panic!("{name}: {error}"),
            };
            let bound = MOST_PER_FORM * (written + len) + MOST_FOR_NOTHING;
            assert!(most <= bound, "{name}, {method:?}: {most} octets held for {written}");
        }
    }
}

/// The digest made while reading is that of the canonical form, or the same refusal, and takes less than a document.
fn check_digest(
    name: &str,
    form: &Canonicalization,
    document: &[u8],
    canonical: &Result<Vec<u8>, Error>,
) {
    let (found, most) = most_held(|| form.digest(Hash::Sha256, document, &Limits::default()));
    let expected = canonical.clone().map(|canonical| digest(Hash::Sha256, &canonical));
    assert_eq!(found, expected, "{name}");
    let bound = MOST_BY_DIGEST * document.len() + MOST_FOR_NOTHING;
    assert!(found.is_err() || most <= bound, "{name}: {most} octets held for a digest");
}
