//! Message signatures: whatever is done to signed messages, every part that is accepted is one that was signed.

use std::collections::HashSet;
use std::sync::LazyLock;

use xmldsig::{Limits, MessageSignatureClaim, Part, Policy, VerifiedMessage};

use crate::vectors::{Key, SPKI};

/// The seeds, because a vector is never signed the same way twice.
const SIGNED: [&[u8]; 3] = [
    include_bytes!("../seeds/message/all_parts.xml"),
    include_bytes!("../seeds/message/body.xml"),
    include_bytes!("../seeds/message/kept_header.xml"),
];

/// Check one input.
pub fn check(octets: &[u8]) {
    static PARTS: LazyLock<HashSet<(Part, Vec<u8>)>> = LazyLock::new(|| {
        let accepted = SIGNED.map(|octets| accept(octets).expect("a signed message is accepted"));
        accepted.iter().flat_map(owned_parts).collect()
    });
    if let Some(accepted) = accept(octets) {
        for part in owned_parts(&accepted) {
            assert!(PARTS.contains(&part), "a part was accepted that nobody signed");
        }
        let covers = accepted.octets(Part::Timestamp).is_some();
        let timestamp = accepted.timestamp().expect("what was signed is a Timestamp");
        assert_eq!(timestamp.is_some(), covers);
    }
}

fn owned_parts(verified: &VerifiedMessage) -> Vec<(Part, Vec<u8>)> {
    verified.parts().map(|(part, octets)| (part, octets.to_vec())).collect()
}

fn accept(octets: &[u8]) -> Option<VerifiedMessage> {
    let claim = MessageSignatureClaim::read(octets, &Limits::default()).ok()?;
    claim.admit(Policy::assertion(true)).ok()?.verify::<Key>(&SPKI).ok()
}
