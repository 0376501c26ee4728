//! The IP launcher as a black box: launches on one side, a pretended registry and IP edge on the other.

mod pretended;

use std::time::Duration;

use bytes::Bytes;
use pretended::{Centre, Edge};
use proto::outbound::{
    Launch, LaunchBatch, LaunchResult, launch_result::Outcome, outbound_channel_client::OutboundChannelClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// A launcher with a stream open to it.
struct Set {
    centre: Centre,
    batches: mpsc::Sender<LaunchBatch>,
    results: Streaming<proto::outbound::LaunchResults>,
    stop: CancellationToken,
}

impl Set {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut outbound_ip::Config)) -> Self {
        let centre = Centre::start().await;
        let mut config = outbound_ip::Config {
            application_server: rpc::EndpointsConfig::new([centre.address.to_string()]),
            ..outbound_ip::Config::default()
        };
        change(&mut config);
        let stop = CancellationToken::new();
        let running = outbound_ip::start(config, stop.clone()).await.expect("started");
        let mut client =
            OutboundChannelClient::connect(format!("http://{}", running.address)).await.expect("connected");
        let (batches, stream) = mpsc::channel(8);
        let results = client.launch(ReceiverStream::new(stream)).await.expect("a stream").into_inner();
        Self { centre, batches, results, stop }
    }

    async fn launch(&mut self, launches: Vec<Launch>) -> Vec<LaunchResult> {
        let count = launches.len();
        self.batches.send(LaunchBatch { launches }).await.expect("the stream is open");
        let mut found = Vec::new();
        while found.len() < count {
            let answer = tokio::time::timeout(Duration::from_secs(20), self.results.message()).await.expect("in time");
            found.extend(answer.expect("no error").expect("the stream is open").results);
        }
        found.sort_by_key(|result| result.id);
        found
    }

    async fn outcome(&mut self, device_id: i64, payload: &'static [u8]) -> Outcome {
        let result = self.launch(vec![launch(1, device_id, payload)]).await.remove(0);
        result.outcome.expect("an outcome")
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn launch(id: u64, device_id: i64, payload: &'static [u8]) -> Launch {
    Launch { id, device_id, payload: Bytes::from_static(payload), ..Launch::default() }
}

fn is_not_reachable(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Temporary(temporary) if temporary.not_reachable)
}

#[tokio::test]
async fn a_payload_goes_to_the_edge_that_holds_the_session() {
    let mut set = Set::start().await;
    let (first, second) = (Edge::start([1, 2]).await, Edge::start([3]).await);
    set.centre.place(1, &first);
    set.centre.place(2, &first);
    set.centre.place(3, &second);
    let launches = vec![launch(10, 1, b"one"), launch(11, 2, b"two"), launch(12, 3, b"three")];
    let results = set.launch(launches).await;
    assert_eq!(results.iter().map(|result| result.id).collect::<Vec<_>>(), [10, 11, 12]);
    for result in results {
        let Some(Outcome::Accepted(accepted)) = result.outcome else { panic!("{result:?}") };
        assert_eq!(accepted.bearer_message_id, "");
    }
    let mut pushed = first.pushed();
    pushed.sort();
    assert_eq!(pushed, [(1, "one".into()), (2, "two".into())]);
    assert_eq!(second.pushed(), [(3, "three".into())]);
    assert_eq!(set.centre.asked(), 1, "one question for a batch");
    assert!(matches!(set.outcome(1, b"again").await, Outcome::Accepted(_)));
    assert_eq!(set.centre.asked(), 1, "the place is remembered");
}

#[tokio::test]
async fn without_a_session_the_card_is_not_reachable() {
    let mut set = Set::start().await;
    assert!(is_not_reachable(&set.outcome(1, b"payload").await));
    // The registry is behind: the edge has no such session any more, or does not serve any more.
    let edge = Edge::start([]).await;
    set.centre.place(1, &edge);
    assert!(is_not_reachable(&set.outcome(1, b"payload").await));
    set.centre.place_at(1, "127.0.0.1:1");
    assert!(is_not_reachable(&set.outcome(1, b"payload").await));
    set.centre.place_at(1, "no endpoint");
    assert!(is_not_reachable(&set.outcome(1, b"payload").await));
    assert_eq!(edge.pushed(), []);
}

#[tokio::test]
async fn a_session_that_moved_is_found_at_its_new_place() {
    let mut set = Set::start().await;
    let (old, new) = (Edge::start([1]).await, Edge::start([1]).await);
    set.centre.place(1, &old);
    assert!(matches!(set.outcome(1, b"before").await, Outcome::Accepted(_)));
    old.forget(1);
    set.centre.place(1, &new);
    assert!(matches!(set.outcome(1, b"after").await, Outcome::Accepted(_)));
    assert_eq!(new.pushed(), [(1, "after".into())]);
}

#[tokio::test]
async fn what_the_edge_refuses_is_permanent() {
    let mut set = Set::start().await;
    let edge = Edge::start([1]).await;
    set.centre.place(1, &edge);
    edge.answer_with(Status::invalid_argument("payload: 5000 octets, expected 1 to 4096"));
    let Outcome::Permanent(permanent) = set.outcome(1, b"long").await else { panic!("not permanent") };
    assert!(permanent.cause.contains("5000"));
}

#[tokio::test]
async fn a_silent_edge_or_registry_is_a_failure_that_passes() {
    let mut set = Set::with(|config| config.push_deadline = Duration::from_millis(100)).await;
    let edge = Edge::start([1]).await;
    set.centre.place(1, &edge);
    edge.be_silent();
    let Outcome::Temporary(temporary) = set.outcome(1, b"payload").await else { panic!("not temporary") };
    assert!(!temporary.not_reachable && temporary.after_millis == 5000);
    set.centre.refuse();
    let Outcome::Temporary(temporary) = set.outcome(2, b"payload").await else { panic!("not temporary") };
    assert!(!temporary.not_reachable, "nobody knows whether there is a session");
}

#[test]
fn the_settings_say_what_is_out_of_range() {
    use runtime::config::Validate;
    assert_eq!(outbound_ip::Config::default().problems(), []);
    let wrong = outbound_ip::Config { window: 0, cache_max: 0, ..Default::default() };
    let keys: Vec<String> = wrong.problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["cache_max", "window"]);
}
