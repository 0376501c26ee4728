//! `loadtest`: measures and torments a centre made of real processes. `cargo xtask bench|faults|up|down` build and run it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use loadtest::bench::{self, BenchConfig};

#[derive(Parser)]
#[command(name = "loadtest", version, about = "Measures and torments a Simvault centre made of real processes")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a message costs; writes docs/performance.md
    Bench(BenchArguments),
}

#[derive(Args)]
struct BenchArguments {
    /// Length of one round
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Fewer cards, two rounds; nothing is written
    #[arg(long)]
    quick: bool,
    /// JSON instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct Program {
    /// The binary of the services; default: `simvault` beside this program
    #[arg(long)]
    simvault: Option<PathBuf>,
}

impl Program {
    fn path(&self) -> Result<PathBuf> {
        match &self.simvault {
            Some(path) => Ok(path.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("simvault")),
        }
    }
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Bench(arguments) => run(bench(arguments)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

async fn bench(arguments: BenchArguments) -> Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("simvault-bench-").tempdir()?;
    let quick = arguments.quick;
    let config = BenchConfig {
        simvault: arguments.program.path()?,
        seconds: arguments.seconds.max(1),
        rounds: if quick { 2 } else { arguments.rounds.max(1) },
        cards: if quick { 4000 } else { 20_000 },
        records: 48,
        folder: folder.path().to_owned(),
    };
    let results = match bench::run(&config, &|line| eprintln!("{line}")).await {
        Ok(results) => results,
        Err(error) => {
            // The logs are what tells why.
            return Err(error.context(format!("logs in {}", folder.keep().display())));
        }
    };
    if arguments.json {
        println!("{:#}", results.json());
    } else {
        println!("{}", results.tables());
    }
    if !quick {
        let path = "docs/performance.md";
        std::fs::write(path, results.document()).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
