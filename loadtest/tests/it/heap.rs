//! Counts what a thread has on the heap: of this program, and so only here.

pub use testkit::heap::kept;

#[global_allocator]
static COUNTING: testkit::heap::Counting = testkit::heap::Counting;
