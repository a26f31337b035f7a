//! Verification: whatever is done to signed vectors, what either profile accepts is what was signed.

use std::collections::HashSet;
use std::sync::LazyLock;

use xmldsig::{Limits, Policy, VerifiedOctets, locate, verify_signature};

use crate::vectors::{Key, SPKI, known};

/// Check one input.
pub fn check(octets: &[u8]) {
    static SIGNED: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
        let accepted = known().into_iter().map(|(name, vector)| accept(&vector).ok_or(name));
        let accepted: Result<Vec<_>, _> = accepted.collect();
        accepted
            .expect("known vectors are accepted")
            .iter()
            .map(|one| one.octets().to_vec())
            .collect()
    });
    if let Some(accepted) = accept(octets) {
        assert!(SIGNED.contains(accepted.octets()), "something was accepted that nobody signed");
        let fields = accepted.read().expect("what was signed is a complete assertion");
        assert_eq!((fields.id.as_str(), fields.issuer.as_str()), ("i", "urn:o"));
    }
    let policy = Policy::generic(true);
    if let Ok(verified) = verify_signature::<Key>(octets, &SPKI, policy, &Limits::default()) {
        assert!(SIGNED.contains(&verified), "something was verified that nobody signed");
    }
}

/// Take octets the whole way, as the appliance does, with everything legacy allowed and the one key trusted.
pub(crate) fn accept(octets: &[u8]) -> Option<VerifiedOctets> {
    let message = locate(octets, &Limits::default()).ok()?;
    let claim = message.assertion()?.signature_claim().ok()?;
    let admitted = claim.admit(Policy::assertion(true).with_variant_b()).ok()?;
    admitted.verify::<Key>(&SPKI).ok()
}
