//! Canonicalization: a canonical form is its own canonical form, and each form can be had from a larger one.

use xmldsig::{Canonicalization, Document, Error, Limits, Method, read};

use crate::reader::is_relative_namespace;

/// IDs that the seeds and the dictionary use.
const IDS: [&str; 3] = ["i", "j", "k"];
/// The PrefixList; the seeds and the dictionary use these prefixes.
const PREFIXES: [&str; 3] = ["#default", "a", "b"];

/// The forms of one thing: Canonical XML 1.0, exclusive, exclusive with a PrefixList, and Canonical XML 1.1.
type Forms = [Vec<u8>; 4];

/// Check one input.
pub fn check(octets: &[u8]) {
    let Ok(document) = read(octets, &limits()) else {
        return;
    };
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
fn check_element(document: &Document<'_>, canonical: &Document<'_>, id: &str) {
    for comments in [true, false] {
        let found = forms(document, comments, Some(id));
        assert_eq!(found, forms(canonical, comments, Some(id)), "another element has this ID");
        for (place, form) in found.into_iter().flatten().enumerate() {
            let again = forms(&reread(&form), comments, None);
            assert_eq!(again.map(|again| again[place].clone()), Some(form), "not canonical");
        }
    }
}

fn forms(document: &Document<'_>, comments: bool, id: Option<&str>) -> Option<Forms> {
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

fn reread(canonical: &[u8]) -> Document<'_> {
    read(canonical, &limits()).expect("a canonical form is a document")
}

/// Without the bound on a form's length, which one form of a document may pass and another not.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.growth = usize::MAX;
    limits
}
