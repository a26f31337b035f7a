//! How many calls may be inside the token at once, over all processes.
//!
//! Owns the permits of the shared state. Promises that no more than the limit are held at any moment, and that those of a process
//! that was killed are found and given back. A waiter sleeps in the kernel (futex) until one is.

use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::{fs, process};

use crate::call_set::{CallSet, SharedCallSet};
use crate::calls::Call;

/// The highest limit.
pub(crate) const PERMITS: usize = 256;

/// How long a waiter sleeps before it looks for permits of processes that are gone.
static SWEEP_AFTER: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// … and every so many waits, for under load somebody always wakes it in time.
const SWEEP_EVERY: u64 = 64;

/// The permits; all zero means no limit.
#[repr(C)]
pub(crate) struct Permits {
    calls: SharedCallSet,
    waits: AtomicU64,
    limit: AtomicU32,
    peak: AtomicU32,
    /// Counts what was given back; waiters sleep on it.
    freed: AtomicU32,
    waiting: AtomicU32,
    /// Process identifier of each permit's holder; 0 where nobody holds it.
    holders: [AtomicU32; PERMITS],
}

/// One permit, given back when dropped.
pub(crate) struct Permit<'a> {
    permits: &'a Permits,
    holder: &'a AtomicU32,
}

impl Permits {
    /// Sets the limit for these calls together; 0 lifts it.
    pub(crate) fn limit(&self, calls: CallSet, limit: u32) {
        self.calls.store(calls);
        self.limit.store(limit, SeqCst);
        self.wake(i32::MAX);
    }

    /// Forgets what was counted.
    pub(crate) fn zero(&self) {
        self.peak.store(0, SeqCst);
        self.waits.store(0, SeqCst);
    }

    /// Limit, permits held now, most ever held at once, and how many times a call had to wait for one.
    pub(crate) fn read(&self) -> (u32, usize, u32, u64) {
        (self.limit.load(SeqCst), self.held(), self.peak.load(SeqCst), self.waits.load(SeqCst))
    }

    /// Takes a permit, waiting for one as long as it takes; none is needed where no limit holds.
    pub(crate) fn acquire(&self, call: Call) -> Option<Permit<'_>> {
        if self.limit.load(SeqCst) == 0 || !self.calls.load().contains(call) {
            return None;
        }
        loop {
            let freed = self.freed.load(SeqCst);
            let limit = self.limit.load(SeqCst);
            if limit == 0 {
                return None;
            }
            if let Some(permit) = self.take(usize::try_from(limit).unwrap_or(PERMITS)) {
                self.peak.fetch_max(u32::try_from(self.held()).unwrap_or(u32::MAX), SeqCst);
                return Some(permit);
            }
            let waits = self.waits.fetch_add(1, SeqCst);
            if !self.sleep(freed) || waits % SWEEP_EVERY == 0 {
                self.sweep();
            }
        }
    }

    fn take(&self, limit: usize) -> Option<Permit<'_>> {
        let owner = process::id();
        let free = |holder: &&AtomicU32| {
            holder.load(SeqCst) == 0 && holder.compare_exchange(0, owner, SeqCst, SeqCst).is_ok()
        };
        let holder = self.holders.iter().take(limit).find(free)?;
        Some(Permit { permits: self, holder })
    }

    fn held(&self) -> usize {
        self.holders.iter().filter(|holder| holder.load(SeqCst) != 0).count()
    }

    /// Gives back what processes that are gone still hold.
    fn sweep(&self) {
        for holder in &self.holders {
            let owner = holder.load(SeqCst);
            if owner != 0
                && !is_alive(owner)
                && holder.compare_exchange(owner, 0, SeqCst, SeqCst).is_ok()
            {
                self.wake(1);
            }
        }
    }

    /// Sleeps until something was given back since `freed` was read; false when it took too long.
    fn sleep(&self, freed: u32) -> bool {
        self.waiting.fetch_add(1, SeqCst);
        // SAFETY: FUTEX_WAIT reads the aligned word behind the first pointer and the time behind the fourth; both live here.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.freed.as_ptr(),
                libc::FUTEX_WAIT,
                freed,
                &raw const SWEEP_AFTER,
            )
        };
        let is_timed_out =
            answer == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT);
        self.waiting.fetch_sub(1, SeqCst);
        !is_timed_out
    }

    fn wake(&self, waiters: i32) {
        self.freed.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        // SAFETY: FUTEX_WAKE only uses the address of the word.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.freed.as_ptr(),
                libc::FUTEX_WAKE,
                waiters,
                ptr::null::<libc::timespec>(),
            )
        };
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.holder.store(0, SeqCst);
        self.permits.wake(1);
    }
}

/// Tells whether a process runs; one that has ended and waits for its parent to notice does not.
fn is_alive(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
        return false;
    };
    // proc(5): `pid (name) state …`, and the name may hold anything.
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicU32 as Counter;
    use std::thread;

    use crate::state::tests::make_state;

    use super::*;

    #[test]
    fn no_more_than_the_limit_are_inside_and_all_get_in() {
        let (path, shared) = make_state("limit");
        fs::remove_file(path).unwrap();
        let permits = &shared.permits;
        let signs = CallSet::EMPTY.with(Call::C_Sign);
        permits.limit(signs, 3);
        let (inside, most) = (Counter::new(0), Counter::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let permit = permits.acquire(Call::C_Sign).unwrap();
                        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        let (limit, held, peak, waits) = permits.read();
        assert_eq!((limit, held), (3, 0));
        assert!(most.load(SeqCst) <= 3 && peak == 3 && waits > 0);
        assert!(permits.acquire(Call::C_Login).is_none(), "the limit is for signatures alone");
    }

    #[test]
    fn a_waiter_goes_on_when_the_limit_is_lifted() {
        let (path, shared) = make_state("lifted");
        fs::remove_file(path).unwrap();
        let permits = &shared.permits;
        permits.limit(CallSet::all(), 1);
        let _first = permits.acquire(Call::C_Sign).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| permits.acquire(Call::C_Sign).is_none());
            while permits.read().3 == 0 {
                thread::yield_now();
            }
            permits.limit(CallSet::EMPTY, 0);
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn permits_of_a_process_that_is_gone_are_given_back_even_before_its_parent_has_noticed() {
        let (path, shared) = make_state("gone");
        fs::remove_file(path).unwrap();
        let permits = &shared.permits;
        permits.limit(CallSet::all(), 2);
        let mut unnoticed = Command::new("true").spawn().unwrap();
        let mut noticed = Command::new("true").spawn().unwrap();
        noticed.wait().unwrap();
        permits.holders[0].store(noticed.id(), SeqCst);
        permits.holders[1].store(unnoticed.id(), SeqCst);
        let both = [permits.acquire(Call::C_Sign), permits.acquire(Call::C_Sign)];
        assert!(both.iter().all(Option::is_some));
        unnoticed.wait().unwrap();
        assert!(is_alive(process::id()));
    }
}
