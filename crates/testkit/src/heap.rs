//! Counts what a thread has on the heap, so that a test can say how much something took, or has.
//!
//! Only in a program that says so: `#[global_allocator] static HEAP: testkit::heap::Counting = testkit::heap::Counting;`
#![allow(unsafe_code, reason = "an allocator cannot be written without; it hands everything to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, counting.
pub struct Counting;

thread_local! {
    static PRESENT: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// A thread that ends has no counters any more; nobody asks for them then.
fn count(octets: usize, sign: isize) {
    let octets = sign * isize::try_from(octets).unwrap_or(isize::MAX);
    let present = PRESENT.try_with(|present| {
        present.set(present.get().saturating_add(octets));
        present.get()
    });
    if let Ok(present) = present {
        PEAK.try_with(|peak| peak.set(peak.get().max(present))).unwrap_or_default();
    }
}

// SAFETY: every call is the system allocator's own, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, 1);
        count(layout.size(), -1);
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Octets that `action` had on the heap of this thread at once, at most.
pub fn peak(action: impl FnOnce()) -> usize {
    let before = PRESENT.get();
    PEAK.set(before);
    action();
    usize::try_from(PEAK.get() - before).unwrap_or_default()
}

/// What `make` made, and how many octets more than before this thread has on the heap with it; 0 when it has fewer.
pub fn kept<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = PRESENT.get();
    let made = make();
    (made, usize::try_from(PRESENT.get() - before).unwrap_or_default())
}
