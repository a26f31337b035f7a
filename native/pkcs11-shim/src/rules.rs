//! Rules: what happens to which calls, how often and how likely.
//!
//! Owns the slots of the shared state that hold them. Promises that a rule for n calls meets exactly n calls over all processes,
//! and that a reader never mixes an old rule with the one that took its slot: `ticket` counts both, and whoever takes a rule up
//! changes it by one atomic exchange. All accesses are `SeqCst`: control is rare, and such loads cost nothing extra on x86.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use crate::call_set::{CallSet, SharedCallSet};
use crate::calls::Call;
use crate::effect::{Effect, HANG, NOTHING};

/// How many rules hold at the same time.
pub(crate) const RULES: usize = 64;

/// Times left of a rule that holds until told otherwise.
pub(crate) const FOREVER: u32 = u32::MAX;

/// The chance of a rule that is never left to chance.
pub(crate) const CERTAIN: u32 = 1_000_000;

/// How often a call that is kept waiting looks whether it may go on.
const PATIENCE: Duration = Duration::from_millis(1);

/// A rule as it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rule {
    pub(crate) calls: CallSet,
    pub(crate) effect: Effect,
    /// How many calls it meets; [`FOREVER`] for all.
    pub(crate) times: u32,
    /// How likely it meets a call, in millionths.
    pub(crate) chance: u32,
}

/// One slot of the shared state; all zero is an empty one.
#[repr(C)]
pub(crate) struct Slot {
    /// Generation of the rule in the upper half, times left in the lower.
    ticket: AtomicU64,
    hits: AtomicU64,
    calls: SharedCallSet,
    first: AtomicU64,
    second: AtomicU64,
    kind: AtomicU32,
    chance: AtomicU32,
}

impl Slot {
    /// Puts a rule in; a call that the slot's earlier rule keeps waiting goes on. Writers take turns (`control`).
    pub(crate) fn arm(&self, rule: Rule) {
        let generation = self.retire();
        let (kind, first, second) = rule.effect.write();
        self.calls.store(rule.calls);
        self.kind.store(kind, SeqCst);
        self.first.store(first, SeqCst);
        self.second.store(second, SeqCst);
        self.chance.store(rule.chance, SeqCst);
        self.hits.store(0, SeqCst);
        self.ticket.store(generation << 32 | u64::from(rule.times), SeqCst);
    }

    /// Takes the rule out.
    pub(crate) fn clear(&self) {
        self.retire();
        self.kind.store(NOTHING, SeqCst);
    }

    /// Tells whether a new rule may be put in: none there, or one that has met all its calls and holds none of them.
    pub(crate) fn is_free(&self) -> bool {
        let kind = self.kind.load(SeqCst);
        kind == NOTHING || (kind != HANG && left(self.ticket.load(SeqCst)) == 0)
    }

    /// Shows the rule, with the times left as they are now, and how many calls it has met.
    pub(crate) fn read(&self) -> Option<(Rule, u64)> {
        let effect = self.effect()?;
        let times = left(self.ticket.load(SeqCst));
        let chance = self.chance.load(SeqCst);
        let rule = Rule { calls: self.calls.load(), effect, times, chance };
        Some((rule, self.hits.load(SeqCst)))
    }

    /// Takes the rule up for a call, if it meets it. A call that only asks for a size is neither delayed nor
    /// spoilt. `draw` gives a random
    /// number.
    pub(crate) fn meet(
        &self,
        call: Call,
        is_sizing: bool,
        mut draw: impl FnMut() -> u64,
    ) -> Option<Met<'_>> {
        loop {
            let ticket = self.ticket.load(SeqCst);
            if left(ticket) == 0 || !self.calls.load().contains(call) {
                return None;
            }
            let effect = self.effect()?;
            if is_sizing && effect.is_about_work() {
                return None;
            }
            let chance = self.chance.load(SeqCst);
            if chance < CERTAIN && draw() % u64::from(CERTAIN) >= u64::from(chance) {
                return None;
            }
            let after = if left(ticket) == FOREVER { ticket } else { ticket - 1 };
            if self.ticket.compare_exchange(ticket, after, SeqCst, SeqCst).is_ok() {
                self.hits.fetch_add(1, SeqCst);
                return Some(Met { slot: self, generation: ticket >> 32, effect });
            }
        }
    }

    /// Makes the slot meet nothing; returns the generation of its next rule.
    fn retire(&self) -> u64 {
        let generation = (self.ticket.load(SeqCst) >> 32).wrapping_add(1) & u64::from(u32::MAX);
        self.ticket.store(generation << 32, SeqCst);
        generation
    }

    fn effect(&self) -> Option<Effect> {
        Effect::read(self.kind.load(SeqCst), self.first.load(SeqCst), self.second.load(SeqCst))
    }
}

/// A rule that has met a call.
pub(crate) struct Met<'a> {
    slot: &'a Slot,
    generation: u64,
    pub(crate) effect: Effect,
}

impl Met<'_> {
    /// Waits for `duration`, or until the rule is cleared.
    pub(crate) fn hang(&self, duration: Option<Duration>) {
        let begun = std::time::Instant::now();
        while self.slot.ticket.load(SeqCst) >> 32 == self.generation
            && duration.is_none_or(|duration| begun.elapsed() < duration)
        {
            thread::sleep(PATIENCE);
        }
    }
}

fn left(ticket: u64) -> u32 {
    u32::try_from(ticket & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn empty() -> Slot {
        let zero = || AtomicU64::new(0);
        Slot {
            ticket: zero(),
            hits: zero(),
            calls: SharedCallSet::empty(),
            first: zero(),
            second: zero(),
            kind: AtomicU32::new(0),
            chance: AtomicU32::new(0),
        }
    }

    fn rule(times: u32, chance: u32) -> Rule {
        let calls = CallSet::EMPTY.with(Call::C_Sign).with(Call::C_WaitForSlotEvent);
        Rule { calls, effect: Effect::Fail(0x30), times, chance }
    }

    fn never() -> u64 {
        unreachable!("nothing is left to chance here")
    }

    #[test]
    fn a_rule_meets_the_calls_it_names_and_no_others() {
        let slot = empty();
        assert!(slot.meet(Call::C_Sign, false, never).is_none());
        slot.arm(rule(FOREVER, CERTAIN));
        let met: Vec<Call> =
            Call::ALL.into_iter().filter(|call| slot.meet(*call, false, never).is_some()).collect();
        assert_eq!(met, [Call::C_Sign, Call::C_WaitForSlotEvent]);
        assert_eq!(slot.read(), Some((rule(FOREVER, CERTAIN), 2)));
        slot.clear();
        assert!(slot.meet(Call::C_Sign, false, never).is_none());
        assert_eq!(slot.read(), None);
    }

    #[test]
    fn a_rule_for_n_calls_meets_n_of_them_however_many_ask_at_once() {
        let slot = empty();
        slot.arm(rule(1000, CERTAIN));
        let met = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let hit = slot.meet(Call::C_Sign, false, never).is_some();
                        met.fetch_add(usize::from(hit), SeqCst);
                    }
                });
            }
        });
        assert_eq!(met.load(SeqCst), 1000);
        assert!(slot.is_free());
    }

    #[test]
    fn asking_for_a_size_uses_no_delay_up() {
        let slot = empty();
        slot.arm(Rule { effect: Effect::Fixed(Duration::ZERO), ..rule(1, CERTAIN) });
        assert!(slot.meet(Call::C_Sign, true, never).is_none());
        assert!(slot.meet(Call::C_Sign, false, never).is_some());
    }

    #[test]
    fn chance_is_taken_per_call_and_spares_the_times() {
        let slot = empty();
        slot.arm(rule(1, 250_000));
        assert!(slot.meet(Call::C_Sign, false, || 250_000).is_none());
        assert!(slot.meet(Call::C_Sign, false, || 249_999).is_some());
        assert!(slot.meet(Call::C_Sign, false, || 0).is_none());
    }

    #[test]
    fn a_call_that_hangs_goes_on_when_the_rule_is_cleared_or_replaced_or_its_time_is_over() {
        for release in [Slot::clear, |slot: &Slot| slot.arm(rule(1, CERTAIN))] {
            let slot = empty();
            slot.arm(Rule { effect: Effect::Hang(None), ..rule(1, CERTAIN) });
            let met = slot.meet(Call::C_Sign, false, never).unwrap();
            assert!(!slot.is_free(), "a rule that holds a call keeps its slot");
            thread::scope(|scope| {
                let waiter = scope.spawn(|| met.hang(None));
                assert!(!waiter.is_finished());
                release(&slot);
                waiter.join().unwrap();
            });
        }
        let slot = empty();
        slot.arm(Rule { effect: Effect::Hang(Some(Duration::from_millis(2))), ..rule(1, CERTAIN) });
        slot.meet(Call::C_Sign, false, never).unwrap().hang(Some(Duration::from_millis(2)));
    }

    #[test]
    fn effects_survive_shared_memory() {
        let second = Duration::from_secs(1);
        for effect in [
            Effect::Fail(0x8000_0001),
            Effect::Hang(None),
            Effect::Hang(Some(second)),
            Effect::Fixed(second),
            Effect::Uniform(second, second * 2),
            Effect::Exponential(second),
            Effect::Spoil,
        ] {
            let slot = empty();
            slot.arm(Rule { effect, ..rule(3, 7) });
            assert_eq!(slot.read(), Some((Rule { effect, ..rule(3, 7) }, 0)));
        }
    }
}
