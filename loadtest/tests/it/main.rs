//! Tests of the simulators.

mod kannel;
mod smsc_conformance;
