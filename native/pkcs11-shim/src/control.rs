//! The commands that make a state file and change it: what the `pkcs11-shim` program says and does.
//!
//! Owns the words. Promises that a command either has its whole effect, on every process that uses the state, before it returns,
//! or none; refuses words it does not know with a sentence that says what to write instead.

use core::time::Duration;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::call_set::CallSet;
use crate::calls::Call;
use crate::codes::read_code;
use crate::effect::Effect;
use crate::permits::PERMITS;
use crate::profiles;
use crate::rules::{CERTAIN, FOREVER, Rule};
use crate::settings::{NullKey, NullSettings, Settings};
use crate::state::Shared;
use crate::status::write_status;

/// What `pkcs11-shim --help` prints.
pub const HELP: &str = "\
pkcs11-shim STATE COMMAND …

A program uses the shim by loading libpkcs11_shim.so as its PKCS#11 module with PKCS11_SHIM_STATE=STATE in its environment.

  create module PATH           make STATE, with the real module of this path behind the shim
  create null LABEL KEY…       … with no module but a token of this label that signs P-256 at almost no cost, for measurements
                               only: its key is published and ANYONE CAN FORGE ITS SIGNATURES; KEY is LABEL:ID, ID in hexadecimal
  fail CALLS CODE [HOW OFTEN]  answer with CKR_… or 0x…; the module behind is not asked
  hang CALLS [for DURATION] [HOW OFTEN]
                               keep the call until then, or until the rule is cleared; then it goes on
  delay CALLS fixed DURATION | uniform LOW HIGH | exponential MEAN [HOW OFTEN]
                               latency; that of several rules adds up
  spoil CALLS [HOW OFTEN]      flip a bit of what the module puts out: a wrong signature
  clear [RULE]                 take out one rule (each command above prints its number), or all
  limit CALLS N                at most N of these calls inside the token at once, over all processes; 0 lifts it
  profile NAME                 the latency and the limit of a modelled network HSM: network-5ms-16, network-1ms-30
  drop-sessions                every session open now is invalid, its login gone
  remove | return              the token disappears, its sessions with it | and comes back
  status                       rules, counters and the rest as JSON
  zero                         set the counters to zero

CALLS      C_Sign,C_SignInit or *
HOW OFTEN  [times N] [chance P]: N calls (default: until cleared), each met with probability P (default 1)
DURATION   250us, 5ms, 2s
";

/// Octets of a token's label.
const LABEL_OCTETS: usize = 32;

/// Carries out one command on the state file at `path`; returns what there is to print.
///
/// # Errors
///
/// One sentence that says what is wrong and what to change.
pub fn run(path: &Path, words: &[&str]) -> Result<String, String> {
    if let ["create", words @ ..] = words {
        Shared::create(path, &read_settings(words)?)?;
        return Ok(String::new());
    }
    let (_, shared) = Shared::open(path)?;
    let _turn = lock(path)?;
    change(shared, words)
}

fn read_settings(words: &[&str]) -> Result<Settings, String> {
    match words {
        ["module", path] => Ok(Settings::Module(PathBuf::from(path))),
        ["null", label, keys @ ..] => {
            if label.len() > LABEL_OCTETS || label.contains(char::is_control) {
                return Err(format!(
                    "`{label}` should be a token's label: at most {LABEL_OCTETS} octets"
                ));
            }
            let keys = keys.iter().map(|key| {
                NullKey::read(key)
                    .ok_or_else(|| format!("`{key}` should be LABEL:ID, ID in hexadecimal"))
            });
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            Ok(Settings::Null(NullSettings { label: (*label).to_owned(), keys }))
        }
        _ => Err("`create` wants `module PATH` or `null LABEL KEY…`".to_owned()),
    }
}

fn change(shared: &Shared, words: &[&str]) -> Result<String, String> {
    match words {
        ["fail", calls, code, often @ ..] => {
            let code = read_code(code).filter(|code| *code != 0).ok_or_else(|| {
                format!(
                    "`{code}` is no code to fail with; write one such as CKR_DEVICE_ERROR or 0x30"
                )
            })?;
            arm(shared, calls, Effect::Fail(code), often)
        }
        ["hang", calls, "for", duration, often @ ..] => {
            arm(shared, calls, Effect::Hang(Some(read_duration(duration)?)), often)
        }
        ["hang", calls, often @ ..] => arm(shared, calls, Effect::Hang(None), often),
        ["spoil", calls, often @ ..] => {
            if let Some(call) = Call::ALL
                .into_iter()
                .find(|call| !call.has_output() && calls.split(',').any(|name| name == call.name()))
            {
                return Err(format!("{} puts nothing out that could be spoilt", call.name()));
            }
            arm(shared, calls, Effect::Spoil, often)
        }
        ["delay", calls, words @ ..] => {
            let (effect, often) = read_delay(words)?;
            arm(shared, calls, effect, often)
        }
        ["clear"] => done(shared.clear(None), ""),
        ["clear", number] => {
            let number = read_number(number)?;
            done(shared.clear(usize::try_from(number).ok()), "there is no rule of this number")
        }
        ["limit", calls, limit] => {
            let limit = read_number(limit)?;
            if usize::try_from(limit).map_or(true, |limit| limit > PERMITS) {
                return Err(format!("a limit is at most {PERMITS}"));
            }
            shared.permits.limit(read_calls(calls)?, limit);
            Ok(String::new())
        }
        ["profile", name] => profiles::apply(shared, name).map(|number| number.to_string()),
        ["drop-sessions"] => {
            shared.drop_sessions();
            Ok(String::new())
        }
        ["remove"] => {
            shared.remove();
            Ok(String::new())
        }
        ["return"] => {
            shared.put_back();
            Ok(String::new())
        }
        ["status"] => Ok(write_status(shared)),
        ["zero"] => {
            shared.zero();
            Ok(String::new())
        }
        _ => Err(format!("`{}` is no command; see `pkcs11-shim --help`", words.join(" "))),
    }
}

fn arm(shared: &Shared, calls: &str, effect: Effect, often: &[&str]) -> Result<String, String> {
    let (times, chance) = read_often(often)?;
    let rule = Rule { calls: read_calls(calls)?, effect, times, chance };
    shared.arm(rule).map(|number| number.to_string())
}

fn done(is_done: bool, otherwise: &str) -> Result<String, String> {
    if is_done { Ok(String::new()) } else { Err(otherwise.to_owned()) }
}

fn read_calls(text: &str) -> Result<CallSet, String> {
    if text == "*" {
        return Ok(CallSet::all());
    }
    text.split(',').try_fold(CallSet::EMPTY, |calls, name| match Call::named(name) {
        Some(call) => Ok(calls.with(call)),
        None => {
            Err(format!("`{name}` is no function of PKCS#11 2.40; write one such as C_Sign, or *"))
        }
    })
}

fn read_delay<'a, 'b>(words: &'a [&'b str]) -> Result<(Effect, &'a [&'b str]), String> {
    match words {
        ["fixed", delay, often @ ..] => Ok((Effect::Fixed(read_duration(delay)?), often)),
        ["exponential", mean, often @ ..] => Ok((Effect::Exponential(read_duration(mean)?), often)),
        ["uniform", low, high, often @ ..] => {
            Ok((Effect::Uniform(read_duration(low)?, read_duration(high)?), often))
        }
        _ => Err("`delay` wants `fixed D`, `uniform LOW HIGH` or `exponential MEAN`".to_owned()),
    }
}

fn read_often(words: &[&str]) -> Result<(u32, u32), String> {
    match words {
        [] => Ok((FOREVER, CERTAIN)),
        ["times", times] => Ok((read_number(times)?, CERTAIN)),
        ["chance", chance] => Ok((FOREVER, read_chance(chance)?)),
        ["times", times, "chance", chance] => Ok((read_number(times)?, read_chance(chance)?)),
        _ => Err(format!("`{}` should be [times N] [chance P]", words.join(" "))),
    }
}

fn read_number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` should be a whole number"))
}

/// Reads a probability as millionths.
fn read_chance(text: &str) -> Result<u32, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let millionths = format!("{part:0<6}").parse::<u32>();
    match (whole, millionths) {
        ("1", Ok(0)) => Ok(CERTAIN),
        ("0", Ok(millionths)) if part.len() <= 6 => Ok(millionths),
        _ => {
            Err(format!("`{text}` should be a probability such as 0.05, with at most six decimals"))
        }
    }
}

fn read_duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let duration = match (number.parse::<u32>(), unit) {
        (Ok(number), "us") => Some(Duration::from_micros(number.into())),
        (Ok(number), "ms") => Some(Duration::from_millis(number.into())),
        (Ok(number), "s") => Some(Duration::from_secs(number.into())),
        _ => None,
    };
    duration.ok_or_else(|| format!("`{text}` should be a duration such as 250us, 5ms or 2s"))
}

/// Waits for the turn of this program among those that change the state; it ends when the file is dropped.
fn lock(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } {
        0 => Ok(file),
        _ => Err(format!("{}: {}", path.display(), std::io::Error::last_os_error())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::state::tests::make_state;
    use crate::status::write_effect;

    fn say(path: &Path, line: &str) -> Result<String, String> {
        run(path, &line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn rules_are_armed_as_they_are_worded() {
        let (path, shared) = make_state("words");
        let expected = [
            ("fail C_Sign CKR_DEVICE_ERROR", "fail CKR_DEVICE_ERROR", FOREVER, CERTAIN),
            ("fail * 0x30 times 3", "fail CKR_DEVICE_ERROR", 3, CERTAIN),
            ("spoil C_Sign times 2", "spoil", 2, CERTAIN),
            ("hang C_Sign,C_SignInit", "hang", FOREVER, CERTAIN),
            ("hang C_Sign for 2s times 1 chance 0.5", "hang for 2000000us", 1, 500_000),
            ("delay C_Sign fixed 5ms", "delay fixed 5000us", FOREVER, CERTAIN),
            ("delay * uniform 250us 1ms chance 0.000001", "delay uniform 250us 1000us", FOREVER, 1),
            (
                "delay C_Sign exponential 1ms chance 1.0",
                "delay exponential 1000us",
                FOREVER,
                CERTAIN,
            ),
        ];
        for (place, (line, ..)) in expected.iter().enumerate() {
            assert_eq!(say(&path, line), Ok(place.to_string()));
        }
        let armed: Vec<_> = shared
            .rules()
            .map(|(_, rule, _)| (write_effect(rule.effect), rule.times, rule.chance))
            .collect();
        let worded = expected
            .iter()
            .map(|(_, effect, times, chance)| ((*effect).to_owned(), *times, *chance));
        assert_eq!(armed, worded.collect::<Vec<_>>());
        assert_eq!(say(&path, "clear 2"), Ok(String::new()));
        assert_eq!(shared.rules().count(), expected.len() - 1);
        assert_eq!(say(&path, "clear"), Ok(String::new()));
        assert_eq!(shared.rules().count(), 0);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn other_words_are_refused_and_change_nothing() {
        let (path, shared) = make_state("refused");
        for line in [
            "",
            "fail",
            "fail C_Sign",
            "fail C_Sign CKR_OK",
            "fail C_Sign DEVICE_ERROR",
            "fail C_Signs CKR_DEVICE_ERROR",
            "fail C_Sign,,C_Login CKR_DEVICE_ERROR",
            "fail C_Sign CKR_DEVICE_ERROR twice",
            "fail C_Sign CKR_DEVICE_ERROR times -1",
            "fail C_Sign CKR_DEVICE_ERROR chance 1.5",
            "fail C_Sign CKR_DEVICE_ERROR chance 0.0000001",
            "hang C_Sign for 5",
            "hang C_Sign for 5m",
            "delay C_Sign 5ms",
            "delay C_Sign fixed",
            "limit C_Sign 257",
            "limit C_Sign",
            "spoil C_SignInit",
            "clear first",
            "profile",
            "profile mainframe",
            "clear 64",
            "remove it",
            "create",
            "create module",
            "create null",
            "create null token key",
            "create null a-label-that-is-too-long-for-a-token key:01",
        ] {
            assert!(say(&path, line).is_err(), "{line}");
        }
        assert_eq!(shared.rules().count(), 0);
        assert!(!shared.is_absent());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_status_shows_what_was_told() {
        let (path, shared) = make_state("status");
        for line in ["limit C_Sign 16", "remove", "drop-sessions", "fail C_Sign 0x30 times 2"] {
            say(&path, line).unwrap();
        }
        shared.counters(Call::C_Sign).entered.fetch_add(4, SeqCst);
        let status = say(&path, "status").unwrap();
        for part in [
            r#"{"absent": true, "drops": 2, "limit": 16, "held": 0, "peak": 0, "waits": 0, "rules": ["#,
            r#"{"rule": 0, "effect": "fail CKR_DEVICE_ERROR", "left": 2, "hits": 0}"#,
            r#""C_Sign": {"entered": 4, "injected": 0, "hung": 0, "done": 0}"#,
        ] {
            assert!(status.contains(part), "{status}");
        }
        say(&path, "zero").unwrap();
        assert!(!say(&path, "status").unwrap().contains("\"entered\": 4"));
        say(&path, "return").unwrap();
        assert!(!shared.is_absent());
        fs::remove_file(path).unwrap();
    }
}
