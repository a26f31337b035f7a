//! Locating: the isolated assertion is a slice of the input, and a message in canonical form holds the same one.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};
use xmldsig::{
    Canonicalization, Limits, Method, ReceivedAssertion, ReceivedMessage, locate, read, sha256,
};

/// How many pairs of a start and an end are looked at; hashing more would be all that a run does.
const MOST_PAIRS: usize = 4096;

/// Check one input.
pub fn check(octets: &[u8]) {
    let limits = Limits::default();
    let Ok(message) = locate(octets, &limits) else {
        return assert!(read(octets, &limits).is_err(), "what is read cannot be located in");
    };
    let document = read(octets, &limits).expect("what is located in can be read");
    if let Some(assertion) = message.assertion() {
        check_slice(octets, assertion);
        check_claim(assertion);
    }
    let form = Canonicalization::new(Method::Inclusive, true);
    if let Ok(canonical) = document.canonicalize(&form, None) {
        let again = locate(&canonical, &limits).expect("a canonical form is a document");
        assert_eq!(gist(&message), gist(&again), "a canonical form holds another assertion");
    }
}

/// Everything a message tells that its canonical form must tell too.
fn gist(message: &ReceivedMessage) -> impl PartialEq + std::fmt::Debug + use<> {
    let assertion = message.assertion();
    let issuer = assertion.map(ReceivedAssertion::claimed_issuer);
    let structure = assertion.map(ReceivedAssertion::check_structure);
    (message.kind(), message.fault(), issuer, structure)
}

/// A claim of legal shape names a signer. Claims are not compared: CDATA in a signature, refused, is text in canonical form.
fn check_claim(assertion: &ReceivedAssertion) {
    if let Ok(claim) = assertion.signature_claim() {
        assert!(!claim.certificates().is_empty(), "a claim without a certificate");
    }
}

fn check_slice(octets: &[u8], assertion: &ReceivedAssertion) {
    let octets = as_utf8(octets);
    let starts: Vec<usize> =
        memchr_iter(b'<', &octets).filter(|&at| is_start(&octets[at..])).collect();
    let ends: Vec<usize> = memchr_iter(b'>', &octets).map(|at| at + 1).collect();
    let pairs = starts.iter().flat_map(|&start| ends.iter().map(move |&end| (start, end)));
    let mut slices = pairs.filter(|&(start, end)| start < end);
    if starts.len() * ends.len() > MOST_PAIRS {
        return;
    }
    let found = slices.any(|(start, end)| &sha256(&octets[start..end]) == assertion.sha256());
    assert!(found, "the isolated assertion is no slice of the input");
}

/// Whether octets may be the start tag of an Assertion.
fn is_start(octets: &[u8]) -> bool {
    let tag = memchr::memchr(b'>', octets).map_or(octets, |end| &octets[..end]);
    memmem::find(tag, b"Assertion").is_some()
}

/// The octets, or what they mean where a byte order mark says that they are UTF-16.
fn as_utf8(octets: &[u8]) -> Cow<'_, [u8]> {
    let from: fn([u8; 2]) -> u16 = match octets {
        [0xFE, 0xFF, ..] => u16::from_be_bytes,
        [0xFF, 0xFE, ..] => u16::from_le_bytes,
        _ => return Cow::Borrowed(octets),
    };
    let units: Vec<u16> =
        octets[2..].chunks_exact(2).map(|pair| from([pair[0], pair[1]])).collect();
    Cow::Owned(String::from_utf16_lossy(&units).into_bytes())
}
