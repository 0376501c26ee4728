//! `loadtest`: measures and torments a centre made of real processes. `cargo xtask bench|faults|up|down` build and run it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use loadtest::{
    bench::{self, BenchConfig},
    demo::DemoOptions,
    faults::{self, FaultsConfig},
    table::thousands,
    up::{self, UpConfig},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "loadtest",
    // As a developer calls it.
    bin_name = "cargo xtask",
    version,
    about = "Measures and torments a Simvault centre made of real processes"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a message costs; writes docs/performance.md
    Bench(BenchArguments),
    /// Kills every part under load; ends with 1 when anything was lost, stored twice or left unacknowledged
    Faults(FaultsArguments),
    /// Plays the demonstration on a whole centre of processes, and leaves it running
    Up(UpArguments),
    /// Stops what `up` started
    Down,
    /// What `up` leaves running
    #[command(hide = true)]
    Supervise(UpArguments),
}

#[derive(Args)]
struct UpArguments {
    /// Cards, half of them on SMS, half on IP
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=5000))]
    cards: u32,
    /// How many times faster than ours the cards' clock runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=60))]
    speed: u32,
    /// The same seed gives the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a hundred cards, how many are lost
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=50))]
    lost: u32,
    /// For settings and logs; default: target/up
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
    #[command(flatten)]
    program: Program,
}

impl UpArguments {
    fn config(&self) -> Result<UpConfig> {
        let folder = self.folder.clone().map_or_else(up_folder, Ok)?;
        let Self { cards, speed, seed, lost, .. } = *self;
        let demo = DemoOptions { cards, speed, seed, lost_percent: lost, plain: true };
        Ok(UpConfig { simvault: self.program.path()?, demo, folder })
    }
}

#[derive(Args)]
struct FaultsArguments {
    /// Kills in all
    #[arg(long, default_value_t = 36)]
    kills: usize,
    /// No kill begins later than this
    #[arg(long)]
    seconds: Option<u64>,
    /// The same seed kills at the same moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cards of the load
    #[arg(long, default_value_t = 1000)]
    cards: usize,
    /// Messages a second
    #[arg(long, default_value_t = 800)]
    rate: u32,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    program: Program,
}

#[derive(Args)]
struct BenchArguments {
    /// Length of one round
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Rounds of each measurement
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
    let command = Arguments::parse().command;
    // The supervisor's log tells of every process that died and is started again.
    let default = if matches!(command, Command::Supervise(_)) { "warn,loadtest::topology=info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match command {
        Command::Bench(arguments) => run(bench(arguments)),
        Command::Faults(arguments) => run(faults(arguments)),
        Command::Up(arguments) => run(async move { tell(up::up(&arguments.config()?).await) }),
        Command::Down => up_folder().and_then(|folder| tell(up::down(&folder))),
        Command::Supervise(arguments) => run(async move {
            up::supervise(&arguments.config()?).await?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(text: Result<String>) -> Result<ExitCode> {
    print!("{}", text?);
    Ok(ExitCode::SUCCESS)
}

/// Where `up` and `down` keep what they have to know of each other.
fn up_folder() -> Result<PathBuf> {
    Ok(std::env::current_dir()?.join("target").join("up"))
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

async fn faults(arguments: FaultsArguments) -> Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("simvault-faults-").tempdir()?;
    let config = FaultsConfig {
        simvault: arguments.program.path()?,
        kills: arguments.kills,
        length: arguments.seconds.map(Duration::from_secs),
        seed: arguments.seed,
        cards: arguments.cards.clamp(100, 100_000),
        per_second: f64::from(arguments.rate.clamp(100, 100_000)),
        folder: folder.path().to_owned(),
    };
    let report = match faults::run(&config, &|line| eprintln!("{line}")).await {
        Ok(report) => report,
        Err(error) => return Err(error.context(format!("logs in {}", folder.keep().display()))),
    };
    let comparison = &report.comparison;
    if arguments.json {
        println!("{:#}", report.json());
    } else if report.has_stalled {
        println!("given up after {} kills: traffic stalled, and nothing was compared", report.kills.len());
    } else {
        println!(
            "{} kills; {} cards, {} messages: {} journal rows, {} billing events ({} more for repeats), {} records compared; \
             {} redelivered, {} acknowledged again",
            report.kills.len(),
            comparison.cards,
            thousands(comparison.messages),
            thousands(comparison.journal_rows),
            thousands(comparison.billing_events),
            thousands(comparison.billing_repeats),
            thousands(comparison.records),
            thousands(report.redelivered),
            thousands(report.repeated_acknowledgements),
        );
    }
    for text in report.failures.iter().chain(&comparison.differences) {
        eprintln!("FAILED: {text}");
    }
    if comparison.untold > 0 {
        eprintln!("FAILED: {} more differences", comparison.untold);
    }
    if report.is_clean() {
        if !arguments.json {
            println!("nothing lost, nothing twice, nothing left unacknowledged");
        }
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("logs in {}", folder.keep().display());
    Ok(ExitCode::FAILURE)
}
