//! `cargo xtask requirements`: the catalogue of `docs/requirements.md` against the tests that name its IDs.
//!
//! A test names what it covers in its doc comment, `/// Covers: S2-MF-01, S2-MF-05`, directly above its attributes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// ID to the tests that cover it, as `path::function`.
type Coverage = BTreeMap<String, Vec<String>>;

/// Prints what is covered and what is open; fails on an ID or a test that does not exist.
pub fn run(json: bool, tests: bool) -> Result<()> {
    let coverage = coverage()?;
    let groups = groups(&coverage);
    if json {
        println!("{}", serde_json::to_string_pretty(&as_json(&groups))?);
        return Ok(());
    }
    for (group, ids) in &groups {
        let covered = ids.iter().filter(|(_, by)| !by.is_empty()).count();
        let open: Vec<&str> = ids.iter().filter(|(_, by)| by.is_empty()).map(|(id, _)| id.as_str()).collect();
        let rest = if open.is_empty() { String::new() } else { format!("   open: {}", open.join(" ")) };
        println!("{group:6} {covered:3} of {:3}{rest}", ids.len());
        for (id, by) in ids.iter().filter(|(_, by)| tests && !by.is_empty()) {
            println!("    {id}  {}", by.join("  "));
        }
    }
    let covered = coverage.values().filter(|by| !by.is_empty()).count();
    println!("{covered} of {} covered", coverage.len());
    Ok(())
}

/// Function names of all tests that claim to cover something.
pub fn covering_tests() -> Result<BTreeSet<String>> {
    let names = coverage()?.into_values().flatten();
    Ok(names.map(|name| name.rsplit("::").next().unwrap_or(&name).to_owned()).collect())
}

type Groups<'a> = BTreeMap<String, Vec<(String, &'a [String])>>;

/// `S2-BK-09` belongs to group `S2-BK`.
fn groups(coverage: &Coverage) -> Groups<'_> {
    let mut groups = Groups::new();
    for (id, by) in coverage {
        let group = id.rsplit_once('-').map_or(id.as_str(), |(group, _)| group);
        groups.entry(group.to_owned()).or_default().push((id.clone(), by));
    }
    groups
}

fn as_json(groups: &Groups<'_>) -> serde_json::Value {
    let group_json = |ids: &Vec<(String, &[String])>| {
        let open: Vec<&String> = ids.iter().filter(|(_, by)| by.is_empty()).map(|(id, _)| id).collect();
        serde_json::json!({ "total": ids.len(), "covered": ids.len() - open.len(), "open": open })
    };
    groups.iter().map(|(group, ids)| (group.clone(), group_json(ids))).collect::<serde_json::Map<_, _>>().into()
}

/// Every ID of the catalogue with its tests.
pub fn coverage() -> Result<Coverage> {
    let root = shell::root();
    let catalogue = root.join("docs/requirements.md");
    let text = fs::read_to_string(&catalogue).with_context(|| format!("cannot read {}", catalogue.display()))?;
    let mut coverage: Coverage = text.lines().filter_map(catalogue_id).map(|id| (id.to_owned(), Vec::new())).collect();
    let decisions: BTreeSet<&str> = text.lines().filter_map(decision_id).collect();
    let mut mistakes = Vec::new();
    for shelf in ["crates", "services", "loadtest", "xtask"] {
        for file in rust_files(&root.join(shelf))? {
            let shown = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
            read_claims(&shown, &fs::read_to_string(&file)?, &decisions, &mut coverage, &mut mistakes);
        }
    }
    if !mistakes.is_empty() {
        bail!("requirement coverage:\n  {}", mistakes.join("\n  "));
    }
    Ok(coverage)
}

/// `| S2-MF-01 | ...` names a requirement; decisions (D-nn) and inconsistencies (X-nn) are none.
fn catalogue_id(line: &str) -> Option<&str> {
    let id = line.strip_prefix("| ")?.split(' ').next()?;
    let (group, number) = id.rsplit_once('-')?;
    let family = group.split('-').next()?;
    let is_requirement = ["G", "S1", "S2", "S3", "SC", "OU", "AS", "NK", "PF"].contains(&family);
    (is_requirement && number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit())).then_some(id)
}

/// `| D-110 | ...` names a decision: a test may name it, it is not counted.
fn decision_id(line: &str) -> Option<&str> {
    let id = line.strip_prefix("| ")?.split(' ').next()?;
    id.strip_prefix("D-").filter(|number| number.bytes().all(|b| b.is_ascii_digit())).map(|_| id)
}

/// Reads the `Covers:` lines of one file.
fn read_claims(
    file: &str,
    text: &str,
    decisions: &BTreeSet<&str>,
    coverage: &mut Coverage,
    mistakes: &mut Vec<String>,
) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(ids) = line.strip_prefix("/// Covers: ") else { continue };
        let Some(test) = test_below(lines.get(at + 1..).unwrap_or_default()) else {
            mistakes.push(format!("{file}:{}: `Covers:` is not above a test", at + 1));
            continue;
        };
        for id in ids.trim_end_matches('.').split(',').map(str::trim) {
            match coverage.get_mut(id) {
                Some(by) => by.push(format!("{file}::{test}")),
                None if decisions.contains(id) => {}
                None => mistakes.push(format!("{file}:{}: no requirement is called {id:?}", at + 1)),
            }
        }
    }
}

/// The function that these lines begin with, if a test attribute stands above it.
fn test_below<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let mut is_test = false;
    for line in lines {
        if line.starts_with("///") || line.starts_with("//") {
            continue;
        }
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        return function.split(['(', '<']).next().filter(|_| is_test);
    }
    None
}

/// All Rust files below a folder, sorted.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Coverage, catalogue_id, read_claims};

    fn claims(text: &str) -> (Coverage, Vec<String>) {
        let mut coverage: Coverage = [("PF-01".to_owned(), Vec::new())].into();
        let mut mistakes = Vec::new();
        read_claims("f.rs", text, &["D-110"].into(), &mut coverage, &mut mistakes);
        (coverage, mistakes)
    }

    #[test]
    fn only_rows_of_requirements_are_ids() {
        assert_eq!(catalogue_id("| S2-MF-01 | Octet 1"), Some("S2-MF-01"));
        assert_eq!(catalogue_id("| SC-E1-06 | Inputs"), Some("SC-E1-06"));
        assert_eq!(catalogue_id("| D-01 | Bit order"), None);
        assert_eq!(catalogue_id("| ID | Requirement |"), None);
    }

    #[test]
    fn a_claim_needs_a_test_and_an_id_that_exists() {
        let marker = "/// Covers";
        let (coverage, mistakes) = claims(&format!("{marker}: PF-01, D-110\n#[test]\nfn it_works() {{}}\n"));
        assert_eq!(coverage["PF-01"], ["f.rs::it_works"]);
        assert!(mistakes.is_empty());
        let (_, mistakes) = claims(&format!("{marker}: PF-01\nfn not_a_test() {{}}\n"));
        assert_eq!(mistakes.len(), 1);
        let (_, mistakes) = claims(&format!("{marker}: PF-99\n#[test]\nfn it_works() {{}}\n"));
        assert_eq!(mistakes, ["f.rs:1: no requirement is called \"PF-99\""]);
    }
}
