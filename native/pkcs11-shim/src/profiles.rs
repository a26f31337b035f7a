//! Models of a network HSM, for benchmarks: stated assumptions instead of a device.
//!
//! Assumed of each: a signature is one round trip, which takes `latency` and keeps one of the `engines` busy for all of it; the client
//! library answers `C_SignInit` and size queries by itself; opening a session, logging in, and searching and reading objects are
//! round trips too, but keep no engine busy. So the device makes `engines / latency` signatures per second, and one session
//! `1 / latency`. Neither jitter nor loss: rules can add both.

use core::time::Duration;

use crate::call_set::CallSet;
use crate::calls::Call;
use crate::effect::Effect;
use crate::rules::{CERTAIN, FOREVER, Rule};
use crate::state::Shared;

/// The calls that cross the network.
const ROUND_TRIPS: [Call; 7] = [
    Call::C_OpenSession,
    Call::C_CloseSession,
    Call::C_Login,
    Call::C_FindObjectsInit,
    Call::C_FindObjects,
    Call::C_GetAttributeValue,
    Call::C_Sign,
];

/// One model.
struct Profile {
    name: &'static str,
    latency: Duration,
    engines: u32,
}

const PROFILES: [Profile; 2] = [
    // 3,200 signatures per second: an appliance in another data centre, or one whose RSA is slow.
    Profile { name: "network-5ms-16", latency: Duration::from_millis(5), engines: 16 },
    // 30,000 signatures per second: an appliance in the same rack.
    Profile { name: "network-1ms-30", latency: Duration::from_millis(1), engines: 30 },
];

/// Adds a model's latency and sets its limit; returns the number of the rule.
pub(crate) fn apply(shared: &Shared, name: &str) -> Result<usize, String> {
    let profile = PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| {
        let names = PROFILES.map(|profile| profile.name).join(", ");
        format!("`{name}` should be one of the profiles {names}")
    })?;
    let calls = ROUND_TRIPS.into_iter().fold(CallSet::EMPTY, CallSet::with);
    let effect = Effect::Fixed(profile.latency);
    let number = shared.arm(Rule { calls, effect, times: FOREVER, chance: CERTAIN })?;
    shared.permits.limit(CallSet::EMPTY.with(Call::C_Sign), profile.engines);
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::tests::make_state;

    #[test]
    fn a_profile_is_one_rule_and_one_limit() {
        let (path, shared) = make_state("profile");
        fs::remove_file(path).unwrap();
        assert!(apply(shared, "network").is_err());
        assert_eq!(apply(shared, "network-5ms-16"), Ok(0));
        let rules: Vec<_> = shared.rules().map(|(_, rule, _)| rule).collect();
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].effect, Effect::Fixed(Duration::from_millis(5)));
        assert!(rules[0].calls.contains(Call::C_Sign));
        assert!(!rules[0].calls.contains(Call::C_SignInit));
        assert_eq!(shared.permits.read().0, 16);
    }
}
