//! `up` and `down`: the demonstration on a whole centre of processes, real Postgres and Redis, to look at afterwards.
//!
//! [`up`] starts `loadtest supervise` detached and waits until it has played the demonstration (`demo`: back up, lose,
//! restore, compare); [`supervise`] holds the topology, the SMSC simulator and the fleet, whose owners go on changing
//! contacts, until SIGTERM; [`down`] sends that. All files are in the folder that each is given.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    demo::{self, CentreAccess, Certificates, DemoOptions, Played},
    ip_phone::LinkAddress,
    smsc::{MobileTerminated, Smsc, SmscConfig, SmscHandle},
    table::Table,
    topology::{CENTRE_NUMBER, Certificate, Ports, SERVICES, Topology, TopologyConfig, process::terminate},
};

/// Process id of the supervisor.
const PID_FILE: &str = "supervisor.pid";
/// What runs where; there once everything is ready.
const READY_FILE: &str = "ready.txt";
const LOG_FILE: &str = "supervisor.log";
/// How often it is looked whether something has happened.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// For everything to start, and for the demonstration.
const READY_WITHIN: Duration = Duration::from_secs(600);
/// For everything to drain.
const DOWN_WITHIN: Duration = Duration::from_secs(90);
/// An owner changes a contact about so often.
const OWNER_INTERVAL: Duration = Duration::from_secs(20);

/// What `up` starts.
#[derive(Clone, Debug)]
pub struct UpConfig {
    pub simvault: PathBuf,
    pub demo: DemoOptions,
    /// For process id, configuration files and logs; absolute.
    pub folder: PathBuf,
}

/// Starts the supervisor and waits until it is ready; what to tell the user.
///
/// # Errors
/// It ends or is not ready within ten minutes, or a card differs from its book; the end of its log. SIGINT, which leaves
/// it to start.
pub async fn up(config: &UpConfig) -> Result<String> {
    let ready = config.folder.join(READY_FILE);
    if let Some(pid) = running(&config.folder) {
        let table = fs::read_to_string(&ready).unwrap_or_else(|_| "It is still starting.\n".to_owned());
        return Ok(format!("It runs already (process {pid}); `cargo xtask down` stops it.\n\n{table}"));
    }
    fs::create_dir_all(&config.folder).with_context(|| format!("cannot make {}", config.folder.display()))?;
    for entry in fs::read_dir(&config.folder)?.flatten().filter(|entry| entry.path().is_file()) {
        // Settings and logs of the last time tell nothing any more.
        fs::remove_file(entry.path())?;
    }
    let log = fs::File::create(config.folder.join(LOG_FILE))?;
    let mut supervisor = Command::new(std::env::current_exe()?);
    let DemoOptions { cards, speed, seed, lost_percent, .. } = &config.demo;
    supervisor.arg("supervise").args(["--cards", &cards.to_string(), "--speed", &speed.to_string()]);
    supervisor.args(["--seed", &seed.to_string(), "--lost", &lost_percent.to_string()]);
    supervisor.arg("--simvault").arg(&config.simvault).arg("--folder").arg(&config.folder);
    // Its own group: Ctrl-C here does not reach it.
    supervisor.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = supervisor.spawn().context("the supervisor does not start")?;
    fs::write(config.folder.join(PID_FILE), child.id().to_string())?;
    let interrupted = runtime::stop::on_signal()?;
    let began = Instant::now();
    let mut told = 0;
    while !ready.exists() {
        let ended = child.try_wait()?;
        let log = fs::read_to_string(config.folder.join(LOG_FILE)).unwrap_or_default();
        for line in log.lines().skip(told) {
            eprintln!("{line}");
            told += 1;
        }
        if ended.is_some() || began.elapsed() > READY_WITHIN {
            let last = log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            if ended.is_none() {
                terminate(child.id());
            }
            bail!(
                "not ready after {:.0} s; logs in {}\n{last}",
                began.elapsed().as_secs_f64(),
                config.folder.display()
            );
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = interrupted.cancelled() => {
                bail!("interrupted: still starting in the background; `cargo xtask down` stops it");
            }
        }
    }
    Ok(fs::read_to_string(&ready)?)
}

/// Stops what [`up`] started, and waits for its end; what to tell the user.
///
/// # Errors
/// It does not end within a minute and a half.
pub fn down(folder: &Path) -> Result<String> {
    let Some(pid) = running(folder) else {
        clear(folder)?;
        return Ok("Nothing runs.\n".to_owned());
    };
    terminate(pid);
    let began = Instant::now();
    while running(folder).is_some() {
        ensure!(began.elapsed() < DOWN_WITHIN, "process {pid} has not ended {DOWN_WITHIN:?} after SIGTERM");
        std::thread::sleep(LOOK_INTERVAL);
    }
    clear(folder)?;
    let took = began.elapsed().as_secs_f64();
    Ok(format!("Stopped and drained in {took:.1} s. The logs stay in {}.\n", folder.display()))
}

/// Removes everything but the logs: settings, the process id, and the password and the key of this time.
fn clear(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_file() && path.extension().is_none_or(|extension| extension != "log") {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The supervisor's process id, if it lives.
fn running(folder: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(folder.join(PID_FILE)).ok()?.trim().parse().ok()?;
    // The id may have been given to another process since, and a dead child is there until it is waited for.
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    line.split(|octet| *octet == 0).any(|word| word == b"supervise").then_some(pid)
}

/// Plays the demonstration, then holds everything until SIGTERM or SIGINT.
///
/// # Errors
/// What does not start, an act that does not end, a card that differs, or what had to be killed at the end.
pub async fn supervise(config: &UpConfig) -> Result<()> {
    let signal = runtime::stop::on_signal()?;
    net::tls::install_provider();
    let stop = CancellationToken::new();
    let _ends_with_us = stop.clone().drop_guard();
    let smsc_config = SmscConfig { keep_ledger: false, ..SmscConfig::default() };
    let (smsc, phones) = Smsc::start(smsc_config, stop.clone()).await.context("the SMSC simulator")?;
    // To the log, whose lines `up` tells its caller.
    eprintln!("starting Postgres, Redis and two of every service");
    let certificates = demo::certificates();
    let mut topology = TopologyConfig::new(config.folder.clone(), config.simvault.clone(), smsc.address());
    topology.postgres.push(("shared_buffers", "256MB"));
    let Certificates { certificate, key, .. } = &certificates;
    let master_key = demo::master_key();
    topology.master_key = Some(master_key.clone());
    topology.certificate = Some(Certificate { certificate: certificate.clone(), key: key.clone() });
    let topology = tokio::select! {
        topology = Topology::start(topology) => topology?,
        () = signal.cancelled() => bail!("stopped before everything had started"),
    };
    let mut played = tokio::select! {
        played = play(config, &topology, &smsc, phones, &certificates, master_key) => played?,
        () = signal.cancelled() => bail!("stopped before the demonstration was over"),
    };
    ensure!(played.report.is_identical(), "cards differ from their books\n{}", played.report.text);
    let ready = config.folder.join(READY_FILE);
    let mut told = String::new();
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let mut owners = tokio::time::interval(OWNER_INTERVAL / config.demo.cards.max(1));
    owners.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = owners.tick() => played.live(),
            _ = look.tick() => {
                // Again when a process died or is another one.
                let text = describe(&topology, smsc.address(), config, &played.report.text);
                if text != told {
                    tell(&ready, &text)?;
                    told = text;
                }
            }
            () = signal.cancelled() => break,
        }
    }
    fs::remove_file(&ready)?;
    played.fleet.stop().await;
    let killed = topology.stop(Duration::from_secs(40)).await?;
    ensure!(killed.is_empty(), "not stopped 40 s after SIGTERM: {}", killed.join(", "));
    Ok(())
}

/// In one step, for whoever waits reads it as soon as it is there.
fn tell(ready: &Path, text: &str) -> Result<()> {
    let unfinished = ready.with_extension("new");
    fs::write(&unfinished, text)?;
    Ok(fs::rename(&unfinished, ready)?)
}

/// The same acts as `cargo demo`, on the processes.
async fn play(
    config: &UpConfig,
    topology: &Topology,
    smsc: &SmscHandle,
    phones: mpsc::Receiver<MobileTerminated>,
    certificates: &Certificates,
    master_key: String,
) -> Result<Played> {
    let trust = net::tls::client_config(certificates.authority.as_bytes(), None)?;
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let ports = |service: &str| topology.ports().get(service).cloned().unwrap_or_default();
    let card_link = |ports: &Ports| LinkAddress {
        address: ([127, 0, 0, 1], ports.cards).into(),
        tls: Some((trust.clone(), name.clone())),
    };
    let server = ports("application-server").first().map(|ports| ports.grpc).context("no application server")?;
    let access = CentreAccess {
        application_server: ([127, 0, 0, 1], server).into(),
        cards: ports("inbound-ip").iter().map(card_link).collect(),
        number: CENTRE_NUMBER.to_owned(),
        master_key,
    };
    demo::play(&config.demo, smsc.clone(), phones, access, None).await
}

/// What runs where now, and how to look at it.
fn describe(topology: &Topology, smsc: SocketAddr, config: &UpConfig, report: &str) -> String {
    let mut table = Table::new(&["what", "process", "gRPC", "metrics", "cards"]);
    let running: HashMap<String, u32> = topology.keeper().running().into_iter().collect();
    for service in SERVICES {
        for (replica, ports) in (1..).zip(topology.ports().get(service).into_iter().flatten()) {
            let name = format!("{service}-{replica}");
            let pid = running.get(&name).map_or_else(|| "–".to_owned(), u32::to_string);
            let cards = if service == "inbound-ip" { format!("127.0.0.1:{}", ports.cards) } else { String::new() };
            let metrics = format!("http://127.0.0.1:{}/metrics", ports.metrics);
            table.row([name, pid, format!("127.0.0.1:{}", ports.grpc), metrics, cards]);
        }
    }
    let mut others = Table::new(&["around it", "process", "where"]);
    // One lock at a time: the row's guard lives as long as its line.
    let (store, queue) = (topology.store_url(), topology.redis().url());
    others.row(["Postgres".to_owned(), topology.postgres().pid().to_string(), store]);
    others.row(["Redis".to_owned(), topology.redis().pid().to_string(), queue]);
    others.row(["SMSC simulator and cards".to_owned(), std::process::id().to_string(), smsc.to_string()]);
    let servers: Vec<String> = topology.ports().get("application-server").into_iter().flatten().map(url).collect();
    let (first, others_like_it) = servers.split_first().map_or((String::new(), String::new()), |(first, rest)| {
        (first.clone(), rest.iter().map(|url| format!(", or {url}")).collect())
    });
    let simvaultctl = config.simvault.with_file_name("simvaultctl");
    let simvaultctl = simvaultctl.display();
    format!(
        "{report}\n\n{}\n\n{}\n\n{} cards, each changes a contact about every {} s.\n\n\
         Look at it with simvaultctl, which asks one application server\n({first}{others_like_it}):\n\n  \
         export SIMVAULT_SERVER={first}\n  {simvaultctl} --help\n  {simvaultctl} queues\n\n\
         Logs and settings: {}\nStop it with `cargo xtask down`.\n",
        table.render(),
        others.render(),
        config.demo.cards,
        OWNER_INTERVAL.as_secs(),
        config.folder.display(),
    )
}

fn url(ports: &Ports) -> String {
    format!("http://127.0.0.1:{}", ports.grpc)
}
