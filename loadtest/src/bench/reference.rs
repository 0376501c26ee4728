//! What the machine does at the same time and in the same minute: `pgbench` on the same Postgres, and a TCP echo.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{cpu, load::count, topology::Topology};

/// Name of pgbench's database.
const DATABASE: &str = "pgbench";
const SCALE: &str = "10";
const CLIENTS: &str = "8";
/// Octets of an echoed frame, and frames per write.
const FRAME_OCTETS: usize = 200;
const FRAMES_PER_WRITE: usize = 64;

/// One run of `pgbench -N`.
#[derive(Clone, Copy, Debug)]
pub struct PgBench {
    pub per_second: f64,
    /// CPU microseconds of Postgres per transaction.
    pub postgres_micros: f64,
}

/// Fills pgbench's tables once.
pub async fn prepare_pgbench(topology: &Topology) -> Result<()> {
    let port = topology.postgres().port();
    let sql = topology.postgres().sql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    ensure!(sql.is_empty(), "CREATE DATABASE {DATABASE}: {sql}");
    run(port, &["-i", "-q", "-s", SCALE]).await.map(drop)
}

/// `pgbench -N -M prepared` over TCP for that long.
pub async fn pgbench(topology: &Topology, seconds: u64) -> Result<PgBench> {
    let port = topology.postgres().port();
    let postmaster = topology.postgres().pid();
    let seconds_text = seconds.to_string();
    let arguments = ["-N", "-n", "-c", CLIENTS, "-j", "2", "-M", "prepared", "-T", &seconds_text];
    let running = run(port, &arguments);
    // Its connections take their CPU time with them when they end: measured in the middle of the run.
    let measured = async {
        let margin = Duration::from_millis(400);
        tokio::time::sleep(margin).await;
        let (before, began) = (cpu::of_family(postmaster), Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(margin * 2)).await;
        count(cpu::of_family(postmaster).saturating_sub(before)) / began.elapsed().as_secs_f64()
    };
    let (output, nanos_per_second) = tokio::join!(running, measured);
    let output = output?;
    let tps = output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    let per_second = tps.with_context(|| format!("pgbench says no tps: {output}"))?;
    Ok(PgBench { per_second, postgres_micros: nanos_per_second / 1000.0 / per_second.max(1.0) })
}

async fn run(port: u16, arguments: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new("pgbench");
    let user = testkit::postgres::USER;
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", user]).args(arguments).arg(DATABASE);
    command.stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await?;
    let done = done.context("`pgbench` does not start: apt-get install postgresql-contrib")?;
    ensure!(done.status.success(), "pgbench {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Frames a second that go to an echoing peer and back, 64 in a write.
pub async fn echo(length: Duration) -> Result<f64> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut buffer = vec![0; FRAME_OCTETS * FRAMES_PER_WRITE];
        // Ends when the other side hangs up.
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await?;
        }
        std::io::Result::Ok(())
    });
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0x55; FRAME_OCTETS * FRAMES_PER_WRITE];
    let (began, mut frames) = (Instant::now(), 0_u64);
    while began.elapsed() < length {
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
        frames += FRAMES_PER_WRITE as u64;
    }
    let rate = count(frames) / began.elapsed().as_secs_f64();
    drop(stream);
    peer.await??;
    Ok(rate)
}
