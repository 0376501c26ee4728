//! A service as a process of its own: health, reflection, metrics, SIGTERM; and an SMSC that sends it nonsense.

use std::time::Duration;

use bytes::BytesMut;
use edge::testing::{FakeInboundData, Smsc, eventually, from_card};
use smpp::{BindKind, BindResp, CommandId, CommandStatus, Header, Pdu, ShortMessage, decode::split_header, encode};
use testkit::free_port;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::program::{Role, metric, metric_reaches, metrics};

const PATIENCE: Duration = Duration::from_secs(20);

/// An inbound-smpp of one receiver link.
fn inbound_smpp(smsc: u16, inbound_data: u16, grpc: u16, metrics: u16) -> String {
    format!(
        r#"[telemetry]
metrics_listen = "127.0.0.1:{metrics}"
[service.server]
listen = "127.0.0.1:{grpc}"
[service.inbound_data]
endpoints = ["127.0.0.1:{inbound_data}"]
[service.ingest]
progress = "30s"
deadline = "30s"
[[service.links]]
name = "a"
bind = "receiver"
addresses = ["127.0.0.1:{smsc}"]
system_id = "centre"
backoff_min = "20ms"
backoff_max = "100ms"
backoff_refused = "100ms"
"#
    )
}

async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel.clone()).check(request).await.expect("answered").into_inner().status()
}

async fn reflected(channel: &Channel) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let stream = tokio_stream::once(request);
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("read").expect("one answer").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    list.service.into_iter().map(|service| service.name).collect()
}

/// Covers: PF-15
#[tokio::test]
async fn a_process_is_healthy_reflected_measured_and_drains_on_sigterm() {
    let (smsc, data) = (Smsc::start().await, FakeInboundData::start().await);
    let (grpc, metrics_port) = (free_port(), free_port());
    let configuration = inbound_smpp(smsc.address.port(), data.address.port(), grpc, metrics_port);
    let mut role = Role::start("inbound-smpp", &configuration);
    smsc.wait_bound(1).await;
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).expect("an address");
    let channel = endpoint.connect().await.expect("serving");
    for service in ["", rpc::LIVENESS, rpc::READINESS] {
        assert_eq!(health(&channel, service).await, ServingStatus::Serving, "{service:?}");
    }
    let services = reflected(&channel).await;
    for service in
        ["grpc.health.v1.Health", "simvault.diagnostics.v1.Diagnostics", "simvault.diagnostics.v1.EdgeConfiguration"]
    {
        assert!(services.iter().any(|name| name == service), "{service}: {services:?}");
    }
    assert_eq!(smsc.deliver(from_card("491700000001", b"one")).await, CommandStatus::ESME_ROK);
    let text = metrics(metrics_port).await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert_eq!(metric(metrics_port, "simvault_smpp_delivered_total{").await, 1.0, "{text}");
    assert!(metric(metrics_port, "simvault_events_total{kind=\"start_up\"}").await >= 1.0, "{text}");

    // Under load: 40 messages are with the inbound data processor, which is slow.
    data.open_gate(false);
    let peer = smsc.receiver().await;
    let mut burst = tokio::task::JoinSet::new();
    for number in 0..40_u8 {
        let peer = peer.clone();
        burst.spawn(async move { peer.deliver(from_card("491700000001", &[number])).await });
    }
    eventually("all under way", || data.messages().len() == 41).await;
    role.terminate();
    let told = timeout(PATIENCE, async {
        while health(&channel, rpc::READINESS).await == ServingStatus::Serving {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    told.await.expect("no longer ready");
    assert_eq!(health(&channel, rpc::LIVENESS).await, ServingStatus::Serving);
    assert_eq!(role.exited(), None);
    data.open_gate(true);
    while let Some(done) = burst.join_next().await {
        done.expect("no panic").expect("no error at the peer");
    }
    assert_eq!(role.wait().await.code(), Some(0));
    eventually("unbound", || smsc.closed() == [smpp::CloseReason::UnboundByPeer]).await;
    assert_eq!(data.messages().len(), 41, "nothing twice");
}

/// An SMSC's end of a connection, octet by octet.
struct Raw(TcpStream);

impl Raw {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("accepted");
        let mut raw = Self(stream);
        let header = raw.frame().await;
        assert_eq!(header.command_id, CommandId::BIND_RECEIVER);
        let mut resp = BytesMut::new();
        let pdu = Pdu::BindResp(BindKind::Receiver, BindResp::default());
        encode(&pdu, CommandStatus::ESME_ROK, header.sequence_number, &mut resp).expect("encoded");
        raw.0.write_all(&resp).await.expect("written");
        raw
    }

    async fn frame(&mut self) -> Header {
        let length = timeout(PATIENCE, self.0.read_u32()).await.expect("in time").expect("a length");
        let mut frame = length.to_be_bytes().to_vec();
        frame.resize(usize::try_from(length).expect("small"), 0);
        self.0.read_exact(&mut frame[4..]).await.expect("a frame");
        split_header(&frame).expect("a header").0
    }

    /// Sends a PDU; the answer has to be this one.
    async fn expect(&mut self, octets: &[u8], command_id: CommandId, command_status: CommandStatus) {
        self.0.write_all(octets).await.expect("written");
        let sequence_number = u32::from_be_bytes(octets[12..16].try_into().expect("four"));
        assert_eq!(self.frame().await, Header { command_id, command_status, sequence_number });
    }
}

fn pdu(command_id: u32, sequence_number: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("short");
    let words = [length, command_id, 0, sequence_number].map(u32::to_be_bytes).concat();
    [&words, body].concat()
}

/// What an SMSC sends wrongly has an answer and a counter, and costs one message; a lying length costs the connection.
#[tokio::test]
async fn nonsense_of_an_smsc_is_answered_counted_and_survived() {
    let data = FakeInboundData::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let smsc = listener.local_addr().expect("bound").port();
    let metrics_port = free_port();
    let mut role = Role::start("inbound-smpp", &inbound_smpp(smsc, data.address.port(), free_port(), metrics_port));
    let mut raw = Raw::accept(&listener).await;
    // The body ends within the service type; a command nobody knows; one that only an ESME sends; an answer to nothing.
    raw.expect(&pdu(5, 2, b"x"), CommandId::DELIVER_SM_RESP, CommandStatus::ESME_RINVSERTYP).await;
    raw.expect(&pdu(0x7F01, 3, &[9, 9]), CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID).await;
    raw.expect(&pdu(2, 4, b"a\0b\0\0\x34\0\0\0"), CommandId::BIND_TRANSMITTER_RESP, CommandStatus::ESME_RINVBNDSTS)
        .await;
    raw.0.write_all(&pdu(0x8000_0004, 99, b"m1\0")).await.expect("written");
    let mut good = BytesMut::new();
    let message: ShortMessage = from_card("491700000001", b"good");
    encode(&Pdu::DeliverSm(message), CommandStatus::ESME_ROK, 5, &mut good).expect("encoded");
    raw.expect(&good, CommandId::DELIVER_SM_RESP, CommandStatus::ESME_ROK).await;
    assert_eq!(data.messages().len(), 1);
    for kind in ["malformed", "unknown_command", "wrong_state", "unexpected_response"] {
        metric_reaches(metrics_port, &format!("simvault_smpp_pdus_refused_total{{kind=\"{kind}\"}}"), 1.0).await;
    }
    // A length nobody can mean: the boundary of the next PDU is lost, so the connection goes, and a new one comes.
    raw.expect(&[0xFF; 16], CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN).await;
    assert_eq!(timeout(PATIENCE, raw.0.read(&mut [0; 16])).await.expect("in time").expect("closed"), 0);
    let mut again = Raw::accept(&listener).await;
    again.expect(&good, CommandId::DELIVER_SM_RESP, CommandStatus::ESME_ROK).await;
    metric_reaches(metrics_port, "simvault_smpp_pdus_refused_total{kind=\"malformed\"}", 2.0).await;
    metric_reaches(metrics_port, "simvault_smpp_link_down_total{", 1.0).await;
    // A bind that is refused is counted, and tried again.
    drop(again);
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("accepted");
    let mut refusing = Raw(stream);
    let header = refusing.frame().await;
    let mut resp = BytesMut::new();
    let refusal = Pdu::BindResp(BindKind::Receiver, BindResp::default());
    encode(&refusal, CommandStatus::ESME_RINVPASWD, header.sequence_number, &mut resp).expect("encoded");
    refusing.0.write_all(&resp).await.expect("written");
    Raw::accept(&listener).await;
    metric_reaches(metrics_port, "simvault_smpp_link_down_total{", 3.0).await;
    assert_eq!(role.exited(), None);
}
