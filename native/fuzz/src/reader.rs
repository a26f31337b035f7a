//! The reader: it never panics, holds no more memory than it states, says the same whoever listens, and what it accepts has a
//! canonical form that it accepts again, to the same canonical form.

use xmldsig::{Canonicalization, Document, Error, Hash, Limits, Method, digest, read};

use crate::memory::most_held;

/// What `xmldsig::Limits` states: octets held for each octet of input.
const MOST_PER_OCTET: usize = 26;
/// What a document of no size costs, a boxed error included.
const MOST_FOR_NOTHING: usize = 4096;

/// Check one input.
pub fn check(octets: &[u8]) {
    let (document, most) = most_held(|| read(octets, &Limits::default()));
    assert!(most <= MOST_PER_OCTET * octets.len() + MOST_FOR_NOTHING, "{most} octets were held");
    check_tighter_limits(octets, document.as_ref());
    check_streamed(octets, &Limits::default());
    match document {
        Ok(document) => check_rereading(&document),
        Err(error) => check_place(&error, octets),
    }
}

fn check_rereading(document: &Document<'_>) {
    let form = Canonicalization::new(Method::Inclusive, true);
    let canonical = match document.canonicalize(&form, None) {
        Ok(canonical) => canonical,
        Err(error) => return assert!(is_relative_namespace(&error), "{error}"),
    };
    let again = read(&canonical, &Limits::default()).expect("a canonical form is a document");
    let twice = again.canonicalize(&form, None).expect("a canonical form has a canonical form");
    assert!(twice == canonical, "a canonical form was read as something else");
}

/// Limits refuse or change nothing.
fn check_tighter_limits(octets: &[u8], usual: Result<&Document<'_>, &Error>) {
    let mut limits = Limits::default();
    limits.depth = 4;
    limits.attributes = 3;
    limits.namespaces = 3;
    limits.name = 8;
    limits.value = 8;
    limits.references = 2;
    check_streamed(octets, &limits);
    match (read(octets, &limits), usual) {
        (Ok(_), Ok(_)) | (Err(Error::Limit { .. }), _) => {}
        (Err(tight), Err(usual)) => assert_eq!(&tight, usual),
        (Ok(_), Err(usual)) => panic!("tighter limits accept what is refused: {usual}"),
        (Err(tight), Ok(_)) => panic!("tighter limits refuse, but not as a limit: {tight}"),
    }
}

/// Whether a document is made or its canonical form is hashed, the verdict is the same, and so is the digest.
fn check_streamed(octets: &[u8], limits: &Limits) {
    let form = Canonicalization::new(Method::Exclusive, true);
    let made = read(octets, limits).and_then(|document| document.canonicalize(&form, None));
    let expected = made.map(|canonical| digest(Hash::Sha256, &canonical));
    assert_eq!(form.digest(Hash::Sha256, octets, limits), expected, "another verdict");
}

/// Every refusal names a place in the input.
fn check_place(error: &Error, octets: &[u8]) {
    match *error {
        Error::Malformed { offset, .. }
        | Error::DtdForbidden { offset }
        | Error::Limit { offset, .. } => assert!(offset <= octets.len(), "{error}"),
        _ => panic!("no refusal of a reader: {error}"),
    }
}

/// The one reason why a document that was read has no canonical form.
pub(crate) fn is_relative_namespace(error: &Error) -> bool {
    matches!(error, Error::Malformed { rule, .. } if rule.contains("relative namespace"))
}
