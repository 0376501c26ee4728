//! The Debian packages that tests and tools need: installed where we may, named where we may not.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::shell;

/// A program that something needs, and the package that brings it.
pub struct Need {
    pub program: &'static str,
    pub package: &'static str,
    pub why: &'static str,
}

/// A module of Python and no program: asked for by importing it.
const PYTHON_VENV: &str = "python3 -m venv";

/// What the tests start themselves.
pub const TESTS: &[Need] = &[
    Need { program: "postgres", package: "postgresql", why: "the store's tests start their own server" },
    Need { program: "redis-server", package: "redis-server", why: "the queue's tests start their own server" },
    Need { program: "bearerbox", package: "kannel", why: "an SMPP client that is not ours binds to the simulator" },
    Need { program: PYTHON_VENV, package: "python3-venv", why: "an SMSC that is not ours runs in it" },
    Need { program: "pcscd", package: "pcscd", why: "PC/SC tools that are not ours use a virtual card through it" },
    Need {
        program: "/usr/lib/pcsc/drivers/serial/libifdvpcd.so",
        package: "vsmartcard-vpcd",
        why: "the virtual reader of that daemon",
    },
    Need { program: "gnokii", package: "gnokii-cli", why: "lists a virtual card's phonebook" },
    Need { program: "scriptor", package: "pcsc-tools", why: "changes a record of a virtual card" },
    Need { program: "tshark", package: "tshark", why: "a dissector that is not ours reads what we send" },
];

/// What `up`, `faults` and `bench` start.
pub const TOPOLOGY: &[Need] = &[
    Need { program: "postgres", package: "postgresql", why: "the store" },
    Need { program: "redis-server", package: "redis-server", why: "the queue" },
];

/// Installs the missing packages, as root or through sudo; fails naming them where it can do neither.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_installed(need.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("missing: {} (package {}): {}", need.program, need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let manual = format!("apt-get install {}", packages.join(" "));
    if !is_installed("apt-get") {
        bail!("this is not a Debian system; install what `{manual}` would install, and try again");
    }
    let Some(mut install) = privileged() else {
        bail!("neither root nor sudo without a password; run as root: {manual}");
    };
    eprintln!("installing: {manual}");
    // Debian starts a server that it installs; ours are started by the tests, on ports of their own.
    let script = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; \
         policy=/usr/sbin/policy-rc.d; made=0; \
         if [ ! -e $policy ]; then printf '#!/bin/sh\\nexit 101\\n' > $policy; chmod +x $policy; made=1; fi; \
         trap '[ $made = 0 ] || rm -f $policy' EXIT; \
         apt-get update -q >/dev/null; apt-get install -y -q --no-install-recommends {}",
        packages.join(" ")
    );
    install.args(["sh", "-c", &script]);
    shell::check(&mut install)?;
    match missing.iter().find(|need| !is_installed(need.program)) {
        Some(need) => bail!("package {} is installed but {} is not found", need.package, need.program),
        None => Ok(()),
    }
}

/// A command that runs as root: `env` itself, or through sudo without a password.
fn privileged() -> Option<Command> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if is_root {
        return Some(Command::new("env"));
    }
    let sudo_works = Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|sudo| sudo.status.success());
    sudo_works.then(|| {
        let mut sudo = Command::new("sudo");
        sudo.arg("-n");
        sudo
    })
}

/// Whether the program is on the PATH or where Debian puts it.
fn is_installed(program: &str) -> bool {
    if program == PYTHON_VENV {
        let import = Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
        return import.is_ok_and(|import| import.status.success());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let on_path = path.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).exists());
    on_path || (program == "postgres" && debian_postgres())
}

/// Debian keeps the servers of each version in a folder of their own, off the PATH.
fn debian_postgres() -> bool {
    std::fs::read_dir("/usr/lib/postgresql")
        .is_ok_and(|versions| versions.flatten().any(|version| version.path().join("bin/postgres").exists()))
}
