//! Programs that are not ours, started by a test and ended with it; a missing one fails the test and says what to do.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    /// Standard output and error go to the file `log`.
    pub fn start(program: &str, configuration: &Path, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = Command::new(program)
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// Fails the test when a program of a Debian package is missing.
pub fn require(programs: &[&str], package: &str) {
    for program in programs {
        assert!(
            Path::new(program).exists(),
            "{program} is missing: `cargo xtask test` installs package {package}, or: apt-get install {package}"
        );
    }
}

/// A file below `target/peers`, where `cargo xtask test` installs the peers that are no Debian packages.
pub fn installed(path: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().map(|folder| folder.join("peers").join(path)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("peers/{path} is missing in the target folder: `cargo xtask test` installs it"))
}
