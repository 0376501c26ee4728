//! A server process that dies with its owner: a small shell stands between, holds the reading end of a pipe, and ends the
//! server when the owner's end is closed, which the kernel does even after a SIGKILL.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// `$1` the server's folder, the rest the command.
const GUARD: &str = r#"
folder=$1; shift
"$@" >> "$folder/server.log" 2>&1 &
server=$!
echo $server
cat > /dev/null
kill -9 $server 2> /dev/null
wait $server 2> /dev/null
"#;

/// A running server with its guard.
pub struct Guarded {
    guard: Child,
    pid: u32,
}

impl Guarded {
    /// Starts `command` (program first); its output goes to `server.log` in the folder.
    pub fn start(folder: &Path, command: &[String]) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = guard.stdout.take().expect("the guard's output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the guard says the server's process id");
        let pid = line.trim().parse().expect("a process id");
        Self { guard, pid }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// SIGKILL to the server (and to it alone: its children notice), and waits until it is gone.
    pub fn kill9(&mut self) {
        signal("-KILL", self.pid);
        self.end();
    }

    /// SIGTERM to the server, and waits until it is gone.
    pub fn terminate(&mut self) {
        signal("-TERM", self.pid);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Path::new(&format!("/proc/{}", self.pid)).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end();
    }

    /// Closes the pipe and waits for the guard.
    fn end(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().ok();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

fn signal(signal: &str, pid: u32) {
    Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().expect("kill");
}

/// Tries until `ready` says so.
///
/// # Panics
/// After 30 s, with the end of the server's log.
pub fn wait_until(what: &str, folder: &Path, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        if Instant::now() > deadline {
            let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            panic!("{what} did not start within 30 s; its log ends:\n{}", tail(&log));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}

/// Where a program is: on the PATH or in one of these folders.
///
/// # Panics
/// When it is nowhere, naming the Debian package.
pub fn program(name: &str, folders: &[PathBuf], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = folders.iter().cloned().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    found.into_iter().find(|program| program.exists()).unwrap_or_else(|| {
        panic!("{name} is not installed: `cargo xtask test` installs it, or `apt-get install {package}`")
    })
}
