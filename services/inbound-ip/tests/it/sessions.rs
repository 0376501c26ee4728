//! Sessions: registered, found by a push, the newest wins.

use link::ip::PAYLOAD_OCTETS_MAX;
use proto::{
    centre::RegisterSessionsRequest,
    inbound::report_delivery_request::State,
    session::{PushRequest, ip_session_client::IpSessionClient},
};
use tonic::{Code, transport::Channel};

use crate::Set;

/// A client of the endpoint that the edge registered.
async fn pusher(set: &Set) -> IpSessionClient<Channel> {
    let endpoint = set.centre.until(|inner| inner.registrations.last().map(|last| last.endpoint.clone())).await;
    IpSessionClient::connect(format!("http://{endpoint}")).await.expect("connected")
}

fn push(device_id: i64, payload: impl Into<Vec<u8>>) -> PushRequest {
    PushRequest { device_id, payload: payload.into().into(), ..PushRequest::default() }
}

/// D-111: of a card that does not answer itself; the report is repeated until its action is known.
#[tokio::test]
async fn a_written_payload_is_reported_when_that_is_wanted() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    card.alive().await;
    let mut pusher = pusher(&set).await;
    let quiet = pusher.push(push(1, "as ever")).await.expect("answered").into_inner();
    assert_eq!(quiet.delivery_id, "");
    let nobody = PushRequest { report_delivery: true, ..push(2, "no session") };
    assert_eq!(pusher.push(nobody).await.expect("answered").into_inner().delivery_id, "");
    set.centre.change(|inner| inner.unmatched = 2);
    let wanted = PushRequest { report_delivery: true, ..push(1, "restore") };
    let told = pusher.push(wanted).await.expect("answered").into_inner();
    assert!(told.delivered && told.delivery_id.len() == 32);
    let endpoint = set.centre.until(|inner| inner.registrations.last().map(|last| last.endpoint.clone())).await;
    let reports = set.centre.until(|inner| (inner.reports.len() == 3).then(|| inner.reports.clone())).await;
    for report in reports {
        assert_eq!((report.link, report.bearer_message_id), (endpoint.clone(), told.delivery_id.clone()));
        assert_eq!(report.state, i32::from(State::Delivered));
    }
}

#[tokio::test]
async fn a_push_arrives_as_a_frame_with_growing_counters() {
    let set = Set::start().await;
    set.centre.change(|inner| inner.downlink_counter = 3000);
    let mut card = set.card(1).await;
    card.alive().await;
    let mut pusher = pusher(&set).await;
    for (counter, payload) in [(3001, b"\x10\x00\x01\x00".to_vec()), (3002, vec![0xA5; PAYLOAD_OCTETS_MAX])] {
        let answer = pusher.push(push(1, payload.clone())).await.expect("answered").into_inner();
        assert!(answer.delivered);
        let frame = card.receive().await.expect("a frame");
        assert_eq!((frame.counter, frame.payload.to_vec()), (counter, payload));
        assert_eq!(frame.msisdn, card.msisdn);
    }
    let answer = pusher.push(push(2, "no session")).await.expect("answered").into_inner();
    assert!(!answer.delivered);
    for payload in [vec![], vec![0; PAYLOAD_OCTETS_MAX + 1]] {
        let refused = pusher.push(push(1, payload)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    card.alive().await;
}

#[tokio::test]
async fn the_newest_connection_of_a_device_wins() {
    let set = Set::start().await;
    let mut older = set.card(1).await;
    older.alive().await;
    let mut newer = set.card(1).await;
    newer.counter = 2;
    newer.alive().await;
    older.closed().await;
    let answer = pusher(&set).await.push(push(1, "to the newer")).await.expect("answered").into_inner();
    assert!(answer.delivered);
    assert_eq!(newer.receive().await.expect("a frame").payload, "to the newer");
}

#[tokio::test]
async fn sessions_are_registered_and_taken_out() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    card.alive().await;
    set.centre.until(|inner| inner.registrations.iter().any(|each| each.opened.contains(&1)).then_some(())).await;
    drop(card);
    // A full report that came in between says it too.
    let gone = |last: &RegisterSessionsRequest| last.closed == [1] || (last.snapshot && last.opened.is_empty());
    set.centre.until(|inner| inner.registrations.last().is_some_and(gone).then_some(())).await;
    let answer = pusher(&set).await.push(push(1, "gone")).await.expect("answered").into_inner();
    assert!(!answer.delivered);
}

#[tokio::test]
async fn a_session_that_is_newer_elsewhere_is_closed() {
    let set = Set::start().await;
    let mut card = set.card(1).await;
    card.alive().await;
    set.centre.until(|inner| inner.registrations.iter().any(|each| each.opened.contains(&1)).then_some(())).await;
    set.centre.change(|inner| inner.superseded = vec![1]);
    // Another session makes the edge report again.
    let mut other = set.card(2).await;
    other.alive().await;
    card.closed().await;
    other.alive().await;
}

#[tokio::test]
async fn when_the_downlink_counters_are_used_up_the_card_connects_again() {
    let set = Set::start().await;
    set.centre.change(|inner| inner.downlink_counter = 5000);
    let mut card = set.card(1).await;
    card.alive().await;
    let mut pusher = pusher(&set).await;
    // The keep-alive took one.
    for pushed in 1..inbound_ip::connection::DOWNLINK_COUNTERS {
        let answer = pusher.push(push(1, "x")).await.expect("answered").into_inner();
        assert!(answer.delivered);
        assert_eq!(card.receive().await.expect("a frame").counter, 5000 + pushed);
    }
    let answer = pusher.push(push(1, "one too many")).await.expect("answered").into_inner();
    assert!(!answer.delivered);
    card.closed().await;
}
