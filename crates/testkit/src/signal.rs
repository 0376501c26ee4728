//! Signals to processes. The shell's own `kill`: a minimal Debian has no other.

use std::process::{Command, Stdio};

/// Sends `signal` (its name without SIG, as `TERM`) to these processes; false when one of them is gone or not ours.
///
/// # Panics
/// When `sh` does not start.
pub fn signal(signal: &str, processes: &[u32]) -> bool {
    let processes = processes.iter().map(u32::to_string);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill -s "$0" "$@""#, signal]).args(processes).stderr(Stdio::null());
    shell.status().expect("`sh` starts").success()
}
