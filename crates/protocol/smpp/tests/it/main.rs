//! Tests of the SMPP codec and session machine.

mod hostile;
mod pair;
mod session_rules;
mod vectors;

/// Where fake clocks start.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be made from a clock; it is read once and then moved by the test"
)]
fn origin() -> std::time::Instant {
    std::time::Instant::now()
}
