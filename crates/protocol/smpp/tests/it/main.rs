//! Tests of the SMPP codec and session machine.

mod hostile;
mod pair;
mod session_rules;
mod vectors;
