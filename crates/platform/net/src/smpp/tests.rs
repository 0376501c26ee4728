//! The loop of one connection over an in-memory stream, with tokio's clock paused: what depends on time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smpp::{
    BindKind, BindResp, CloseReason, CommandId, CommandStatus, Header, Pdu, Role, SessionConfig, ShortMessage, SmResp,
    Text, decode::split_header, encode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, ConnectionEvent, Settings},
    exchange::{AnswerToken, Gate},
};

/// The SMSC's end of the stream.
struct Smsc(DuplexStream);

impl Smsc {
    async fn send(&mut self, pdu: &Pdu, sequence_number: u32) {
        let mut out = BytesMut::new();
        encode(pdu, CommandStatus::ESME_ROK, sequence_number, &mut out).unwrap();
        self.0.write_all(&out).await.unwrap();
    }

    async fn frame(&mut self) -> Header {
        let length = self.0.read_u32().await.unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.resize(usize::try_from(length).unwrap(), 0);
        self.0.read_exact(&mut frame[4..]).await.unwrap();
        split_header(&frame).unwrap().0
    }
}

struct Running {
    smsc: Smsc,
    gate: Gate,
    tokens: mpsc::Receiver<AnswerToken>,
    task: JoinHandle<CloseReason>,
    stop: CancellationToken,
}

async fn bound(event_queue_max: usize, rate_max_per_second: Option<u32>) -> Running {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (gate, mut mailbox) = Gate::new(1000);
    let (events, tokens) = mpsc::channel(event_queue_max);
    let stop = CancellationToken::new();
    let settings = Settings {
        role: Role::Esme,
        session: SessionConfig::default(),
        rate_max_per_second,
        throttle_pause: Duration::from_millis(250),
        drain_timeout: Duration::from_secs(10),
    };
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let wrap = |event| match event {
            ConnectionEvent::Message { token, .. } => Some(token),
            _ => None,
        };
        let mut connection = Connection::new(&settings, &mut mailbox, &events, wrap);
        connection.bind(BindKind::Transceiver, smpp::Bind::default());
        connection.run(ours, None, &stopped).await
    });
    let mut smsc = Smsc(theirs);
    let bind = smsc.frame().await;
    smsc.send(&Pdu::BindResp(BindKind::Transceiver, BindResp::default()), bind.sequence_number).await;
    while !gate.is_bound() {
        tokio::task::yield_now().await;
    }
    Running { smsc, gate, tokens, task, stop }
}

fn message() -> ShortMessage {
    ShortMessage { short_message: Bytes::from_static(b"x"), ..ShortMessage::default() }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_stalls_for_a_second_has_messages_refused_until_it_goes_on() {
    let mut running = bound(1, None).await;
    for sequence_number in 1..=2 {
        running.smsc.send(&Pdu::DeliverSm(message()), sequence_number).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    // One is with the owner, one waits for it, and the socket is not read: this one waits there for a second.
    let since = Instant::now();
    running.smsc.send(&Pdu::DeliverSm(message()), 3).await;
    let refused = running.smsc.frame().await;
    assert_eq!((refused.sequence_number, refused.command_status), (3, CommandStatus::ESME_RTHROTTLED));
    assert!((Duration::from_millis(900)..Duration::from_millis(1100)).contains(&since.elapsed()));
    for _ in 0..2 {
        let token = running.tokens.recv().await.unwrap();
        running.gate.answer(token, CommandStatus::ESME_ROK, Text::EMPTY);
        assert_eq!(running.smsc.frame().await.command_status, CommandStatus::ESME_ROK);
    }
    running.smsc.send(&Pdu::DeliverSm(message()), 4).await;
    let token = running.tokens.recv().await.unwrap();
    running.gate.answer(token, CommandStatus::ESME_ROK, Text::EMPTY);
    assert_eq!(running.smsc.frame().await.sequence_number, 4);
    drop(running.smsc);
    assert_eq!(running.task.await.unwrap(), CloseReason::ConnectionLost);
}

#[tokio::test(start_paused = true)]
async fn the_rate_and_the_pause_after_throttling_hold() {
    let mut running = bound(1, Some(100)).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    for token in 0..201 {
        running.gate.send_with(message(), token, &completions).await.unwrap();
    }
    let since = Instant::now();
    for _ in 0..200 {
        let submit = running.smsc.frame().await;
        running.smsc.send(&Pdu::SubmitSmResp(SmResp::default()), submit.sequence_number).await;
        done.recv().await.unwrap().outcome.unwrap();
    }
    let took = since.elapsed();
    assert!((Duration::from_millis(1850)..Duration::from_millis(2450)).contains(&took), "{took:?}");
    let submit = running.smsc.frame().await;
    let mut out = BytesMut::new();
    encode(&Pdu::SubmitSmResp(SmResp::default()), CommandStatus::ESME_RTHROTTLED, submit.sequence_number, &mut out)
        .unwrap();
    running.smsc.0.write_all(&out).await.unwrap();
    done.recv().await.unwrap().outcome.unwrap_err();
    let since = Instant::now();
    running.gate.send_with(message(), 0, &completions).await.unwrap();
    running.smsc.frame().await;
    assert!(since.elapsed() >= Duration::from_millis(245), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_up_waiting_after_its_time() {
    let mut running = bound(1, None).await;
    let (completions, mut done) = mpsc::unbounded_channel();
    running.gate.send_with(message(), 0, &completions).await.unwrap();
    running.smsc.frame().await;
    let since = Instant::now();
    running.stop.cancel();
    // The response timer and the drain have the same ten seconds; either way the unbind comes then.
    let mut unbind = running.smsc.frame().await;
    while unbind.command_id != CommandId::UNBIND {
        unbind = running.smsc.frame().await;
    }
    assert!((Duration::from_millis(9900)..Duration::from_millis(10_100)).contains(&since.elapsed()));
    running.smsc.send(&Pdu::UnbindResp, unbind.sequence_number).await;
    assert_eq!(running.task.await.unwrap(), CloseReason::Unbound);
    done.recv().await.unwrap().outcome.unwrap_err();
}
