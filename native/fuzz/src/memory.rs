//! Counting what is allocated, so that a bound on memory can be an invariant.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with a count of the octets it holds; a target has one thread.
#[derive(Debug)]
pub struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// What `work` returns, and the most octets it held beyond those held before it. Needs [`Counting`] as the global
/// allocator; 0 without it.
pub fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = work();
    (result, MOST.load(Ordering::Relaxed) - before)
}

fn add(octets: usize) {
    let held = HELD.fetch_add(octets, Ordering::Relaxed) + octets;
    MOST.fetch_max(held, Ordering::Relaxed);
}

fn remove(octets: usize) {
    HELD.fetch_sub(octets, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise on `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: `place` came from `System.alloc` or `System.realloc` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new place may live at the same time.
        add(size);
        // SAFETY: `place` came from `System.alloc` or `System.realloc` with this layout; `size` is the caller's promise.
        let moved = unsafe { System.realloc(place, layout, size) };
        remove(layout.size());
        moved
    }
}
