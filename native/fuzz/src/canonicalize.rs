//! Canonicalization: a canonical form is its own canonical form, each form can be had from a larger one, none takes more memory
//! than is stated, and the digest that is made without it is its digest.

use xmldsig::{Canonicalization, Document, Error, Hash, Limits, Method, digest, read};

use crate::memory::most_held;
use crate::reader::is_relative_namespace;

/// What `xmldsig::Limits` states: octets held for each octet of the form and of the document.
const MOST_PER_OCTET: usize = 3;
/// Likewise: octets held for each octet of the document while its form is hashed.
const MOST_BY_DIGEST: usize = 10;
/// What a form of no size costs.
const MOST_FOR_NOTHING: usize = 16 * 1024;
/// IDs that the seeds and the dictionary use.
const IDS: [&str; 3] = ["i", "j", "k"];
/// The PrefixList; the seeds and the dictionary use these prefixes.
const PREFIXES: [&str; 3] = ["#default", "a", "b"];

/// The forms of one thing: Canonical XML 1.0, exclusive, exclusive with a PrefixList, and Canonical XML 1.1.
type Forms = [Vec<u8>; 4];

/// A document, and the most octets it may have in UTF-8.
struct Measured<'d> {
    document: Document<'d>,
    octets: usize,
    source: &'d [u8],
}

impl Measured<'_> {
    fn canonicalize(&self, form: &Canonicalization, id: Option<&str>) -> Result<Vec<u8>, Error> {
        let (canonical, most) = most_held(|| self.document.canonicalize(form, id));
        let written = canonical.as_ref().map_or(0, Vec::len);
        let bound = MOST_PER_OCTET * (written + self.octets) + MOST_FOR_NOTHING;
        assert!(canonical.is_err() || most <= bound, "{most} octets were held for {written}");
        if id.is_none() {
            self.check_digest(form, &canonical);
        }
        canonical
    }

    /// The digest made while reading is that of the form, or the refusal is the same; and it holds less than a document.
    fn check_digest(&self, form: &Canonicalization, canonical: &Result<Vec<u8>, Error>) {
        let streamed = || form.digest(Hash::Sha256, self.source, &limits());
        let (found, most) = most_held(streamed);
        let expected = canonical.clone().map(|canonical| digest(Hash::Sha256, &canonical));
        assert_eq!(found, expected, "another digest");
        let bound = MOST_BY_DIGEST * self.octets + MOST_FOR_NOTHING;
        assert!(found.is_err() || most <= bound, "{most} octets were held for a digest");
    }
}

/// Check one input.
pub fn check(octets: &[u8]) {
    let Ok(document) = read(octets, &limits()) else {
        return;
    };
    // No character has more octets in UTF-8 than it has in UTF-16 and half as many again.
    let document = Measured { document, octets: octets.len() + octets.len() / 2, source: octets };
    let (commented, plain) = (forms(&document, true, None), forms(&document, false, None));
    let (Some(commented), Some(plain)) = (&commented, &plain) else {
        return assert_eq!(commented, plain, "a form exists with or without comments only");
    };
    let [all, visible, listed, all11] = commented;
    assert_eq!((all, &plain[0]), (all11, &plain[3]), "a document has two inclusive forms");
    // Canonical XML keeps every declaration, the exclusive forms keep less and less of them.
    check_forms(all, commented.each_ref(), plain.each_ref());
    let [_, visible_plain, listed_plain, _] = plain.each_ref();
    check_forms(
        listed,
        [listed, visible, listed, listed],
        [listed_plain, visible_plain, listed_plain, listed_plain],
    );
    check_forms(visible, [visible; 4], [visible_plain; 4]);
    for id in IDS {
        check_element(&document, &reread(all), id);
    }
}

/// A document in canonical form has these forms, with comments and without.
fn check_forms(canonical: &[u8], commented: [&Vec<u8>; 4], plain: [&Vec<u8>; 4]) {
    let document = reread(canonical);
    for (comments, wanted) in [(true, commented), (false, plain)] {
        let found = forms(&document, comments, None).expect("a canonical form has all forms");
        assert!(found.iter().eq(wanted), "another form of a canonical form");
    }
}

/// An element has the same forms in a document as in that document's canonical form, and each is canonical.
fn check_element(document: &Measured<'_>, canonical: &Measured<'_>, id: &str) {
    for comments in [true, false] {
        let found = forms(document, comments, Some(id));
        assert_eq!(found, forms(canonical, comments, Some(id)), "another element has this ID");
        for (place, form) in found.into_iter().flatten().enumerate() {
            let again = forms(&reread(&form), comments, None);
            assert_eq!(again.map(|again| again[place].clone()), Some(form), "not canonical");
        }
    }
}

fn forms(document: &Measured<'_>, comments: bool, id: Option<&str>) -> Option<Forms> {
    let exclusive = Canonicalization::new(Method::Exclusive, comments);
    let forms = [
        Canonicalization::new(Method::Inclusive, comments),
        exclusive.clone(),
        exclusive.with_inclusive_prefixes(PREFIXES.into_iter()),
        Canonicalization::new(Method::Inclusive11, comments),
    ]
    .map(|form| match document.canonicalize(&form, id) {
        Ok(canonical) => Some(canonical),
        Err(Error::Argument(_)) if id.is_some() => None,
        Err(error) if is_relative_namespace(&error) => None,
        Err(error) => panic!("{error}"),
    });
    match forms {
        [Some(all), Some(visible), Some(listed), Some(all11)] => {
            Some([all, visible, listed, all11])
        }
        [None, None, None, None] => None,
        some => panic!("one form exists and another does not: {some:?}"),
    }
}

fn reread(canonical: &[u8]) -> Measured<'_> {
    let document = read(canonical, &limits()).expect("a canonical form is a document");
    Measured { document, octets: canonical.len(), source: canonical }
}

/// Without the bound on a form's length, which one form of a document may pass and another not.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.growth = usize::MAX;
    limits
}
