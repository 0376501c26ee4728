//! `cargo xtask check`: format, lints, who depends on whom, licences, documents, requirement coverage.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{requirements, shell};

pub fn run() -> Result<()> {
    shell::check(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::check(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    let metadata = metadata()?;
    let mut mistakes = Vec::new();
    check_shelves(&metadata, &mut mistakes);
    check_licences(&metadata, &mut mistakes)?;
    check_sources(&mut mistakes)?;
    check_architecture(&metadata, &mut mistakes)?;
    if !mistakes.is_empty() {
        bail!("layout:\n  {}", mistakes.join("\n  "));
    }
    requirements::run(false, false)?;
    println!("check: format, lints, layout, licences and requirement coverage are in order");
    Ok(())
}

fn metadata() -> Result<Value> {
    let output = shell::cargo().args(["metadata", "--format-version", "1", "--locked"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Shelf of the layout, by folder; what it may use of ours (style: "Who may depend on whom").
fn may_use(shelf: &str) -> &'static [&'static str] {
    match shelf {
        "protocol" => &["protocol"],
        "mobile" | "domain" => &["protocol"],
        "proto" => &[],
        "platform" => &["protocol", "domain", "proto", "platform"],
        "services" => &["protocol", "domain", "proto", "platform"],
        "testkit" => &["protocol", "mobile", "domain", "proto", "platform"],
        "loadtest" => &["protocol", "mobile", "domain", "proto", "platform", "testkit"],
        // The one binary composes the services; the others serve people and the project.
        "simvault" => &["protocol", "domain", "proto", "platform", "services", "loadtest"],
        "simvaultctl" => &["protocol", "proto", "platform"],
        _ => &[],
    }
}

/// Crates that must stay pure: no runtime, no sockets, no randomness, no logs.
const IMPURE: &[&str] =
    &["tokio", "tonic", "tracing", "rand", "redis", "tokio-postgres", "rusqlite", "metrics", "serde"];

fn check_shelves(metadata: &Value, mistakes: &mut Vec<String>) {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let ours: BTreeMap<&str, String> =
        packages.iter().filter_map(|package| Some((package["name"].as_str()?, shelf(package)?))).collect();
    for package in packages {
        let Some(from) = package["name"].as_str().and_then(|name| ours.get(name)) else { continue };
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let is_dev = dependency["kind"].as_str() == Some("dev");
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_pure = ["protocol", "mobile", "domain"].contains(&from.as_str());
            if is_pure && !is_dev && IMPURE.contains(&target) {
                mistakes.push(format!("{name} ({from}) may not use {target}: this shelf does no I/O"));
            }
            let Some(to) = ours.get(target).filter(|_| dependency["path"].is_string()) else { continue };
            if !is_dev && !may_use(from).contains(&to.as_str()) {
                mistakes.push(format!("{name} ({from}) may not depend on {target} ({to})"));
            }
        }
    }
}

/// `crates/protocol/link` is on shelf `protocol`; the two binaries are shelves of their own.
fn shelf(package: &Value) -> Option<String> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    let folder = manifest.parent()?.strip_prefix(shell::root()).ok()?;
    let parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    let shelf = match parts.as_slice() {
        ["services", name @ ("simvault" | "simvaultctl")] => name,
        ["services", _] => "services",
        ["crates", shelf, ..] => shelf,
        [shelf] => shelf,
        _ => return None,
    };
    Some((*shelf).to_owned())
}

/// Every dependency's licence is one that `deny.toml` allows.
fn check_licences(metadata: &Value, mistakes: &mut Vec<String>) -> Result<()> {
    let deny = fs::read_to_string(shell::root().join("deny.toml")).context("cannot read deny.toml")?;
    let deny: toml::Table = deny.parse().context("deny.toml")?;
    let allowed: Vec<&str> =
        deny["licenses"]["allow"].as_array().into_iter().flatten().filter_map(toml::Value::as_str).collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let licence = package["license"].as_str().unwrap_or("none");
        if !is_allowed(licence, &allowed) {
            mistakes.push(format!("{}: licence {licence:?} is not allowed by deny.toml", package["name"]));
        }
    }
    Ok(())
}

/// SPDX: one alternative of each `AND` part must be allowed.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    let plain = licence.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(&one.trim())))
}

/// What a reader would stumble over.
fn check_sources(mistakes: &mut Vec<String>) -> Result<()> {
    let root = shell::root();
    // Written apart, so that this file does not find itself.
    let unfinished = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];
    for shelf in ["crates", "services", "loadtest", "xtask"] {
        for file in requirements::rust_files(&root.join(shelf))? {
            let text = fs::read_to_string(&file)?;
            let shown = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
            if text.lines().count() > 800 && !shown.contains("tests") {
                mistakes.push(format!("{shown}: over 800 lines; is it still one idea?"));
            }
            if let Some(word) = unfinished.iter().find(|word| text.contains(*word)) {
                mistakes.push(format!("{shown}: contains {word}"));
            }
        }
    }
    Ok(())
}

/// `ARCHITECTURE.md` names every crate of the workspace.
fn check_architecture(metadata: &Value, mistakes: &mut Vec<String>) -> Result<()> {
    let page = fs::read_to_string(shell::root().join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    for package in metadata["packages"].as_array().into_iter().flatten().filter(|package| shelf(package).is_some()) {
        let name = package["name"].as_str().unwrap_or_default();
        if !page.contains(&format!("`{name}`")) {
            mistakes.push(format!("ARCHITECTURE.md does not name the crate `{name}`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn one_alternative_of_each_part_is_enough() {
        let allowed = ["Apache-2.0", "Unicode-3.0"];
        assert!(is_allowed("MIT OR Apache-2.0", &allowed));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
        assert!(is_allowed("MIT/Apache-2.0", &allowed));
        assert!(!is_allowed("GPL-3.0", &allowed));
        assert!(!is_allowed("Apache-2.0 AND GPL-3.0", &allowed));
    }
}
