//! The shared state: one file, mapped by every process that uses the shim and by the program that controls it.
//!
//! Owns the layout: the settings as text, then [`Shared`], which consists of atomics only. Promises that a file of another layout
//! is refused; all zero is the state of a shim that does nothing.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memmap2::MmapOptions;

use crate::calls::{COUNT, Call};
use crate::permits::Permits;
use crate::rules::{Met, RULES, Rule, Slot};
use crate::settings::{SETTINGS_OCTETS, Settings};

/// What all processes see.
#[repr(C)]
pub(crate) struct Shared {
    /// Counts how often all sessions were dropped.
    pub(crate) epoch: AtomicU64,
    /// How many random numbers were drawn: the next one follows from it.
    draws: AtomicU64,
    /// 1 while the token is gone.
    absent: AtomicU32,
    /// How many slots may hold a rule: the rest is not looked at.
    rules_end: AtomicU32,
    pub(crate) permits: Permits,
    rules: [Slot; RULES],
    calls: [Counters; COUNT],
}

/// What is counted for each function.
#[repr(C, align(64))]
pub(crate) struct Counters {
    /// Calls made.
    pub(crate) entered: AtomicU64,
    /// Calls answered by the shim with a code.
    pub(crate) injected: AtomicU64,
    /// Calls kept waiting.
    pub(crate) hung: AtomicU64,
    /// Calls the module behind answered with `CKR_OK`, those not counted that only asked for a size.
    pub(crate) done: AtomicU64,
}

impl Shared {
    /// Makes a state file that does nothing yet; one that is there is replaced, and processes that use it keep the old one.
    pub(crate) fn create(path: &Path, settings: &Settings) -> Result<(), String> {
        let say = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = settings.write()?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let mut file = File::create(&unfinished).map_err(say)?;
        file.write_all(&text).map_err(say)?;
        file.set_len(octets(text.len() + size_of::<Self>())).map_err(say)?;
        // Whoever may run the program under test may be another user than the one who tests it.
        file.set_permissions(Permissions::from_mode(0o666)).map_err(say)?;
        fs::rename(&unfinished, path).map_err(say)
    }

    /// Maps a state file for the rest of the process's life.
    pub(crate) fn open(path: &Path) -> Result<(Settings, &'static Self), String> {
        let say = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = File::options().read(true).write(true).open(path).map_err(say)?;
        let mut text = vec![0; SETTINGS_OCTETS];
        file.read_exact(&mut text).map_err(say)?;
        let settings = Settings::read(&text).ok_or_else(|| {
            format!("{}: no state file of this version; create it anew", path.display())
        })?;
        if file.metadata().map_err(say)?.len() != octets(SETTINGS_OCTETS + size_of::<Self>()) {
            return Err(format!("{}: written by another version; create it anew", path.display()));
        }
        let place = octets(SETTINGS_OCTETS);
        // SAFETY: the file is as long as the mapping. Other processes change it while it is mapped; all that is read through the
        // mapping are atomics. Nothing shortens a state file: `create` makes another one and renames it.
        let map = unsafe { MmapOptions::new().offset(place).len(size_of::<Self>()).map_mut(&file) };
        let map = Box::leak(Box::new(map.map_err(say)?));
        // SAFETY: the mapping is writable, lives as long as the process, starts at a page's start or 4 KiB after one (so it is
        // aligned to 64 octets), is `size_of::<Self>()` octets long, and every pattern of bits is a valid `Shared`.
        #[expect(clippy::cast_ptr_alignment, reason = "aligned, as the line above says")]
        Ok((settings, unsafe { &*map.as_ptr().cast::<Self>() }))
    }

    /// The counters of one function.
    pub(crate) fn counters(&self, call: Call) -> &Counters {
        #[expect(
            clippy::indexing_slicing,
            reason = "a call's index is below COUNT by construction"
        )]
        &self.calls[call.index()]
    }

    /// Forgets what was counted.
    pub(crate) fn zero(&self) {
        for counters in &self.calls {
            for counter in [&counters.entered, &counters.injected, &counters.hung, &counters.done] {
                counter.store(0, SeqCst);
            }
        }
        self.permits.zero();
    }

    /// Tells whether the token is gone.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent.load(SeqCst) != 0
    }

    /// Drops every session of every process.
    pub(crate) fn drop_sessions(&self) {
        self.epoch.fetch_add(1, SeqCst);
    }

    /// Takes the token away, which ends its sessions.
    pub(crate) fn remove(&self) {
        self.absent.store(1, SeqCst);
        self.drop_sessions();
    }

    /// Puts the token back.
    pub(crate) fn put_back(&self) {
        self.absent.store(0, SeqCst);
    }

    /// Puts a rule into a free slot and returns the slot's number.
    pub(crate) fn arm(&self, rule: Rule) -> Result<usize, String> {
        let free = self.rules.iter().enumerate().find(|(_, slot)| slot.is_free());
        let (number, slot) = free.ok_or_else(|| format!("there are {RULES} rules; clear some"))?;
        slot.arm(rule);
        self.rules_end.fetch_max(u32::try_from(number + 1).unwrap_or(u32::MAX), SeqCst);
        Ok(number)
    }

    /// Takes a rule out, or all of them; false when there is no such slot.
    pub(crate) fn clear(&self, number: Option<usize>) -> bool {
        match number {
            None => self.rules.iter().for_each(Slot::clear),
            Some(number) => match self.rules.get(number) {
                Some(slot) => slot.clear(),
                None => return false,
            },
        }
        true
    }

    /// Shows the rules with their numbers.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (usize, Rule, u64)> {
        self.rules
            .iter()
            .enumerate()
            .filter_map(|(number, slot)| slot.read().map(|(rule, hits)| (number, rule, hits)))
    }

    /// Takes up, one after the other, the rules that meet a call.
    pub(crate) fn meet(&self, call: Call, is_sizing: bool) -> impl Iterator<Item = Met<'_>> {
        let end = usize::try_from(self.rules_end.load(SeqCst)).unwrap_or(RULES);
        self.rules
            .iter()
            .take(end)
            .filter_map(move |slot| slot.meet(call, is_sizing, || self.draw()))
    }

    /// Draws a random number: `SplitMix64` over a counter, so that a run can be repeated as far as its scheduling can.
    pub(crate) fn draw(&self) -> u64 {
        let mut state =
            self.draws.fetch_add(1, SeqCst).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ state >> 31
    }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::{env, process};

    use super::*;
    use crate::call_set::CallSet;
    use crate::calls::Call;
    use crate::effect::Effect;
    use crate::rules::{CERTAIN, FOREVER};

    /// A state file of its own for one test; `name` is unique among the tests.
    pub(crate) fn make_state(name: &str) -> (PathBuf, &'static Shared) {
        let path = env::temp_dir().join(format!("pkcs11-shim-{}-{name}", process::id()));
        Shared::create(&path, &Settings::Module(PathBuf::from("/nowhere/module.so"))).unwrap();
        let (settings, shared) = Shared::open(&path).unwrap();
        assert_eq!(settings, Settings::Module(PathBuf::from("/nowhere/module.so")));
        (path, shared)
    }

    fn fail(call: Call) -> Rule {
        let calls = CallSet::EMPTY.with(call);
        Rule { calls, effect: Effect::Fail(5), times: FOREVER, chance: CERTAIN }
    }

    #[test]
    fn what_one_mapping_is_told_another_one_sees() {
        let (path, shared) = make_state("mappings");
        let (_, other) = Shared::open(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(shared.arm(fail(Call::C_Sign)), Ok(0));
        assert_eq!(other.arm(fail(Call::C_Login)), Ok(1));
        assert_eq!(other.meet(Call::C_Sign, false).count(), 1);
        assert_eq!(shared.meet(Call::C_Login, false).count(), 1);
        assert_eq!(shared.rules().count(), 2);
        other.remove();
        assert!(shared.is_absent());
        assert_eq!(shared.epoch.load(SeqCst), 1);
        assert!(other.clear(None));
        assert_eq!(shared.rules().count(), 0);
    }

    #[test]
    fn there_is_room_for_so_many_rules_and_no_more() {
        let (path, shared) = make_state("room");
        fs::remove_file(path).unwrap();
        for number in 0..RULES {
            assert_eq!(shared.arm(fail(Call::C_Sign)), Ok(number));
        }
        assert!(shared.arm(fail(Call::C_Sign)).is_err());
        assert!(shared.clear(Some(7)));
        assert_eq!(shared.arm(fail(Call::C_Sign)), Ok(7));
        assert!(!shared.clear(Some(RULES)));
    }

    #[test]
    fn a_file_that_is_no_state_is_refused() {
        let (path, _) = make_state("foreign");
        let whole = fs::read(&path).unwrap();
        let mut foreign = whole.clone();
        foreign[0] ^= 1;
        for content in [&whole[..100], &whole[..whole.len() - 1], &foreign] {
            fs::write(&path, content).unwrap();
            assert!(Shared::open(&path).is_err());
        }
        fs::remove_file(&path).unwrap();
        assert!(Shared::open(&path).is_err());
    }

    #[test]
    fn random_numbers_are_spread_evenly() {
        let (path, shared) = make_state("draws");
        fs::remove_file(path).unwrap();
        let low = (0..10_000).filter(|_| shared.draw() < u64::MAX / 4).count();
        assert!((2_300..2_700).contains(&low), "{low} of 10000 in the lowest quarter");
    }
}
