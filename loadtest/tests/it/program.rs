//! The built `simvault`, as an operator starts it.

use std::{
    path::PathBuf,
    process::{Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::peer::Process;

/// The binary next to this test's own.
pub fn simvault() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().skip(1).map(|folder| folder.join("simvault")).find(|path| path.is_file());
    found.expect("simvault is not built: `cargo xtask test` builds it, or: cargo build --package simvault")
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(simvault()).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// A role that runs with this configuration file; it ends with the test.
pub struct Role {
    process: Process,
    _folder: testkit::Folder,
}

impl Role {
    pub fn start(role: &str, configuration: &str) -> Self {
        let folder = testkit::Folder::new(role);
        let file = folder.join("simvault.toml");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(simvault())
            .args([role, "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process: Process(child), _folder: folder }
    }

    /// What a kubelet or systemd sends first.
    pub fn terminate(&self) {
        assert!(testkit::signal("TERM", &[self.process.0.id()]));
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.0.try_wait().unwrap()
    }

    /// Waits for the end, at most 20 s.
    pub async fn wait(&mut self) -> ExitStatus {
        for _ in 0..2000 {
            if let Some(status) = self.exited() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("does not end");
    }
}

/// The text of `/metrics`; empty while nobody answers.
pub async fn metrics(port: u16) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        stream.read_to_string(&mut text).await.unwrap();
    }
    text
}

/// Value of the series that begins so, 0 where it is missing.
pub async fn metric(port: u16, series: &str) -> f64 {
    let text = metrics(port).await;
    let lines = text.lines().filter(|line| line.starts_with(series));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a series has at least this value, at most ten seconds.
pub async fn metric_reaches(port: u16, series: &str, value: f64) {
    for _ in 0..500 {
        if metric(port, series).await >= value {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{series} does not reach {value}:\n{}", metrics(port).await);
}
