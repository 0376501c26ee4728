//! The simulators, peers that are not ours, and the built programs as an operator meets them.

mod configuration;
mod faults;
mod fleet;
mod heap;
mod kannel;
mod peer;
mod process;
mod program;
mod refusals;
mod smsc_conformance;
mod twisted;
mod up;
