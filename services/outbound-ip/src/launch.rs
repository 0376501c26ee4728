//! `outbound.v1.OutboundChannel`: a payload goes to the replica of inbound-ip that holds the card's connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics::counter;
use proto::{
    outbound::{
        Accepted, Launch, LaunchBatch, LaunchResult, Permanent, Temporary, launch_result::Outcome,
        outbound_channel_server::OutboundChannel,
    },
    session::{PushRequest, ip_session_client::IpSessionClient},
};
use runtime::events::{self, Kind};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};
use tracing::{debug, warn};

use crate::locate::Locator;

type LaunchJob = rpc::stream::Job<rpc::stream::Launch>;

/// The launcher of the IP bearer.
#[derive(Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
}

struct Shared {
    locator: Locator,
    /// One entry per replica of inbound-ip, made when it is first used, with what ends it.
    edges: Mutex<HashMap<String, (rpc::Balancer, DropGuard)>>,
    edge_tls: Option<rpc::ClientTls>,
    stop: CancellationToken,
    push_deadline: Duration,
    retry_after: Duration,
    window: usize,
}

impl Launcher {
    pub fn new(config: &crate::Config, application_server: rpc::Balancer, stop: CancellationToken) -> Self {
        let shared = Shared {
            locator: Locator::new(application_server, config.cache, config.cache_max),
            edges: Mutex::default(),
            edge_tls: config.edge_tls.clone(),
            stop,
            push_deadline: config.push_deadline,
            retry_after: config.retry_after,
            window: config.window.max(1),
        };
        Self { shared: Arc::new(shared) }
    }
}

#[tonic::async_trait]
impl OutboundChannel for Launcher {
    type LaunchStream = rpc::stream::Results<rpc::stream::Launch>;

    async fn launch(&self, request: Request<Streaming<LaunchBatch>>) -> Result<Response<Self::LaunchStream>, Status> {
        let (queue, queued) = mpsc::channel(LOCATED_TOGETHER_MAX);
        let launcher = self.clone();
        tokio::spawn(async move { launcher.take_launches(queued).await });
        let results = rpc::stream::serve_batches(request.into_inner(), self.shared.window, move |job| {
            let queue = queue.clone();
            async move {
                if queue.send(job).await.is_err() {
                    // Unanswered: the caller sends it again.
                    debug!("a launch came after the end of its stream");
                }
            }
        });
        Ok(Response::new(results))
    }
}

impl Launcher {
    /// Takes all that is queued, asks once where the sessions are, and pushes side by side. What is not answered yet is
    /// limited by the stream.
    async fn take_launches(&self, mut queued: mpsc::Receiver<LaunchJob>) {
        let mut jobs = Vec::new();
        while queued.recv_many(&mut jobs, LOCATED_TOGETHER_MAX).await > 0 {
            let devices: Vec<i64> = jobs.iter().map(|job| job.message.device_id).collect();
            let places = self.shared.locator.locate(&devices).await;
            if let Err(status) = &places {
                let text = format!("IP sessions cannot be located: {:?} {}", status.code(), status.message());
                events::record(Kind::CommunicationFailure, text);
            }
            for rpc::stream::Job { message, answer } in jobs.drain(..) {
                let launcher = self.clone();
                let endpoint = places.as_ref().ok().map(|places| places.get(&message.device_id).cloned());
                tokio::spawn(async move {
                    let id = message.id;
                    let outcome = match endpoint {
                        Some(endpoint) => launcher.push(message, endpoint).await,
                        None => launcher.temporary("the registry of sessions does not answer"),
                    };
                    counter!(LAUNCHES, "outcome" => label(&outcome)).increment(1);
                    answer.send(LaunchResult { id, outcome: Some(outcome) });
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
        let Some(channel) = self.edge(endpoint).await else { return Pushed::NotThere };
        let payload = launch.payload.clone();
        let request = PushRequest {
            device_id: launch.device_id,
            payload,
            trace_ids: launch.trace_ids.clone(),
            report_delivery: launch.registered_delivery,
        };
        let mut request = Request::new(request);
        request.set_timeout(self.shared.push_deadline);
        let answer = tokio::time::timeout(self.shared.push_deadline, IpSessionClient::new(channel).push(request)).await;
        match answer {
            Ok(Ok(response)) if response.get_ref().delivered => {
                let bearer_message_id = response.into_inner().delivery_id;
                Pushed::Done(Outcome::Accepted(Accepted { link: endpoint.to_owned(), bearer_message_id }))
            }
            Ok(Ok(_)) => Pushed::NotThere,
            Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                Pushed::Done(Outcome::Permanent(Permanent { cause: status.message().to_owned() }))
            }
            Ok(Err(status)) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => {
                Pushed::Done(self.late())
            }
            Ok(Err(status)) => {
                warn!(endpoint, code = ?status.code(), "push failed: {}", status.message());
                Pushed::NotThere
            }
            Err(_) => Pushed::Done(self.late()),
        }
    }

    /// It may have been written: the caller tries again later, and a card takes the same payload twice without harm.
    fn late(&self) -> Outcome {
        self.temporary("the IP edge did not answer in time")
    }

    /// The channel to a replica of inbound-ip; `None` when it does not serve, or the endpoint is no address.
    async fn edge(&self, endpoint: &str) -> Option<Channel> {
        let balancer = self.balancer(endpoint)?;
        let serving = tokio::time::timeout(CONNECT_WITHIN, balancer.wait_healthy(1)).await;
        serving.ok().and_then(|()| balancer.least_loaded())
    }

    fn balancer(&self, endpoint: &str) -> Option<rpc::Balancer> {
        let mut edges = self.shared.edges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((balancer, _)) = edges.get(endpoint) {
            return Some(balancer.clone());
        }
        let endpoints =
            rpc::EndpointsConfig { tls: self.shared.edge_tls.clone(), ..rpc::EndpointsConfig::new([endpoint]) };
        let stop = self.shared.stop.child_token();
        let balancer = rpc::Balancer::new(endpoints, stop.clone())
            .inspect_err(|error| warn!("the registry names an IP edge that cannot be called: {error}"))
            .ok()?;
        if edges.len() >= EDGES_MAX {
            // Replicas come and go with every roll-out; those in use come back at once.
            edges.clear();
        }
        edges.insert(endpoint.to_owned(), (balancer.clone(), stop.drop_guard()));
        Some(balancer)
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
        Outcome::Unknown(_) => "unknown",
    }
}

/// Launches answered, by `outcome`.
const LAUNCHES: &str = "simvault_ip_launches_total";
/// Launches whose sessions are looked up in one call, at most.
const LOCATED_TOGETHER_MAX: usize = 64;
const EDGES_MAX: usize = 1024;
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
