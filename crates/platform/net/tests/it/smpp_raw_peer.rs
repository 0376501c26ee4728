//! Peers that misbehave, on raw sockets: unknown PDUs, malformed bodies, lying lengths, silence, octets one by one.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use net::smpp::{DownReason, LinkConfig, LinkEvent, Server, ServerConfig, ServerEvent, SmppLink};
use smpp::{
    Bind, BindKind, BindResp, CloseReason, CommandId, CommandStatus, Header, Pdu, Text, decode::split_header, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

struct Raw(TcpStream);

impl Raw {
    async fn send(&mut self, pdu: &Pdu, status: CommandStatus, sequence_number: u32) {
        let mut out = BytesMut::new();
        encode(pdu, status, sequence_number, &mut out).unwrap();
        self.0.write_all(&out).await.unwrap();
    }

    async fn frame(&mut self) -> (Header, Vec<u8>) {
        let length = self.0.read_u32().await.unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.resize(usize::try_from(length).unwrap(), 0);
        self.0.read_exact(&mut frame[4..]).await.unwrap();
        let (header, body) = split_header(&frame).unwrap();
        (header, body.to_vec())
    }

    async fn expect(&mut self, command_id: CommandId, status: CommandStatus, sequence_number: u32) {
        let expected = Header { command_id, command_status: status, sequence_number };
        assert_eq!(self.frame().await.0, expected);
    }
}

async fn listener() -> (Server, tokio::sync::mpsc::Receiver<ServerEvent>, CancellationToken) {
    let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), Text::new("smsc").unwrap());
    config.session.session_init_timeout = Duration::from_millis(200);
    let stop = CancellationToken::new();
    let (server, events) = Server::start(config, Arc::new(|_| CommandStatus::ESME_ROK), stop.clone()).await.unwrap();
    (server, events, stop)
}

#[tokio::test]
async fn what_is_wrong_costs_one_answer_and_the_link_stays() {
    let (server, mut events, stop) = listener().await;
    let mut raw = Raw(TcpStream::connect(server.address()).await.unwrap());
    raw.send(&Pdu::Bind(BindKind::Transceiver, Bind::default()), CommandStatus::ESME_ROK, 1).await;
    raw.expect(CommandId::BIND_TRANSCEIVER_RESP, CommandStatus::ESME_ROK, 1).await;
    let unknown = [0, 0, 0, 18, 0, 0, 0x7F, 1, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9];
    for octet in unknown {
        raw.0.write_all(&[octet]).await.unwrap();
    }
    raw.expect(CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID, 2).await;
    raw.0.write_all(&[0, 0, 0, 17, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 3, b'x']).await.unwrap();
    raw.expect(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVSERTYP, 3).await;
    raw.send(&Pdu::EnquireLink, CommandStatus::ESME_ROK, 4).await;
    raw.expect(CommandId::ENQUIRE_LINK_RESP, CommandStatus::ESME_ROK, 4).await;
    raw.0.write_all(&[0xFF; 16]).await.unwrap();
    raw.expect(CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN, 0xFFFF_FFFF).await;
    assert_eq!(raw.0.read(&mut [0; 16]).await.unwrap(), 0);
    assert!(matches!(events.recv().await, Some(ServerEvent::Bound(_))));
    let reason = CloseReason::InvalidCommandLength;
    assert!(matches!(events.recv().await, Some(ServerEvent::Unbound { reason: why, .. }) if why == reason));
    stop.cancel();
    server.closed().await;
}

#[tokio::test]
async fn a_connection_that_never_binds_is_closed() {
    let (server, _events, stop) = listener().await;
    let mut raw = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(raw.read(&mut [0; 16]).await.unwrap(), 0);
    stop.cancel();
    server.closed().await;
}

#[tokio::test]
async fn a_silent_smsc_is_asked_and_then_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut config = LinkConfig::new("silent", vec![address], BindKind::Receiver, "vault", "secret");
    config.session.enquire_link_interval = Duration::from_millis(50);
    config.session.response_timeout = Duration::from_millis(50);
    config.backoff_min = Duration::from_millis(1);
    let stop = CancellationToken::new();
    let (_link, mut events) = SmppLink::start(config, stop.clone()).unwrap();
    let mut raw = Raw(listener.accept().await.unwrap().0);
    let (header, _) = raw.frame().await;
    assert_eq!(header.command_id, CommandId::BIND_RECEIVER);
    let resp = Pdu::BindResp(BindKind::Receiver, BindResp::default());
    raw.send(&resp, CommandStatus::ESME_ROK, header.sequence_number).await;
    assert_eq!(raw.frame().await.0.command_id, CommandId::ENQUIRE_LINK);
    // No answer: the link is given up, and a new connection comes.
    assert!(matches!(events.recv().await, Some(LinkEvent::Bound { interface_version: 0x33, .. })));
    let Some(LinkEvent::Down { reason: DownReason::Closed(reason), .. }) = events.recv().await else { panic!() };
    assert_eq!(reason, CloseReason::EnquireLinkTimeout);
    listener.accept().await.unwrap();
    stop.cancel();
}

#[tokio::test]
async fn the_next_address_is_tried_at_once() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead_address = dead.local_addr().unwrap().to_string();
    drop(dead);
    let (server, mut server_events, stop) = listener().await;
    let addresses = vec![dead_address, server.address().to_string()];
    let link_stop = CancellationToken::new();
    let config = LinkConfig::new("two", addresses, BindKind::Transmitter, "vault", "secret");
    let (_link, mut events) = SmppLink::start(config, link_stop.clone()).unwrap();
    assert!(matches!(events.recv().await, Some(LinkEvent::Down { retry_in: Duration::ZERO, .. })));
    assert!(matches!(events.recv().await, Some(LinkEvent::Bound { kind: BindKind::Transmitter, .. })));
    assert!(matches!(server_events.recv().await, Some(ServerEvent::Bound(_))));
    link_stop.cancel();
    stop.cancel();
    server.closed().await;
}
