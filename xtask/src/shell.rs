//! Running other programs, and finding the project's folders.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::packages;

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // What `cargo run` tells us of our own package: ring's build script looks at it, and a build with other values than
    // those of a plain `cargo build` would compile ring again, and all that needs it.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs to the end; an error names the command and its exit status.
pub fn check(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

fn asks_for_help(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--help" || argument == "-h")
}

/// Builds and runs `simvault NAME ARGUMENTS`, and ends with its exit status.
pub fn run_simvault(name: &str, arguments: &[String]) -> Result<()> {
    check(&mut build())?;
    let program = built("debug", "simvault")?;
    end_with(Command::new(program).arg(name).args(arguments))
}

/// Builds the binaries with optimisation and runs `loadtest NAME ARGUMENTS`; `--plant NAME` makes it run services with a
/// planted fault.
pub fn run_loadtest(name: &str, arguments: &[String]) -> Result<()> {
    if asks_for_help(arguments) {
        // Nobody waits for an optimised build to read what there is.
        check(&mut build())?;
        return end_with(Command::new(built("debug", "loadtest")?).arg(name).args(arguments));
    }
    if name == "down" {
        // What started it can stop it: nobody waits for a build, least of all when nothing was ever built.
        let Ok(program) = built("release", "loadtest") else {
            println!("Nothing runs.");
            return Ok(());
        };
        return end_with(Command::new(program).arg(name).args(arguments).current_dir(root()));
    }
    packages::ensure(packages::TOPOLOGY)?;
    let (plant, arguments) = take_plant(arguments)?;
    let services = plant.map(|plant| planted(&plant)).transpose()?;
    eprintln!("building with optimisation: the first time takes some minutes, then seconds");
    check(&mut optimised_build())?;
    let program = built("release", "loadtest")?;
    let mut run = Command::new(program);
    run.arg(name).args(arguments).current_dir(root());
    if let Some(services) = services {
        run.arg("--simvault").arg(services);
    }
    end_with(&mut run)
}

/// Builds the fuzzer with optimisation and runs it with these arguments.
pub fn run_fuzz(arguments: &[String]) -> Result<()> {
    if asks_for_help(arguments) {
        check(cargo().args(["build", "--package", "testkit", "--bin", "fuzz"]))?;
        return end_with(Command::new(built("debug", "fuzz")?).args(arguments));
    }
    eprintln!("building the fuzzer with optimisation: the first time takes some minutes, then seconds");
    check(cargo().args(["build", "--release", "--package", "testkit", "--bin", "fuzz"]))?;
    end_with(Command::new(built("release", "fuzz")?).args(arguments).current_dir(root()))
}

/// All of it at once: fewer packages would mean other features of the dependencies, and building those again.
pub fn build() -> Command {
    let mut build = cargo();
    build.args(["build", "--package", "simvault", "--package", "simvaultctl", "--package", "loadtest"]);
    build
}

fn optimised_build() -> Command {
    let mut build = build();
    build.arg("--release");
    build
}

/// Faults that can be planted, each in a build made for it.
const PLANTS: [&str; 3] = ["acknowledge-before-commit", "no-duplicate-check", "no-janitor"];

/// `--plant NAME` out of the arguments.
fn take_plant(arguments: &[String]) -> Result<(Option<String>, Vec<String>)> {
    let mut rest = arguments.to_vec();
    let Some(at) = rest.iter().position(|argument| argument == "--plant") else { return Ok((None, rest)) };
    rest.remove(at);
    let name = if at < rest.len() { rest.remove(at) } else { String::new() };
    if !PLANTS.contains(&name.as_str()) {
        bail!("--plant {name:?}: expected one of {}", PLANTS.join(", "));
    }
    Ok((Some(name), rest))
}

/// Builds the services with a planted fault and keeps them apart; what ships is built again afterwards.
fn planted(name: &str) -> Result<PathBuf> {
    check(optimised_build().env("SIMVAULT_PLANT", name))?;
    let program = built("release", "simvault")?;
    let folder = program.with_file_name(format!("planted-{name}"));
    std::fs::create_dir_all(&folder)?;
    let kept = folder.join("simvault");
    std::fs::copy(&program, &kept)?;
    Ok(kept)
}

/// Where cargo put a program.
fn built(profile: &str, name: &str) -> Result<PathBuf> {
    let program = target().join(profile).join(name);
    if !program.exists() {
        bail!("{} was built but is not at {}", name, program.display());
    }
    Ok(program)
}

/// The command's exit status becomes ours, without a word of our own: it has said what there is to say.
fn end_with(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if status.success() {
        return Ok(());
    }
    std::process::exit(status.code().unwrap_or(1));
}
