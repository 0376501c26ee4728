//! The whole centre as processes of its own: Postgres, Redis, and replicas of every service, on loopback.
//!
//! Start with [`Topology::start`]. Ports are chosen before anything starts, so that a service that died comes back at
//! the same place. What a kubelet and an operator's database team do in production, [`Topology::keep`] does here.

mod config;
pub mod process;

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

pub use config::{CENTRE_NUMBER, SMSC_ACCOUNT};
use process::{Keeper, Recipe};

/// The services, in the order in which they are started.
pub const SERVICES: [&str; 7] = [
    "application-server",
    "outbound-smpp",
    "outbound-ip",
    "inbound-data",
    "outbound-action",
    "inbound-ip",
    "inbound-smpp",
];

/// Settings of Postgres for load (performance.md 2): more memory and rare checkpoints, everything durable.
pub const POSTGRES_TUNED: [(&str, &str); 9] = [
    ("shared_buffers", "1GB"),
    ("wal_compression", "lz4"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "15min"),
    ("wal_buffers", "64MB"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("max_connections", "200"),
];

/// Blocks of ports for topologies, below the ephemeral ports.
const PORTS_FROM: u16 = 20_000;
const BLOCK: u16 = 100;
const BLOCKS: u16 = 120;
/// For a healthy start, and for everything to be healthy again.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// Between a death and the next start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A process that ended so often by itself will not become healthy.
const STARTS_MAX: u32 = 4;
/// How often it is looked whether a process died.
const KEEP_INTERVAL: Duration = Duration::from_millis(100);

/// What is started, and where.
#[derive(Clone, Debug)]
pub struct TopologyConfig {
    /// For configuration files and logs; made when it is missing.
    pub folder: PathBuf,
    /// The binary of the services.
    pub simvault: PathBuf,
    /// Replicas of each service.
    pub replicas: usize,
    /// Where the SMSCs listen: one link of each SMPP edge to each.
    pub smscs: Vec<SocketAddr>,
    /// Added to [`POSTGRES_TUNED`]; the same name overrides.
    pub postgres: Vec<(&'static str, &'static str)>,
    /// Of the ports for cards; none: plain TCP.
    pub certificate: Option<Certificate>,
    /// For cards whose messages are secured; none: there are none.
    pub master_key: Option<String>,
    /// Leases, pauses and timers of seconds instead of minutes, so that a run of minutes sees many recoveries.
    pub impatient: bool,
}

impl TopologyConfig {
    /// Two replicas of each service, production's timers.
    #[must_use]
    pub fn new(folder: PathBuf, simvault: PathBuf, smsc: SocketAddr) -> Self {
        Self {
            folder,
            simvault,
            replicas: 2,
            smscs: vec![smsc],
            postgres: Vec::new(),
            certificate: None,
            master_key: None,
            impatient: false,
        }
    }
}

/// PEM texts of a certificate and its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub certificate: String,
    pub key: String,
}

/// Ports of one replica.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub grpc: u16,
    pub metrics: u16,
    /// Where cards connect (inbound-ip only).
    pub cards: u16,
}

/// The running centre; dropping it ends all of it.
pub struct Topology {
    config: TopologyConfig,
    /// By service, one entry per replica.
    ports: BTreeMap<&'static str, Vec<Ports>>,
    keeper: Keeper,
    postgres: Arc<Mutex<testkit::postgres::Server>>,
    redis: Arc<Mutex<testkit::redis::Server>>,
    balancers: BTreeMap<&'static str, rpc::Balancer>,
    stopped: CancellationToken,
    /// Holds the block of ports.
    _marker: TcpListener,
}

impl Topology {
    /// Starts everything and waits until every replica is healthy.
    ///
    /// # Errors
    /// What does not start, or is not healthy within a minute, by name.
    pub async fn start(config: TopologyConfig) -> Result<Self> {
        ensure!(config.simvault.is_file(), "{} is missing: cargo build --package simvault", config.simvault.display());
        fs::create_dir_all(&config.folder).with_context(|| format!("cannot make {}", config.folder.display()))?;
        let settings = config.postgres.clone();
        let (postgres, redis) = tokio::task::spawn_blocking(move || {
            let settings: Vec<_> = POSTGRES_TUNED.into_iter().chain(settings).collect();
            let postgres = testkit::postgres::Server::with(&settings);
            postgres.sql("postgres", &format!("CREATE DATABASE {}", config::DATABASE));
            (postgres, testkit::redis::Server::start())
        })
        .await
        .context("Postgres and Redis")?;
        let stopped = CancellationToken::new();
        let (marker, ports) = choose_ports(config.replicas)?;
        let mut balancers = BTreeMap::new();
        for (service, replicas) in &ports {
            let endpoints = rpc::EndpointsConfig::new(replicas.iter().map(|ports| address(ports.grpc)));
            balancers.insert(*service, rpc::Balancer::new(endpoints, stopped.clone())?);
        }
        let topology = Self {
            config,
            ports,
            keeper: Keeper::new(RESTART_PAUSE),
            postgres: Arc::new(Mutex::new(postgres)),
            redis: Arc::new(Mutex::new(redis)),
            balancers,
            stopped,
            _marker: marker,
        };
        topology.start_services().await?;
        Ok(topology)
    }

    async fn start_services(&self) -> Result<()> {
        let places = config::Places {
            folder: &self.config.folder,
            ports: &self.ports,
            store: self.postgres().socket_url_of(config::DATABASE),
            queue: self.redis().url(),
            smscs: &self.config.smscs,
            certificate: self.config.certificate.as_ref(),
            master_key: self.config.master_key.as_deref(),
            impatient: self.config.impatient,
        };
        config::write(&places)?;
        self.migrate().await?;
        for service in SERVICES {
            for replica in 1..=self.config.replicas {
                self.keeper.start(self.recipe(service, replica))?;
            }
        }
        let (keeper, stopped) = (self.keeper.clone(), self.stopped.clone());
        tokio::spawn(async move {
            while !stopped.is_cancelled() {
                if let Err(error) = keeper.keep() {
                    tracing::error!(%error, "processes cannot be started again");
                }
                tokio::time::sleep(KEEP_INTERVAL).await;
            }
        });
        self.wait_healthy().await
    }

    async fn migrate(&self) -> Result<()> {
        let (program, file) = (self.config.simvault.clone(), self.config.folder.join("migrate.toml"));
        let run = move || Command::new(program).args(["migrate", "--config"]).arg(file).output();
        let done = tokio::task::spawn_blocking(run).await?.context("simvault migrate")?;
        ensure!(
            done.status.success(),
            "simvault migrate: {}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(())
    }

    fn recipe(&self, service: &str, replica: usize) -> Recipe {
        let name = format!("{service}-{replica}");
        let file = self.config.folder.join(format!("{name}.toml"));
        Recipe {
            program: self.config.simvault.clone(),
            arguments: vec![service.to_owned(), "--config".to_owned(), file.display().to_string()],
            environment: Vec::new(),
            log: self.config.folder.join(format!("{name}.log")),
            name,
        }
    }

    /// Waits until every replica of every service says it is ready.
    ///
    /// # Errors
    /// After a minute: the replicas that are not.
    pub async fn wait_healthy(&self) -> Result<()> {
        let began = Instant::now();
        let starts = |name: &str| self.keeper.starts(name);
        let before: BTreeMap<String, u32> = self.sick().into_iter().map(|name| (name.clone(), starts(&name))).collect();
        loop {
            let sick = self.sick();
            if sick.is_empty() {
                return Ok(());
            }
            let ending = |name: &&String| starts(name) > before.get(*name).copied().unwrap_or(1) + STARTS_MAX;
            if let Some(name) = sick.iter().find(ending) {
                let log = fs::read_to_string(self.config.folder.join(format!("{name}.log"))).unwrap_or_default();
                bail!("{name} keeps ending: {}", log.lines().last().unwrap_or("it says nothing"));
            }
            if began.elapsed() > HEALTHY_WITHIN {
                bail!(
                    "not healthy after {HEALTHY_WITHIN:?}: {}; logs in {}",
                    sick.join(", "),
                    self.config.folder.display()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Replicas that are not ready now.
    #[must_use]
    pub fn sick(&self) -> Vec<String> {
        let mut sick = Vec::new();
        for (service, replicas) in &self.ports {
            let healthy = self.balancers.get(service).map(rpc::Balancer::healthy).unwrap_or_default();
            for (replica, ports) in (1..).zip(replicas) {
                let address = address(ports.grpc);
                if !healthy.iter().any(|found| found.address() == address) {
                    sick.push(format!("{service}-{replica}"));
                }
            }
        }
        sick
    }

    /// What calls a service with the replicas that are healthy.
    ///
    /// # Errors
    /// No replica of this name is healthy.
    pub fn channel(&self, service: &str) -> Result<tonic::transport::Channel> {
        let channel = self.balancers.get(service).and_then(rpc::Balancer::least_loaded);
        channel.with_context(|| format!("no replica of {service} is healthy"))
    }

    /// Starts, kills and names the processes of the services: `inbound-data-1`.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Ports of each service's replicas.
    #[must_use]
    pub fn ports(&self) -> &BTreeMap<&'static str, Vec<Ports>> {
        &self.ports
    }

    /// Settings and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.config.folder
    }

    #[must_use]
    pub fn replicas(&self) -> usize {
        self.config.replicas
    }

    pub fn postgres(&self) -> MutexGuard<'_, testkit::postgres::Server> {
        self.postgres.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn redis(&self) -> MutexGuard<'_, testkit::redis::Server> {
        self.redis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database's URL for [`store`].
    #[must_use]
    pub fn store_url(&self) -> String {
        self.postgres().url_of(config::DATABASE)
    }

    /// The queue of outbound actions.
    ///
    /// # Errors
    /// Redis's address is none.
    pub async fn queue(&self) -> Result<Arc<queue::redis::RedisQueue>> {
        let url = self.redis().url();
        Ok(queue::redis::RedisQueue::connect(&url, queue::redis::QueueConfig::default()).await?)
    }

    /// Runs SQL in the centre's database.
    pub async fn sql(&self, sql: impl Into<String>) -> Result<String> {
        let (postgres, sql) = (Arc::clone(&self.postgres), sql.into());
        let run = move || postgres.lock().unwrap_or_else(PoisonError::into_inner).sql(config::DATABASE, &sql);
        Ok(tokio::task::spawn_blocking(run).await?)
    }

    /// Holds up every commit of a message for at least `length`: a lock on the journal, which is only written. Returns
    /// after that time, with the commits still held.
    pub async fn hold_commits(&self, length: Duration) -> Result<()> {
        let port = self.postgres().port().to_string();
        let sql = "BEGIN; LOCK TABLE book_change IN SHARE ROW EXCLUSIVE MODE; SELECT pg_sleep(60)";
        let mut psql = Command::new("psql");
        psql.args([
            "-Xq",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            testkit::postgres::USER,
            "-d",
            config::DATABASE,
            "-c",
            sql,
        ]);
        let mut holder = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("psql")?;
        // It ends with its server, at the latest after a minute.
        std::thread::spawn(move || holder.wait());
        tokio::time::sleep(length).await;
        Ok(())
    }

    /// `kill -9` of Postgres with all its processes; it comes back after `down`.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn kill_postgres(&self, down: Duration) -> Result<()> {
        let postgres = Arc::clone(&self.postgres);
        let run = move || {
            let mut postgres = postgres.lock().unwrap_or_else(PoisonError::into_inner);
            postgres.kill9();
            std::thread::sleep(down);
            postgres.restart();
        };
        tokio::task::spawn_blocking(run).await.context("Postgres after its kill")
    }

    /// `kill -9` of Redis; it comes back after `down` with nothing in it.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn kill_and_wipe_redis(&self, down: Duration) -> Result<()> {
        let redis = Arc::clone(&self.redis);
        let run = move || {
            let mut redis = redis.lock().unwrap_or_else(PoisonError::into_inner);
            redis.kill9();
            std::thread::sleep(down);
            redis.restart_empty();
        };
        tokio::task::spawn_blocking(run).await.context("Redis after its kill")
    }

    /// One number of a service's metrics, summed over the series whose line starts with `series`; `None`: no answer.
    pub async fn metric(&self, service: &str, replica: usize, series: &str) -> Option<f64> {
        let ports = self.ports.get(service)?.get(replica.checked_sub(1)?)?;
        let text = scrape(ports.metrics).await.ok()?;
        let lines = text.lines().filter(|line| line.starts_with(series));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Stops the services one after the other (SIGTERM, drain), edges first, then the servers. Names what had to be killed.
    ///
    /// # Errors
    /// A process that can be neither stopped nor killed.
    pub async fn stop(self, grace: Duration) -> Result<Vec<String>> {
        self.stopped.cancel();
        let keeper = self.keeper.clone();
        tokio::task::spawn_blocking(move || keeper.stop(grace)).await?
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

/// The text of `/metrics` on a port of ours.
async fn scrape(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(2), read).await.map_err(std::io::Error::other)??;
    Ok(text)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A block of ports below those that the kernel gives out by itself, so that nobody takes one while its service is down.
/// The block's first port is held as long as the listener lives: that one marks the block as taken.
fn choose_ports(replicas: usize) -> Result<(TcpListener, BTreeMap<&'static str, Vec<Ports>>)> {
    let first = rand::random_range(0..BLOCKS);
    for block in (0..BLOCKS).map(|at| PORTS_FROM + (first + at) % BLOCKS * BLOCK) {
        let bind = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
        let Some(marker) = bind(block) else { continue };
        let mut free = (block + 1..block + BLOCK).filter(|port| bind(*port).is_some());
        let mut replica = || Some(Ports { grpc: free.next()?, metrics: free.next()?, cards: free.next()? });
        let mut chosen = BTreeMap::new();
        for service in SERVICES {
            chosen.extend((0..replicas).map(|_| replica()).collect::<Option<Vec<_>>>().map(|ports| (service, ports)));
        }
        if chosen.len() == SERVICES.len() {
            return Ok((marker, chosen));
        }
    }
    bail!("no {BLOCK} ports are free from {PORTS_FROM} on, for {replicas} replicas of each service")
}
