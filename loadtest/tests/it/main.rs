//! The simulators, peers that are not ours, and the built programs as an operator meets them.

mod kannel;
mod peer;
mod smsc_conformance;
mod twisted;
