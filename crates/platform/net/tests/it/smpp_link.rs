//! A client link against our own listener: binds, messages both ways, refusals, TLS, cuts, back-pressure, drain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use net::{
    smpp::{
        Authenticate, BindRequest, Completion, DownReason, LinkConfig, LinkEvent, LinkHandle, PeerHandle, Server,
        ServerConfig, ServerEvent, SmppLink, SubmitError, Tls,
    },
    tls::{self, Identity},
};
use smpp::{Address, BindKind, CommandStatus, ShortMessage, Text, Unanswered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn authenticate() -> Authenticate {
    Arc::new(|request: &BindRequest<'_>| match (request.bind.system_id.as_str(), request.bind.password.as_str()) {
        (Some("vault"), Some("secret")) => CommandStatus::ESME_ROK,
        (Some("vault"), _) => CommandStatus::ESME_RINVPASWD,
        _ => CommandStatus::ESME_RINVSYSID,
    })
}

fn message(payload: &[u8]) -> ShortMessage {
    let mut message = ShortMessage {
        source_addr: Address::international("447700900123").unwrap(),
        destination_addr: Address::new(0, 1, "2001").unwrap(),
        data_coding: 0xF6,
        ..ShortMessage::default()
    };
    message.set_payload(Bytes::copy_from_slice(payload));
    message
}

fn server_config() -> ServerConfig {
    ServerConfig::new("127.0.0.1:0".parse().unwrap(), Text::new("smsc").unwrap())
}

fn link_config(address: SocketAddr) -> LinkConfig {
    let mut config = LinkConfig::new("test", vec![address.to_string()], BindKind::Transceiver, "vault", "secret");
    config.backoff_min = Duration::from_millis(10);
    config.backoff_max = Duration::from_millis(50);
    config.throttle_pause = Duration::from_millis(1);
    config
}

/// A listener and a bound link.
struct Pair {
    server: Server,
    server_events: mpsc::Receiver<ServerEvent>,
    peer: PeerHandle,
    link: LinkHandle,
    link_events: mpsc::Receiver<LinkEvent>,
    server_stop: CancellationToken,
    link_stop: CancellationToken,
}

async fn pair(server_config: ServerConfig, adjust: impl FnOnce(&mut LinkConfig)) -> Pair {
    let (server_stop, link_stop) = (CancellationToken::new(), CancellationToken::new());
    let (server, mut server_events) = Server::start(server_config, authenticate(), server_stop.clone()).await.unwrap();
    let mut config = link_config(server.address());
    adjust(&mut config);
    let (link, mut link_events) = SmppLink::start(config, link_stop.clone()).unwrap();
    let Some(ServerEvent::Bound(peer)) = server_events.recv().await else { panic!("the server did not see the bind") };
    let Some(LinkEvent::Bound { smsc_system_id, interface_version, .. }) = link_events.recv().await else {
        panic!("the link is not bound")
    };
    assert_eq!((smsc_system_id.as_str(), interface_version), (Some("smsc"), 0x34));
    Pair { server, server_events, peer, link, link_events, server_stop, link_stop }
}

async fn exchange_all_octets(pair: &mut Pair) {
    let all: Vec<u8> = (0..=255).collect();
    for payload in [&all[..], &all[..254], &all[..140], &[]] {
        let submitted = tokio::spawn({
            let (link, message) = (pair.link.clone(), message(payload));
            async move { link.submit(message).await }
        });
        let Some(ServerEvent::Submit { peer, token, message: seen }) = pair.server_events.recv().await else {
            panic!()
        };
        assert_eq!(seen.payload(), payload);
        peer.respond_submit(token, CommandStatus::ESME_ROK, Text::new("id-1").unwrap());
        assert_eq!(submitted.await.unwrap().unwrap().message_id.as_str(), Some("id-1"));

        let delivered = tokio::spawn({
            let (peer, message) = (pair.peer.clone(), message(payload));
            async move { peer.deliver(message).await }
        });
        let Some(LinkEvent::Deliver { token, message: seen }) = pair.link_events.recv().await else { panic!() };
        assert_eq!(seen.payload(), payload);
        pair.link.respond_deliver(token, CommandStatus::ESME_ROK);
        delivered.await.unwrap().unwrap();
    }
}

async fn stop(mut pair: Pair) {
    pair.link_stop.cancel();
    assert!(pair.link_events.recv().await.is_none());
    assert!(matches!(pair.server_events.recv().await, Some(ServerEvent::Unbound { .. })));
    pair.server_stop.cancel();
    pair.server.closed().await;
    assert!(pair.server_events.recv().await.is_none());
}

#[tokio::test]
async fn messages_travel_unaltered_both_ways() {
    let mut pair = pair(server_config(), |_| {}).await;
    exchange_all_octets(&mut pair).await;
    stop(pair).await;
}

#[tokio::test]
async fn tls_with_client_certificates_carries_the_same() {
    let certified = rcgen::generate_simple_self_signed(vec!["smsc.test".to_owned()]).unwrap();
    let pem = certified.cert.pem().into_bytes();
    let identity =
        Identity { certificates_pem: pem.clone(), private_key_pem: certified.signing_key.serialize_pem().into_bytes() };
    let mut config = server_config();
    config.tls = Some(tls::server_config(&identity, Some(&pem)).unwrap());
    let client = tls::client_config(&pem, Some(&identity)).unwrap();
    let mut pair =
        pair(config, |link| link.tls = Some(Tls { config: client, server_name: "smsc.test".to_owned() })).await;
    exchange_all_octets(&mut pair).await;
    stop(pair).await;
}

#[tokio::test]
async fn wrong_credentials_are_refused_by_name_and_tried_again() {
    let server_stop = CancellationToken::new();
    let (server, _events) = Server::start(server_config(), authenticate(), server_stop.clone()).await.unwrap();
    for (system_id, password, expected) in
        [("vault", "wrong", CommandStatus::ESME_RINVPASWD), ("nobody", "secret", CommandStatus::ESME_RINVSYSID)]
    {
        let mut config = link_config(server.address());
        config.system_id = system_id.to_owned();
        config.password = password.to_owned();
        config.backoff_refused = Duration::from_millis(20);
        let stop = CancellationToken::new();
        let (link, mut events) = SmppLink::start(config, stop.clone()).unwrap();
        // SMSCs lock accounts that try too often: the pause is the one set at least, and doubles.
        for pause in [20, 40] {
            let event = events.recv().await;
            let least = Duration::from_millis(pause);
            assert!(matches!(&event, Some(LinkEvent::Down { retry_in, .. }) if *retry_in >= least), "{event:?}");
            assert!(
                matches!(&event, Some(LinkEvent::Down { reason: DownReason::BindRefused { status, .. }, .. }) if *status == expected),
                "{event:?}"
            );
        }
        assert_eq!(link.submit(message(b"x")).await, Err(SubmitError::NotBound));
        stop.cancel();
        while events.recv().await.is_some() {}
    }
    server_stop.cancel();
    server.closed().await;
}

#[tokio::test]
async fn a_bind_beyond_the_limit_is_refused() {
    let mut config = server_config();
    config.binds_max_per_system_id = 1;
    let pair = pair(config, |_| {}).await;
    let second_stop = CancellationToken::new();
    let (_second, mut events) = SmppLink::start(link_config(pair.server.address()), second_stop.clone()).unwrap();
    let Some(LinkEvent::Down { reason, retry_in }) = events.recv().await else { panic!("it is bound") };
    assert_eq!(reason.to_string(), format!("{} refused the bind with ESME_RBINDFAIL", pair.server.address()));
    assert!(retry_in >= Duration::from_secs(10), "{retry_in:?}");
    second_stop.cancel();
    stop(pair).await;
}

#[tokio::test]
async fn a_cut_fails_what_is_outstanding_and_the_link_comes_back() {
    let mut pair = pair(server_config(), |_| {}).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    for token in 0..10 {
        pair.link.submit_with(message(b"outstanding"), token, &completions).await.unwrap();
    }
    // Never answered: as if the SMSC died with the messages.
    let mut unanswered = Vec::new();
    while unanswered.len() < 10 {
        let Some(ServerEvent::Submit { token, .. }) = pair.server_events.recv().await else { panic!() };
        unanswered.push(token);
    }
    pair.peer.cut();
    for _ in 0..10 {
        let Some(Completion { outcome, .. }) = done.recv().await else { panic!() };
        assert_eq!(outcome, Err(SubmitError::Unanswered(Unanswered::ConnectionLost)));
    }
    assert!(matches!(pair.link_events.recv().await, Some(LinkEvent::Down { reason: DownReason::Closed(_), .. })));
    assert!(matches!(pair.server_events.recv().await, Some(ServerEvent::Unbound { .. })));
    let Some(ServerEvent::Bound(peer)) = pair.server_events.recv().await else { panic!() };
    assert_ne!(peer.id(), pair.peer.id());
    assert!(matches!(pair.link_events.recv().await, Some(LinkEvent::Bound { .. })));
    pair.peer = peer;
    exchange_all_octets(&mut pair).await;
    stop(pair).await;
}

#[tokio::test]
async fn throttling_is_reported_and_the_link_goes_on() {
    let mut pair = pair(server_config(), |_| {}).await;
    for status in [CommandStatus::ESME_RTHROTTLED, CommandStatus::ESME_RMSGQFUL, CommandStatus::ESME_RINVDSTADR] {
        let submitted = tokio::spawn({
            let link = pair.link.clone();
            async move { link.submit(message(b"busy")).await }
        });
        let Some(ServerEvent::Submit { peer, token, .. }) = pair.server_events.recv().await else { panic!() };
        peer.respond_submit(token, status, Text::EMPTY);
        assert_eq!(submitted.await.unwrap(), Err(SubmitError::Refused(status)));
    }
    stop(pair).await;
}

#[tokio::test]
async fn the_window_holds_messages_back() {
    let mut pair = pair(server_config(), |config| config.session.window_max = 3).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    for token in 0..8 {
        pair.link.submit_with(message(b"w"), token, &completions).await.unwrap();
    }
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let Some(ServerEvent::Submit { peer, token, .. }) = pair.server_events.recv().await else { panic!() };
        tokens.push((peer, token));
    }
    assert_eq!(pair.link.outstanding(), 3);
    assert!(pair.server_events.try_recv().is_err());
    let mut answered = 0;
    while answered < 8 {
        if let Some((peer, token)) = tokens.pop() {
            peer.respond_submit(token, CommandStatus::ESME_ROK, Text::EMPTY);
            assert!(done.recv().await.unwrap().outcome.is_ok());
            answered += 1;
        } else if let Some(ServerEvent::Submit { peer, token, .. }) = pair.server_events.recv().await {
            tokens.push((peer, token));
        }
    }
    stop(pair).await;
}

#[tokio::test]
async fn a_slow_owner_stops_the_reading_and_loses_nothing() {
    let mut pair = pair(server_config(), |config| config.event_queue_max = 4).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    for token in 0..90 {
        pair.peer.deliver_with(message(b"slow"), token, &completions).await.unwrap();
    }
    let mut accepted = 0;
    for _ in 0..90 {
        let Some(LinkEvent::Deliver { token, .. }) = pair.link_events.recv().await else { panic!() };
        pair.link.respond_deliver(token, CommandStatus::ESME_ROK);
        tokio::task::yield_now().await;
        accepted += 1;
    }
    for _ in 0..90 {
        assert!(done.recv().await.unwrap().outcome.is_ok());
    }
    assert_eq!(accepted, 90);
    stop(pair).await;
}

#[tokio::test]
async fn stopping_waits_for_the_window_before_the_unbind() {
    let mut pair = pair(server_config(), |_| {}).await;
    let submitted = tokio::spawn({
        let link = pair.link.clone();
        async move { link.submit(message(b"last")).await }
    });
    let Some(ServerEvent::Submit { peer, token, .. }) = pair.server_events.recv().await else { panic!() };
    pair.link_stop.cancel();
    while pair.link.can_submit() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.link.submit(message(b"too late")).await, Err(SubmitError::NotBound));
    peer.respond_submit(token, CommandStatus::ESME_ROK, Text::EMPTY);
    assert!(submitted.await.unwrap().is_ok());
    stop(pair).await;
}

#[tokio::test]
async fn many_messages_pass_quickly() {
    let mut pair = pair(server_config(), |config| config.session.window_max = 1000).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    let echo = tokio::spawn(async move {
        for _ in 0..20_000 {
            let Some(ServerEvent::Submit { peer, token, .. }) = pair.server_events.recv().await else { panic!() };
            peer.respond_submit(token, CommandStatus::ESME_ROK, Text::new("1").unwrap());
        }
        pair.server_events
    });
    let link = pair.link.clone();
    let feeder = tokio::spawn(async move {
        for token in 0..20_000 {
            link.submit_with(message(&[7; 140]), token, &completions).await.unwrap();
        }
    });
    let mut seen = vec![false; 20_000];
    while let Some(Completion { token, outcome }) = done.recv().await {
        assert!(outcome.is_ok());
        assert!(!std::mem::replace(&mut seen[usize::try_from(token).unwrap()], true));
    }
    feeder.await.unwrap();
    assert!(seen.into_iter().all(|seen| seen));
    drop(echo.await.unwrap());
    pair.link_stop.cancel();
    pair.server_stop.cancel();
    pair.server.closed().await;
}
