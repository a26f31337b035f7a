//! Sets of calls, in a process and in shared memory.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::calls::Call;

/// A set of calls, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CallSet(u128);

impl CallSet {
    pub(crate) const EMPTY: Self = Self(0);

    /// Every call.
    pub(crate) fn all() -> Self {
        Call::ALL.into_iter().fold(Self::EMPTY, Self::with)
    }

    pub(crate) const fn with(self, call: Call) -> Self {
        Self(self.0 | 1 << call.number())
    }

    pub(crate) const fn contains(self, call: Call) -> bool {
        self.0 >> call.number() & 1 == 1
    }
}

/// A set of calls in shared memory.
#[repr(C)]
pub(crate) struct SharedCallSet([AtomicU64; 2]);

impl SharedCallSet {
    /// For tests: shared memory is zero to begin with.
    #[cfg(test)]
    pub(crate) const fn empty() -> Self {
        Self([AtomicU64::new(0), AtomicU64::new(0)])
    }

    pub(crate) fn store(&self, calls: CallSet) {
        let [low, high] = &self.0;
        let octets = calls.0.to_le_bytes();
        let (first, second) = octets.split_at(8);
        low.store(first.iter().rev().fold(0, |sum, octet| sum << 8 | u64::from(*octet)), SeqCst);
        high.store(second.iter().rev().fold(0, |sum, octet| sum << 8 | u64::from(*octet)), SeqCst);
    }

    pub(crate) fn load(&self) -> CallSet {
        let [low, high] = &self.0;
        CallSet(u128::from(high.load(SeqCst)) << 64 | u128::from(low.load(SeqCst)))
    }
}
