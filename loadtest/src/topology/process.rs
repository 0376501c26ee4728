//! One process of the topology, and the keeper that starts it again when it has died: what a kubelet does in production.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// How often it is looked whether a process has ended after SIGTERM.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How to start a process, as often as needed.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `inbound-data-1`: unique, also the name of its log.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
}

impl Recipe {
    /// The name without the replica's number.
    fn service(&self) -> &str {
        self.name.rsplit_once('-').map_or(&self.name, |(service, _)| service)
    }
}

/// A recipe and what runs of it.
struct Kept {
    recipe: Recipe,
    child: Option<Child>,
    /// When a dead process may be started again.
    restart_at: Option<Instant>,
    starts: u32,
}

/// Starts processes and starts them again `pause` after they died.
#[derive(Clone)]
pub struct Keeper {
    kept: Arc<Mutex<Vec<Kept>>>,
    pause: Duration,
}

impl Keeper {
    /// `pause`: between a death and the next start.
    #[must_use]
    pub fn new(pause: Duration) -> Self {
        Self { kept: Arc::default(), pause }
    }

    /// Starts the process; from now on [`Self::keep`] keeps it alive.
    pub fn start(&self, recipe: Recipe) -> Result<()> {
        let child = launch(&recipe)?;
        self.lock().push(Kept { recipe, child: Some(child), restart_at: None, starts: 1 });
        Ok(())
    }

    /// Looks after every process once; call it a few times a second. Logs what died and how, and what it is again;
    /// returns the names of what it started again.
    pub fn keep(&self) -> Result<Vec<String>> {
        let mut started = Vec::new();
        for kept in self.lock().iter_mut() {
            let name = &kept.recipe.name;
            if let Some(child) = &mut kept.child
                && let Some(status) = child.try_wait()?
            {
                tracing::info!("{name} (process {}) ended by itself: {status}", child.id());
                kept.child = None;
                kept.restart_at = Some(Instant::now() + self.pause);
            }
            if kept.restart_at.is_some_and(|at| at <= Instant::now()) {
                let child = launch(&kept.recipe)?;
                tracing::info!("{name} started again: process {}", child.id());
                kept.child = Some(child);
                kept.restart_at = None;
                kept.starts += 1;
                started.push(name.clone());
            }
        }
        Ok(started)
    }

    /// SIGKILL to the named process; whether it ran.
    pub fn kill9(&self, name: &str) -> Result<bool> {
        for kept in self.lock().iter_mut().filter(|kept| kept.recipe.name == name) {
            if let Some(child) = &mut kept.child {
                child.kill()?;
                child.wait()?;
                kept.child = None;
                kept.restart_at = Some(Instant::now() + self.pause);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`Self::kill9`], but it stays dead until [`Self::resume`].
    pub fn suspend(&self, name: &str) -> Result<bool> {
        let killed = self.kill9(name)?;
        for kept in self.lock().iter_mut().filter(|kept| kept.recipe.name == name) {
            kept.restart_at = None;
        }
        Ok(killed)
    }

    /// What was suspended may be started again.
    pub fn resume(&self, name: &str) {
        for kept in self.lock().iter_mut().filter(|kept| kept.recipe.name == name && kept.child.is_none()) {
            kept.restart_at = Some(Instant::now());
        }
    }

    /// Name and process id of what runs.
    #[must_use]
    pub fn running(&self) -> Vec<(String, u32)> {
        self.lock().iter().filter_map(|kept| Some((kept.recipe.name.clone(), kept.child.as_ref()?.id()))).collect()
    }

    /// How often the named process was started.
    #[must_use]
    pub fn starts(&self, name: &str) -> u32 {
        self.lock().iter().find(|kept| kept.recipe.name == name).map_or(0, |kept| kept.starts)
    }

    /// SIGTERM to all, service by service from the last that was started to the first: nobody drains without those whom it
    /// calls. SIGKILL to what is left after `grace` in all. Logs how long each took; names what had to be killed.
    pub fn stop(&self, grace: Duration) -> Result<Vec<String>> {
        let mut kept = std::mem::take(&mut *self.lock());
        let deadline = Instant::now() + grace;
        let mut killed = Vec::new();
        while let Some(service) = kept.last().map(|last| last.recipe.service().to_owned()) {
            let (replicas, others) = kept.into_iter().partition(|kept| kept.recipe.service() == service);
            kept = others;
            killed.extend(stop_replicas(replicas, deadline)?);
        }
        Ok(killed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    /// The last keeper takes its processes with it: nothing outlives the command that started it.
    fn drop(&mut self) {
        if Arc::strong_count(&self.kept) == 1 {
            for child in self.lock().iter_mut().filter_map(|kept| kept.child.as_mut()) {
                // Already gone is as good as killed.
                child.kill().ok();
                child.wait().ok();
            }
        }
    }
}

/// SIGTERM to all of one service, SIGKILL at `deadline` to what is left; its names.
fn stop_replicas(replicas: Vec<Kept>, deadline: Instant) -> Result<Vec<String>> {
    let mut left: Vec<(String, Child)> =
        replicas.into_iter().filter_map(|kept| Some((kept.recipe.name, kept.child?))).collect();
    for (_, child) in &left {
        terminate(child.id());
    }
    let began = Instant::now();
    loop {
        let mut running = Vec::new();
        for (name, mut child) in left {
            match child.try_wait()? {
                Some(status) => tracing::info!("{name} stopped after {:.1?}: {status}", began.elapsed()),
                None => running.push((name, child)),
            }
        }
        left = running;
        if left.is_empty() || Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    for (_, child) in &mut left {
        child.kill()?;
        child.wait()?;
    }
    Ok(left.into_iter().map(|(name, _)| name).collect())
}

fn launch(recipe: &Recipe) -> Result<Child> {
    let log = open_log(&recipe.log)?;
    Command::new(&recipe.program)
        .args(&recipe.arguments)
        .envs(recipe.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}: {}", recipe.name, recipe.program.display()))
}

fn open_log(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// SIGTERM to a process of ours, by its id; it may be gone already.
pub fn terminate(pid: u32) {
    testkit::signal("TERM", &[pid]);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use super::{Keeper, Recipe};

    fn recipe(folder: &Path, name: &str, program: &str, arguments: &[&str]) -> Recipe {
        Recipe {
            name: name.to_owned(),
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
        }
    }

    #[test]
    fn what_is_killed_comes_back_and_what_is_stopped_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let keeper = Keeper::new(Duration::ZERO);
        keeper.start(recipe(folder.path(), "sleeper", "/bin/sleep", &["600"])).expect("started");
        let first = keeper.running()[0].1;
        assert!(keeper.kill9("sleeper").expect("killed"));
        assert!(keeper.running().is_empty());
        assert_eq!(keeper.keep().expect("kept"), ["sleeper"]);
        assert_ne!(keeper.running()[0].1, first);
        assert_eq!(keeper.starts("sleeper"), 2);
        assert!(keeper.stop(Duration::from_secs(5)).expect("stopped").is_empty());
        assert!(keeper.running().is_empty());
    }

    /// An edge takes a while to drain; what it calls is told to stop only then.
    #[test]
    fn what_was_started_last_stops_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = |name: &str| fs::read_to_string(folder.path().join(format!("{name}.log"))).unwrap_or_default();
        let keeper = Keeper::new(Duration::ZERO);
        let (stopped, edges) =
            ("trap 'date +%s%N; exit' TERM; echo; while :; do sleep 0.01; done", ["edge-1", "edge-2"]);
        keeper.start(recipe(folder.path(), "server-1", "/bin/sh", &["-c", stopped])).expect("started");
        let slowly = stopped.replace("date", "sleep 0.2; date");
        for edge in edges {
            keeper.start(recipe(folder.path(), edge, "/bin/sh", &["-c", &slowly])).expect("started");
        }
        while ["server-1", "edge-1", "edge-2"].iter().any(|name| log(name).is_empty()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(keeper.stop(Duration::from_secs(20)).expect("stopped").is_empty());
        let at = |name| log(name).trim().parse::<u128>().expect("a time");
        assert!(edges.iter().all(|edge| at(edge) < at("server-1")));
    }
}
