//! Inserting a header: what was put in can be taken out again, what comes out is a document in which the vector is found, and
//! what is signed verifies part by part.

use std::sync::LazyLock;

use xmldsig::{
    Error, ExistingHeader, Limits, MessageSignatureClaim, Part, Policy, SecuredMessage,
    SecurityHeader, SignedAssertion, TokenReference, locate, read, sha256,
};

use crate::vectors::{Key, SPKI, content, issue, profile, sign};

const SIGNED: [Part; 3] = [Part::Timestamp, Part::Body, Part::Assertion];
const RULES: [ExistingHeader; 3] =
    [ExistingHeader::Refuse, ExistingHeader::Keep, ExistingHeader::Replace];

/// Check one input: a message, or what is none.
pub fn check(message: &[u8]) {
    static VECTOR: LazyLock<SignedAssertion> = LazyLock::new(|| issue(&content()));
    let header = SecurityHeader::new(&VECTOR);
    let header = header.with_timestamp("<created>", "expires").expect("text is text");
    for rule in RULES {
        let header = header.with_existing(rule);
        let historical = header.with_token_reference(TokenReference::Historical);
        let inserted = historical.insert(message, &Limits::default());
        if let Err(Error::Malformed { .. } | Error::DtdForbidden { .. }) = &inserted {
            assert!(read(message, &Limits::default()).is_err(), "a document is called none");
        }
        if let Ok(secured) = inserted {
            check_secured(message, &secured, &VECTOR);
        }
        check_signed(message, &header, &VECTOR);
    }
}

fn check_secured(message: &[u8], secured: &SecuredMessage, vector: &SignedAssertion) {
    assert!(undone(message, secured).as_deref() == Some(message), "an edit cannot be undone");
    let located = locate(secured.octets(), &Limits::default()).expect("the outcome is a document");
    let found = located.assertion().expect("the outcome holds a vector");
    assert_eq!(found.sha256(), &sha256(vector.octets()), "it is not ours");
}

/// The octets of every part come back as they are in the outcome, or nothing was signed.
fn check_signed(message: &[u8], header: &SecurityHeader<'_>, vector: &SignedAssertion) {
    let limits = Limits::default();
    let Ok(prepared) = header.prepare(message, &SIGNED, profile(), &limits) else {
        return;
    };
    let signature = sign(prepared.signed_info());
    let secured = prepared.splice(&signature).expect("the key's own signature verifies");
    check_secured(message, &secured, vector);
    let claim = MessageSignatureClaim::read(secured.octets(), &limits);
    let claim = claim.expect("what was signed has the legal shape");
    let admitted = claim.admit(Policy::assertion(false)).expect("its algorithms are allowed");
    let verified = admitted.verify::<Key>(&SPKI).expect("what was signed verifies");
    assert!(verified.parts().map(|(part, _)| part).eq(SIGNED), "a part is missing");
    let timestamp = verified.timestamp().expect("the Timestamp is read");
    assert_eq!(timestamp.map(|said| said.created).as_deref(), Some("<created>"));
}

/// The message again; None where an edit is not where it says.
fn undone(message: &[u8], secured: &SecuredMessage) -> Option<Vec<u8>> {
    let (mut rest, mut original, mut done) = (secured.octets(), Vec::new(), 0);
    for edit in secured.edits() {
        let (kept, behind) = rest.split_at_checked(edit.start.checked_sub(done)?)?;
        original.extend_from_slice(kept);
        original.extend_from_slice(message.get(edit.start..edit.end)?);
        rest = behind.strip_prefix(edit.octets.as_slice())?;
        done = edit.end;
    }
    original.extend_from_slice(rest);
    Some(original)
}
