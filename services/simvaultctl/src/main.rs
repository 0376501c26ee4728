//! `simvaultctl`: the operator's command line, a thin client of the application server.
//!
//! [`arguments`] is what can be typed, [`commands`] turns it into calls, [`output`] shows the answers.

mod arguments;
mod commands;
mod configuration;
mod notation;
mod output;
mod security;
mod sessions;
mod settings;
mod time;
mod transfers;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match commands::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simvaultctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
