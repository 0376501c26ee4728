//! A server process that cannot outlive the test process, even when that is killed.
//!
//! Between the two stands a small shell. It holds the reading end of a pipe whose only writing end is ours: when that
//! closes, because we dropped it or because we died, the shell ends the server and removes its folder.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use crate::signal;

/// `$1` is the signal that ends the server, `$2` the folder, the rest its command. A line on the pipe means "leave the
/// folder": the server is to be started again.
const SHELL: &str = r#"
signal=$1; folder=$2; shift 2
exec 3<&0
"$@" </dev/null 3<&- >>"$folder/log" 2>&1 &
server=$!
echo $server
exec >/dev/null 2>&1
keep=
read -r keep <&3
kill -s "$signal" $server
wait $server
[ -n "$keep" ] || rm -rf "$folder"
"#;

/// The account a server runs under when the test runs as root.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// The running server.
#[derive(Debug)]
pub struct Watched {
    shell: Child,
    pipe: Option<ChildStdin>,
    pub pid: u32,
}

impl Watched {
    /// Runs `command`; its output is appended to `folder/log`.
    pub fn start(signal: &str, folder: &Path, account: Option<Account>, command: &[String]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SHELL, "watcher", signal]).arg(folder).args(command).current_dir(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Its own group: Ctrl-C on the test reaches the server only through the pipe.
        shell.process_group(0);
        if let Some(Account { uid, gid }) = account {
            shell.uid(uid).gid(gid);
        }
        let mut shell = shell.spawn().expect("`sh` starts");
        let mut line = String::new();
        let answer = shell.stdout.take().expect("stdout is piped");
        BufReader::new(answer).read_line(&mut line).expect("the watcher says the server's process id");
        let pid = line.trim().parse().expect("a process id from the watcher");
        let pipe = shell.stdin.take();
        Self { shell, pipe, pid }
    }

    /// Ends the server as the watcher does, and waits for its end. The folder stays when `keep_folder`.
    pub fn end(&mut self, keep_folder: bool) {
        if let Some(mut pipe) = self.pipe.take()
            && keep_folder
        {
            // A watcher that is gone has nothing to keep.
            drop(pipe.write_all(b"keep\n"));
        }
        drop(self.shell.wait());
    }

    /// `kill -9` of the server and of every process it started, and waits until all are gone.
    pub fn kill9(&self) {
        let mut victims = vec![self.pid];
        victims.extend(children(self.pid));
        // Some may be gone by themselves: their parent just was.
        signal("KILL", &victims);
        until("the killed server is gone", || victims.iter().all(|pid| !is_running(pid)));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// Processes that `pid` started and that still run.
fn children(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Neither gone nor a zombie.
fn is_running(pid: &u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !"ZX".contains(state))
}

/// Waits for another process: at most 60 s, on a machine that may be busy.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited 60 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Finds a program in these folders, then in PATH.
pub fn find(program: &str, folders: &[std::path::PathBuf], package: &str) -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.iter().cloned().chain(std::env::split_paths(&path)).map(|folder| folder.join(program)).find(|it| it.is_file()).unwrap_or_else(
        || panic!("this test needs `{program}`, which is neither in {folders:?} nor in PATH: install it with `apt-get install {package}`"),
    )
}
