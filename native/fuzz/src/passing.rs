//! A message in pieces: wherever it is cut it is judged as the whole, and the whole as by the reader, but for the differences
//! that [`PassingMessage`] states.

use memchr::{memchr, memchr_iter, memmem};
use xmldsig::{Error, Limit, Limits, PassingMessage, SoapMessage};

/// What is told of a message that passed.
type Facts = (bool, Option<(String, String)>, Option<usize>, Vec<u8>);

/// Octets of a reference, and of a declaration, that a passing message may have.
const LONGEST_REFERENCE: usize = 64;
const LONGEST_DECLARATION: usize = 1024;

/// Check one input: a message, or what is none.
pub fn check(octets: &[u8]) {
    let mut limits = Limits::default();
    (limits.value, limits.name) = (1500, 100); // within the reach of an input
    let whole = pass(octets, octets.len(), &limits);
    for size in [1, 2, 7, 64, octets.len() / 2] {
        let cut = pass(octets, size, &limits);
        assert!(cut.is_ok() == whole.is_ok(), "pieces of {size}: {cut:?}, whole: {whole:?}");
        if let (Ok(cut), Ok(whole)) = (&cut, &whole) {
            assert!(cut == whole, "pieces of {size} tell {cut:?}, the whole {whole:?}");
        }
    }
    match (whole, SoapMessage::read(octets, &limits)) {
        (Ok(facts), Ok(read)) => {
            assert!((facts.0, &facts.1) == (read.is_soap12(), &read.operation()), "{facts:?}");
            check_head(octets, &facts, &limits);
        }
        (Ok(_), Err(error)) => {
            assert!(error.to_string().contains("xml:id stands twice"), "passed: {error}");
        }
        (Err(error), Ok(_)) => {
            let is_tag = matches!(error, Error::Limit { limit: Limit::Tag, .. });
            assert!(is_tag || is_long(octets), "read, but refused as it passes: {error}");
        }
        (Err(_), Err(_)) => {}
    }
}

fn pass(octets: &[u8], size: usize, limits: &Limits) -> Result<Facts, Error> {
    let mut passing = PassingMessage::new(limits);
    for piece in octets.chunks(size.max(1)) {
        passing.feed(piece)?;
    }
    passing.finish()?;
    let operation = passing.operation().cloned();
    Ok((passing.is_soap12(), operation, passing.body_start(), passing.closing().to_vec()))
}

/// What came before the Body, closed, is a message of the same version with nothing in its Body.
fn check_head(octets: &[u8], (soap12, _, body, closing): &Facts, limits: &Limits) {
    let body = body.expect("a message that passed has a Body");
    let head = [&octets[..body], closing].concat();
    let read = SoapMessage::read(&head, limits).expect("the head is a message");
    assert!((read.is_soap12(), read.operation()) == (*soap12, None), "the head is another message");
}

/// Whether there is a reference or a declaration that is longer than a passing message may have.
fn is_long(octets: &[u8]) -> bool {
    let is_long_reference = |place: usize| {
        memchr(b';', &octets[place..]).is_some_and(|length| length >= LONGEST_REFERENCE)
    };
    memmem::find(octets, b"?>").is_some_and(|end| end + 2 > LONGEST_DECLARATION)
        || memchr_iter(b'&', octets).any(is_long_reference)
}
