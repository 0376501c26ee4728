//! `cargo xtask test`: what the tests need, the tests, and one line that sums them up.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::{packages, peers, requirements, shell};

/// Runs the tests of all packages, or of those named; ends with `N passed, N failed`.
pub fn run(only: &[String]) -> Result<()> {
    packages::ensure(packages::TESTS)?;
    if let Err(error) = peers::install() {
        // The tests that need it fail, and say the same; all others run.
        eprintln!("missing: {error:#}");
    }
    // The tests of the topology start the real binaries; cargo would not build those of other packages for them.
    shell::check(&mut shell::build())?;
    let mut tally = Tally::default();
    let status = run_cargo_test(only, &mut tally)?;
    if only.is_empty() {
        report_uncovered(&mut tally)?;
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 || !status {
        bail!("tests failed: {}", tally.names_failed.join(", "));
    }
    Ok(())
}

/// `cargo xtask compact`: the test that packs invented books, with what it prints.
pub fn compact() -> Result<()> {
    let test = ["books::a_full_book_takes_no_more_messages_than_it_may", "--exact", "--nocapture"];
    let mut cargo = shell::cargo();
    shell::check(cargo.args(["test", "--quiet", "--package", "link", "--test", "it", "--"]).args(test))
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    /// Last path segment of every test that ran and passed.
    names_passed: BTreeSet<String>,
    names_failed: Vec<String>,
}

impl Tally {
    /// Takes one line of libtest's output.
    fn read(&mut self, line: &str) {
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            return;
        };
        let name = name.split(" - ").next().unwrap_or(name);
        match outcome.split(' ').next() {
            Some("ok") => {
                self.passed += 1;
                self.names_passed.insert(name.rsplit("::").next().unwrap_or(name).to_owned());
            }
            Some("FAILED") => {
                self.failed += 1;
                self.names_failed.push(name.to_owned());
            }
            _ => {}
        }
    }
}

/// Whether cargo itself was content: a build error or a crashed test binary prints no FAILED line.
fn run_cargo_test(only: &[String], tally: &mut Tally) -> Result<bool> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    if only.is_empty() {
        cargo.arg("--workspace");
    }
    for package in only {
        cargo.args(["--package", package]);
    }
    let mut running = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let output = running.stdout.take().context("cargo test has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally.read(&line);
    }
    Ok(running.wait()?.success())
}

/// A test that claims to cover a requirement and did not run is a failure: the claim would be empty.
fn report_uncovered(tally: &mut Tally) -> Result<()> {
    let failed: BTreeSet<&str> =
        tally.names_failed.iter().map(|name| name.rsplit("::").next().unwrap_or(name)).collect();
    let absent: Vec<String> = requirements::covering_tests()?
        .into_iter()
        .filter(|name| !tally.names_passed.contains(name) && !failed.contains(name.as_str()))
        .collect();
    for name in absent {
        println!("test {name} covers a requirement but did not run ... FAILED");
        tally.failed += 1;
        tally.names_failed.push(name);
    }
    Ok(())
}
