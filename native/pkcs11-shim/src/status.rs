//! What the shared state looks like now, as JSON.

use core::fmt::Write;
use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;

use crate::calls::Call;
use crate::codes::write_code;
use crate::effect::Effect;
use crate::rules::FOREVER;
use crate::state::Shared;

/// Writes everything there is to see; all names are the shim's own, so none needs an escape.
pub(crate) fn write_status(shared: &Shared) -> String {
    let mut text = String::new();
    let (limit, held, peak, waits) = shared.permits.read();
    let _ = write!(
        text,
        "{{\"absent\": {}, \"drops\": {}",
        shared.is_absent(),
        shared.epoch.load(SeqCst)
    );
    let _ = write!(
        text,
        ", \"limit\": {limit}, \"held\": {held}, \"peak\": {peak}, \"waits\": {waits}"
    );
    text.push_str(", \"rules\": [");
    for (place, (number, rule, hits)) in shared.rules().enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        let left = if rule.times == FOREVER { "null".to_owned() } else { rule.times.to_string() };
        let effect = write_effect(rule.effect);
        let _ = write!(
            text,
            "{separator}{{\"rule\": {number}, \"effect\": \"{effect}\", \"left\": {left}, \"hits\": {hits}}}"
        );
    }
    text.push_str("], \"calls\": {");
    for (place, call) in Call::ALL.into_iter().enumerate() {
        let separator = if place == 0 { "" } else { ", " };
        let counters = shared.counters(call);
        let [entered, injected, hung, done] =
            [&counters.entered, &counters.injected, &counters.hung, &counters.done]
                .map(|counter| counter.load(SeqCst));
        let _ = write!(
            text,
            "{separator}\"{}\": {{\"entered\": {entered}, \"injected\": {injected}, \"hung\": {hung}, \"done\": {done}}}",
            call.name()
        );
    }
    text.push_str("}}");
    text
}

/// Words an effect as the command that makes it.
pub(crate) fn write_effect(effect: Effect) -> String {
    match effect {
        Effect::Fail(code) => format!("fail {}", write_code(code)),
        Effect::Spoil => "spoil".to_owned(),
        Effect::Hang(None) => "hang".to_owned(),
        Effect::Hang(Some(duration)) => format!("hang for {}", write_duration(duration)),
        Effect::Fixed(delay) => format!("delay fixed {}", write_duration(delay)),
        Effect::Uniform(low, high) => {
            format!("delay uniform {} {}", write_duration(low), write_duration(high))
        }
        Effect::Exponential(mean) => format!("delay exponential {}", write_duration(mean)),
    }
}

fn write_duration(duration: Duration) -> String {
    format!("{}us", duration.as_micros())
}
