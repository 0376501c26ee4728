//! `outbound.v1.OutboundChannel`: a payload goes to the replica of inbound-ip that holds the card's connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::counter;
use proto::{
    outbound::{
        Accepted, Launch, LaunchBatch, LaunchResult, LaunchResults, Permanent, Temporary, launch_result::Outcome,
        outbound_channel_server::OutboundChannel,
    },
    session::{PushRequest, ip_session_client::IpSessionClient},
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tracing::{debug, warn};

use crate::locate::Locator;

/// The launcher of the IP bearer.
#[derive(Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
}

struct Shared {
    locator: Locator,
    /// A channel per replica of inbound-ip; they connect when they are first used.
    edges: Mutex<HashMap<String, Channel>>,
    push_deadline: Duration,
    retry_after: Duration,
    window: usize,
}

impl Launcher {
    pub fn new(config: &crate::Config, application_server: rpc::Balancer) -> Self {
        let shared = Shared {
            locator: Locator::new(application_server, config.cache, config.cache_max),
            edges: Mutex::default(),
            push_deadline: config.push_deadline,
            retry_after: config.retry_after,
            window: config.window.max(1),
        };
        Self { shared: Arc::new(shared) }
    }
}

#[tonic::async_trait]
impl OutboundChannel for Launcher {
    type LaunchStream = ReceiverStream<Result<LaunchResults, Status>>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let (results, answers) = mpsc::channel(RESULTS_WAITING_MAX);
        let launcher = self.clone();
        tokio::spawn(async move { launcher.take_batches(request.into_inner(), results).await });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

type Results = mpsc::Sender<Result<LaunchResults, Status>>;

impl Launcher {
    /// Takes batches while places are free in the window: full means that nothing more is read from the stream.
    async fn take_batches(&self, mut batches: Streaming<LaunchBatch>, results: Results) {
        let window = Arc::new(Semaphore::new(self.shared.window));
        loop {
            let batch = match batches.message().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(status) => {
                    debug!(code = ?status.code(), "launch stream ended: {}", status.message());
                    return;
                }
            };
            let devices: Vec<i64> = batch.launches.iter().map(|launch| launch.device_id).collect();
            let places = self.shared.locator.locate(&devices).await;
            if let Err(status) = &places {
                warn!(code = ?status.code(), "sessions cannot be located: {}", status.message());
            }
            let places = places.ok();
            for launch in batch.launches {
                let Ok(place_in_window) = Arc::clone(&window).acquire_owned().await else { return };
                let (launcher, results) = (self.clone(), results.clone());
                let endpoint = places.as_ref().map(|places| places.get(&launch.device_id).cloned());
                tokio::spawn(async move {
                    let id = launch.id;
                    let outcome = match endpoint {
                        Some(endpoint) => launcher.push(launch, endpoint).await,
                        None => launcher.temporary("the registry of sessions does not answer"),
                    };
                    counter!(LAUNCHES, "outcome" => label(&outcome)).increment(1);
                    let answer = LaunchResults { results: vec![LaunchResult { id, outcome: Some(outcome) }] };
                    if results.send(Ok(answer)).await.is_err() {
                        debug!("the caller of a launch is gone; it asks again");
                    }
                    drop(place_in_window);
                });
            }
        }
    }

    /// Pushes to `endpoint`; when the session is not there any more, once more to where the registry says it is now.
    async fn push(&self, launch: Launch, endpoint: Option<String>) -> Outcome {
        let Some(endpoint) = endpoint else { return not_reachable("no IP session") };
        let device_id = launch.device_id;
        match self.push_to(&endpoint, &launch).await {
            Pushed::NotThere => self.shared.locator.forget(device_id),
            Pushed::Done(outcome) => return outcome,
        }
        match self.shared.locator.locate(&[device_id]).await {
            Ok(mut places) => match places.remove(&device_id) {
                Some(elsewhere) if elsewhere != endpoint => match self.push_to(&elsewhere, &launch).await {
                    Pushed::NotThere => {
                        self.shared.locator.forget(device_id);
                        not_reachable("the IP session ended")
                    }
                    Pushed::Done(outcome) => outcome,
                },
                _ => {
                    self.shared.locator.forget(device_id);
                    not_reachable("the IP session ended")
                }
            },
            Err(_) => self.temporary("the registry of sessions does not answer"),
        }
    }

    async fn push_to(&self, endpoint: &str, launch: &Launch) -> Pushed {
        let Some(channel) = self.edge(endpoint) else { return Pushed::NotThere };
        let payload = launch.payload.clone();
        let request = PushRequest { device_id: launch.device_id, payload, trace_ids: launch.trace_ids.clone() };
        let mut request = Request::new(request);
        request.set_timeout(self.shared.push_deadline);
        let answer = tokio::time::timeout(self.shared.push_deadline, IpSessionClient::new(channel).push(request)).await;
        match answer {
            Ok(Ok(response)) if response.get_ref().delivered => {
                Pushed::Done(Outcome::Accepted(Accepted { link: endpoint.to_owned(), ..Accepted::default() }))
            }
            Ok(Ok(_)) => Pushed::NotThere,
            Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                Pushed::Done(Outcome::Permanent(Permanent { cause: status.message().to_owned() }))
            }
            Ok(Err(status)) => {
                warn!(endpoint, code = ?status.code(), "push failed: {}", status.message());
                Pushed::NotThere
            }
            // It may have been written: the card drops nothing twice, so the caller simply tries again later.
            Err(_) => Pushed::Done(self.temporary("the IP edge did not answer in time")),
        }
    }

    /// The channel to a replica of inbound-ip; `None` for an endpoint that is no address.
    fn edge(&self, endpoint: &str) -> Option<Channel> {
        let mut edges = self.shared.edges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = edges.get(endpoint) {
            return Some(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{endpoint}"))
            .inspect_err(|error| warn!(endpoint, "the registry names an endpoint that is no address: {error}"))
            .ok()?
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_WITHIN)
            .connect_lazy();
        if edges.len() >= EDGES_MAX {
            // Replicas come and go with every roll-out; those in use connect again.
            edges.clear();
        }
        edges.insert(endpoint.to_owned(), channel.clone());
        Some(channel)
    }

    fn temporary(&self, cause: &str) -> Outcome {
        let after_millis = u32::try_from(self.shared.retry_after.as_millis()).unwrap_or(u32::MAX);
        Outcome::Temporary(Temporary { cause: cause.to_owned(), after_millis, not_reachable: false })
    }
}

enum Pushed {
    Done(Outcome),
    /// No such session at that replica, or no such replica.
    NotThere,
}

/// The caller may fall back to SMS after a while (D-69).
fn not_reachable(cause: &str) -> Outcome {
    Outcome::Temporary(Temporary { cause: cause.to_owned(), after_millis: 0, not_reachable: true })
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Temporary(temporary) if temporary.not_reachable => "not_reachable",
        Outcome::Temporary(_) => "temporary",
        Outcome::Permanent(_) => "permanent",
    }
}

/// Launches answered, by `outcome`.
const LAUNCHES: &str = "simvault_ip_launches_total";
const RESULTS_WAITING_MAX: usize = 64;
const EDGES_MAX: usize = 1024;
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);
