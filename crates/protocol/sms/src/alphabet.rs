//! Alphabets of TS 23.038.

pub mod gsm7;
