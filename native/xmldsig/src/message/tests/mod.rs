//! Messages of every shape: the header inserted, and message signatures made, read and tampered with.

mod insertion;
mod passing;
mod signatures;

use std::sync::Arc;

use super::SecuredMessage;
use crate::digest::{KeyRefused, PublicKeyVerifier, SignatureMismatch, sha256};
use crate::namespaces::{SOAP11, WSSE};
use crate::{
    AssertionContent, Error, Limits, MessageFault, PreparedSignature, Profile, SignatureAlgorithm,
    SignatureProfile, SignedAssertion, Variant, locate,
};

const RSA: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

/// Its signature over a digest is the digest.
#[derive(Debug)]
struct Echo;

impl PublicKeyVerifier for Echo {
    fn from_spki(_: &[u8], _: SignatureAlgorithm, _: Profile) -> Result<Self, KeyRefused> {
        Ok(Self)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        if digest == signature { Ok(()) } else { Err(SignatureMismatch::new()) }
    }
}

fn profile(variant: Variant) -> Arc<SignatureProfile<Echo>> {
    let certificates = [b"leaf".to_vec(), b"root".to_vec()];
    Arc::new(SignatureProfile::new(RSA, SHA256, &[], &certificates, variant).unwrap())
}

fn vector_of(name_id: &str, variant: Variant) -> SignedAssertion {
    let content = AssertionContent {
        id: "a1".into(),
        issue_instant: "2026-03-01T12:00:00Z".into(),
        issuer: "urn:o".into(),
        name_id: name_id.into(),
        ..AssertionContent::default()
    };
    content.check().unwrap();
    let prepared = PreparedSignature::new(&content, profile(variant));
    let digest = prepared.digest().to_vec();
    prepared.splice(&digest).unwrap()
}

fn vector() -> SignedAssertion {
    vector_of("agent", Variant::A)
}

fn check(message: &[u8], secured: &SecuredMessage, vector: &SignedAssertion) {
    assert_eq!(undone(message, secured), message);
    let located = locate(secured.octets(), &Limits::default()).unwrap();
    let found = located.assertion().expect("the vector is found");
    assert_eq!(found.sha256(), &sha256(vector.octets()));
}

/// The message again: what was put in taken out, what was taken out put back.
fn undone(message: &[u8], secured: &SecuredMessage) -> Vec<u8> {
    let (mut rest, mut original, mut done) = (secured.octets(), Vec::new(), 0);
    for edit in secured.edits() {
        let (kept, behind) = rest.split_at(edit.start - done);
        original.extend_from_slice(kept);
        original.extend_from_slice(&message[edit.start..edit.end]);
        rest = behind.strip_prefix(&edit.octets[..]).expect("an edit stands where it says");
        done = edit.end;
    }
    original.extend_from_slice(rest);
    original
}

fn fault(result: Result<String, Error>) -> MessageFault {
    match result {
        Err(Error::Message { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn soap(inside: &str) -> String {
    format!("<s:Envelope xmlns:s='{SOAP11}' xmlns:w='{WSSE}'>{inside}</s:Envelope>")
}

fn body(header: &str) -> String {
    soap(&format!("{header}<s:Body ><a/></s:Body>"))
}
