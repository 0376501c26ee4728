//! What the metrics port serves: metrics for Prometheus, and answers for probes that speak HTTP.

use std::{io, net::SocketAddr, sync::OnceLock, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What there is, at `/`.
const INDEX: &str = "\
/metrics  metrics for Prometheus
/healthz  200 while the process lives
/readyz   200 while it takes new work, 503 before and while it drains
";

type Probe = Box<dyn Fn() -> bool + Send + Sync>;
static READY: OnceLock<Probe> = OnceLock::new();

/// Says how `/readyz` finds out whether the process takes new work; until then it does not. Later calls do nothing.
pub fn ready_when(probe: impl Fn() -> bool + Send + Sync + 'static) {
    READY.get_or_init(|| Box::new(probe));
}

fn is_ready() -> bool {
    READY.get().is_some_and(|probe| probe())
}

/// Connections that read metrics at the same time, at most.
const READERS_MAX: usize = 8;
/// A reader has this long for its whole request and answer.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a request, at most.
const REQUEST_MAX: usize = 8192;
/// How often old samples are folded, so that memory stays bounded when nobody reads.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves [`INDEX`] until `stop`; returns the bound address (port 0 is allowed).
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_metrics(listen: SocketAddr, stop: CancellationToken) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(listener) => {}
            () = keep_up() => {}
        }
    });
    Ok((address, task))
}

async fn keep_up() {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        super::upkeep();
    }
}

async fn accept(listener: TcpListener) {
    let readers = std::sync::Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok(permit) = readers.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // A reader that leaves early, or is too slow, asks again.
                    drop(timeout(READER_TIMEOUT, answer(stream)).await);
                    drop(permit);
                });
            }
            // Out of file descriptors, most likely: let others finish first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= REQUEST_MAX || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let target = line.strip_prefix(b"GET ").and_then(|rest| rest.split(|octet| matches!(octet, b' ' | b'?')).next());
    let (status, body) = match target {
        Some(b"/metrics") => ("200 OK", super::render()),
        Some(b"/healthz") => ("200 OK", "lives\n".to_owned()),
        Some(b"/readyz") if is_ready() => ("200 OK", "ready\n".to_owned()),
        Some(b"/readyz") => ("503 Service Unavailable", "not ready\n".to_owned()),
        Some(b"/") => ("200 OK", INDEX.to_owned()),
        _ => ("404 Not Found", INDEX.to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;
    use crate::{events, telemetry::init_metrics};

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        text
    }

    #[tokio::test]
    async fn metrics_and_answers_for_probes_are_served() {
        init_metrics().expect("the first recorder");
        init_metrics().expect("a second call does nothing");
        events::record(events::Kind::CommunicationFailure, "link a: refused");
        let stop = CancellationToken::new();
        let (address, task) = serve_metrics(([127, 0, 0, 1], 0).into(), stop.clone()).await.expect("bound");
        let text = get(address, "/metrics").await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        // Other tests of this process count as well.
        assert!(text.contains("simvault_events_total{kind=\"communication_failure\"} "), "{text}");
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));
        assert!(get(address, "/").await.contains("/readyz"));
        assert!(get(address, "/healthz?x=1").await.starts_with("HTTP/1.1 200"));

        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"), "nobody has said that it is");
        let is_ready = Arc::new(AtomicBool::new(true));
        let probed = Arc::clone(&is_ready);
        ready_when(move || probed.load(Ordering::Relaxed));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        is_ready.store(false, Ordering::Relaxed);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        stop.cancel();
        task.await.expect("ended");
    }
}
