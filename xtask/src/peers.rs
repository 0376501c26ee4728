//! Peers of the tests that are no Debian packages: an SMSC from PyPI, in a virtual environment below the target folder.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::shell;

/// Makes `peers/venv` with what `loadtest/tests/peers/requirements.txt` pins, once per version of that file.
pub fn install() -> Result<()> {
    let wanted = shell::root().join("loadtest/tests/peers/requirements.txt");
    let wanted_text = fs::read_to_string(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let folder = shell::target().join("peers/venv");
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted_text) {
        return Ok(());
    }
    eprintln!("installing: the SMSC of loadtest/tests/peers (PyPI smpp.twisted3) into {}", folder.display());
    shell::check(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("no virtual environment of Python: package python3-venv")?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
    shell::check(pip.arg(&wanted)).context(
        "no SMSC for the tests of loadtest: PyPI package smpp.twisted3, from a package index that pip can reach",
    )?;
    fs::write(&stamp, wanted_text).with_context(|| format!("cannot write {}", stamp.display()))
}
