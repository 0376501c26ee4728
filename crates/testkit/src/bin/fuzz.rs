//! `fuzz`: faulty octets for every decoder, for as long as asked. `cargo xtask fuzz` builds and runs it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use testkit::fuzz::{Counts, Failure, Reading, Target, targets};

#[global_allocator]
static HEAP: testkit::heap::Counting = testkit::heap::Counting;

/// Faulty octets for every decoder
#[derive(Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
struct Arguments {
    /// How long, all targets together
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Threads; default: one for each core
    #[arg(long)]
    jobs: Option<usize>,
    /// The same seed gives the same inputs; default: by the time of day
    #[arg(long)]
    seed: Option<u64>,
    /// Only this round, and what came of it
    #[arg(long, requires = "seed", requires = "target")]
    round: Option<u64>,
    /// Where failing inputs are kept
    #[arg(long, default_value = "target/fuzz")]
    keep: PathBuf,
}

/// Rounds of one target before the next one has its turn.
const TURN: u64 = 500;
/// A decoder that takes longer than this for one input hangs.
const HANGS_AFTER: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let targets: Vec<Target> = targets::all()
        .into_iter()
        .filter(|target| arguments.target.as_ref().is_none_or(|name| name == target.name))
        .collect();
    if targets.is_empty() {
        let names: Vec<&str> = targets::all().iter().map(|target| target.name).collect();
        eprintln!("no such target, expected one of {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let seed = arguments.seed.unwrap_or_else(by_the_clock);
    // A panic is what is looked for: it is told once, with its input, and not by each thread's hook.
    if arguments.round.is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let failures = match (arguments.round, targets.first()) {
        (Some(round), Some(target)) => target.round(seed, round).err().into_iter().collect(),
        _ => Run::new(&targets, seed).go(&arguments),
    };
    for failure in &failures {
        println!("{failure}");
        keep(&arguments.keep, failure);
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the threads share.
struct Run<'a> {
    targets: &'a [Target],
    seed: u64,
    /// The next turn: which target, and which rounds of it.
    turn: AtomicU64,
    is_over: AtomicBool,
    counts: Mutex<BTreeMap<&'static str, Counts>>,
    failures: Mutex<Vec<Failure>>,
}

impl<'a> Run<'a> {
    fn new(targets: &'a [Target], seed: u64) -> Self {
        let (turn, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { targets, seed, turn, is_over, counts: Mutex::default(), failures: Mutex::default() }
    }

    fn go(self, arguments: &Arguments) -> Vec<Failure> {
        let jobs = arguments.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        println!("{} targets, seed {}, {jobs} threads, {} min", self.targets.len(), self.seed, arguments.minutes);
        let until = now() + Duration::from_secs(60 * arguments.minutes);
        let watched: Vec<Watched> = (0..jobs.max(1)).map(|_| Watched::default()).collect();
        thread::scope(|scope| {
            let workers: Vec<_> = watched.iter().map(|watched| scope.spawn(|| self.work(until, watched))).collect();
            scope.spawn(|| self.watch(&watched));
            workers.into_iter().for_each(|worker| drop(worker.join()));
            self.is_over.store(true, Ordering::Relaxed);
        });
        let counts = self.counts.into_inner().unwrap_or_default();
        for (name, Counts { understood, refused }) in &counts {
            println!(
                "{name:<20} {:>12} inputs, {understood:>12} understood, {refused:>12} refused",
                understood + refused
            );
        }
        let all: u64 = counts.values().map(|counts| counts.understood + counts.refused).sum();
        println!("{:<20} {all:>12} inputs", "all");
        self.failures.into_inner().unwrap_or_default()
    }

    /// Takes turns until the time is over. A target that has failed has no more of them.
    fn work(&self, until: Instant, watched: &Watched) {
        let many = u64::try_from(self.targets.len()).unwrap_or(u64::MAX);
        while now() < until {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let at = usize::try_from(turn % many).unwrap_or(0);
            let Some(target) = self.targets.get(at) else { return };
            if self.failures.lock().is_ok_and(|failures| failures.iter().any(|each| each.target == target.name)) {
                if many == 1 {
                    return;
                }
                continue;
            }
            let mut counts = Counts::default();
            let first = turn / many * TURN;
            for round in first..first + TURN {
                watched.begin(at, round);
                match target.round(self.seed, round) {
                    Ok(Reading::Understood) => counts.understood += 1,
                    Ok(Reading::Refused) => counts.refused += 1,
                    Err(failure) => {
                        self.failures.lock().into_iter().for_each(|mut failures| failures.push(failure.clone()));
                        break;
                    }
                }
                if now() >= until {
                    break;
                }
            }
            watched.rest();
            if let Ok(mut all) = self.counts.lock() {
                let sum = all.entry(target.name).or_default();
                sum.understood += counts.understood;
                sum.refused += counts.refused;
            }
        }
    }

    /// Ends the program when a thread has been at one input for too long: it cannot be stopped otherwise.
    fn watch(&self, watched: &[Watched]) {
        let mut seen: Vec<(u64, Instant)> = vec![(0, now()); watched.len()];
        while !self.is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(200));
            for (watched, (last, since)) in watched.iter().zip(&mut seen) {
                let at = watched.beats.load(Ordering::Relaxed);
                if at != *last || watched.is_resting.load(Ordering::Relaxed) {
                    (*last, *since) = (at, now());
                } else if since.elapsed() > HANGS_AFTER {
                    let round = watched.round.load(Ordering::Relaxed);
                    let target = watched.target.load(Ordering::Relaxed);
                    let name = self.targets.get(usize::try_from(target).unwrap_or(0)).map_or("?", |target| target.name);
                    println!(
                        "{name}: hangs\n  again: cargo xtask fuzz --target {name} --seed {} --round {round}",
                        self.seed
                    );
                    std::process::exit(1);
                }
            }
        }
    }
}

/// What a thread is at.
#[derive(Default)]
struct Watched {
    target: AtomicU64,
    round: AtomicU64,
    beats: AtomicU64,
    is_resting: AtomicBool,
}

impl Watched {
    fn begin(&self, target: usize, round: u64) {
        self.target.store(u64::try_from(target).unwrap_or(0), Ordering::Relaxed);
        self.round.store(round, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
        self.is_resting.store(false, Ordering::Relaxed);
    }

    fn rest(&self) {
        self.is_resting.store(true, Ordering::Relaxed);
    }
}

fn keep(folder: &std::path::Path, failure: &Failure) {
    let path = folder.join(format!("{}-{}-{}.bin", failure.target, failure.seed, failure.round));
    let kept = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &failure.input));
    match kept {
        Ok(()) => println!("  kept: {}", path.display()),
        Err(error) => println!("  not kept at {}: {error}", path.display()),
    }
}

fn now() -> Instant {
    Instant::now()
}

fn by_the_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
