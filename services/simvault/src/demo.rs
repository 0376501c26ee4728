//! `simvault demo`: the centre and, around it, what `loadtest::demo` plays.

use std::process::ExitCode;

#[derive(clap::Args)]
pub struct DemoArguments {}

pub fn run(_arguments: &DemoArguments) -> ExitCode {
    ExitCode::SUCCESS
}
