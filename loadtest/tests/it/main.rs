//! Tests of the simulators.

mod smsc_conformance;
