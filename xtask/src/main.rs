//! The project's own commands: `cargo xtask NAME`, `cargo demo`. Each is a module; start with [`test`] and [`check`].

mod check;
mod packages;
mod peers;
mod requirements;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "Simvault's own commands", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need where it may, and runs them all
    Test {
        /// Only tests of these packages
        #[arg(short, long)]
        package: Vec<String>,
    },
    /// Format, lints, layout, licences and requirement coverage
    Check,
    /// Which requirement is covered by which test
    Requirements {
        /// Counts per group, for machines
        #[arg(long)]
        json: bool,
        /// Names the covering tests of each ID
        #[arg(long)]
        tests: bool,
    },
    /// Backs up, loses and restores a few hundred virtual cards, in one process
    #[command(disable_help_flag = true)]
    Demo(Passed),
    /// Starts the whole centre on real Postgres and Redis, two replicas of each service
    #[command(disable_help_flag = true)]
    Up(Passed),
    /// Stops what `up` started
    #[command(disable_help_flag = true)]
    Down(Passed),
    /// Kills processes of the `up` topology under load and accounts for every message
    #[command(disable_help_flag = true)]
    Faults(Passed),
    /// Gives every decoder faulty octets for as long as asked
    #[command(disable_help_flag = true)]
    Fuzz(Passed),
    /// How many short messages a full book takes, compact and plain
    Compact,
    /// CPU per message, rates and latencies, written to docs/performance.md
    #[command(disable_help_flag = true)]
    Bench(Passed),
}

/// What another program takes, `--help` too: only that program knows its options.
#[derive(clap::Args)]
struct Passed {
    /// Handed on to the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Passed {
    /// The arguments without a leading `--`, so that flags work with and without it.
    fn arguments(&self) -> &[String] {
        match self.arguments.split_first() {
            Some((first, rest)) if first == "--" => rest,
            _ => &self.arguments,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test { package } => test::run(&package),
        Command::Check => check::run(),
        Command::Requirements { json, tests } => requirements::run(json, tests),
        Command::Demo(passed) => shell::run_simvault("demo", passed.arguments()),
        Command::Up(passed) => shell::run_loadtest("up", passed.arguments()),
        Command::Down(passed) => shell::run_loadtest("down", passed.arguments()),
        Command::Faults(passed) => shell::run_loadtest("faults", passed.arguments()),
        Command::Fuzz(passed) => shell::run_fuzz(passed.arguments()),
        Command::Compact => test::compact(),
        Command::Bench(passed) => shell::run_loadtest("bench", passed.arguments()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
