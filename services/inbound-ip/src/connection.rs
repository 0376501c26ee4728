//! One connection of a card: nonce, first frame, then frames both ways until one side ends it.
//!
//! Three loops run side by side in one task: [`read_frames`] verifies what arrives and hands payloads on,
//! [`write_frames`] is the only writer and owns the downlink counter, and the forwarder of [`crate::forward`] gives the
//! payloads to an inbound data processor, one after the other. When it is behind by the window, nothing more is read.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use link::ip::{
    Direction, Frame, Framer, MalformedFrame, NONCE_OCTETS, Nonce, ReceiveCounter, decode_frame, encode_frame,
};
use metrics::counter;
use proto::inbound::{OpenIpLinkRequest, OpenIpLinkResponse, inbound_data_client::InboundDataClient};
use runtime::{
    events::{self, Kind},
    mask::Number,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    Edge,
    forward::{self, Sender, Uplink},
    sessions::{Downlink, Session},
    telemetry,
};

/// Counters that `OpenIpLink` reserves for one connection. When they are used up the connection is closed, and the card
/// connects again.
pub const DOWNLINK_COUNTERS: u32 = 1000;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the card closed it")]
    Closed,
    #[error("closed without TLS close_notify")]
    Cut,
    #[error("nothing arrived in time")]
    Idle,
    #[error("the card takes no octets")]
    Stalled,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("not a frame: {0}")]
    Malformed(#[from] MalformedFrame),
    #[error("wrong tag")]
    WrongTag,
    #[error("the first frame was refused with reason {reason:02X}")]
    Refused { reason: u32 },
    #[error("no inbound data processor opened the link: {0}")]
    NotOpened(String),
    #[error("the downlink counters are used up")]
    CountersUsedUp,
    #[error("a newer connection of the device took its place")]
    Superseded,
    #[error("its device is not the open one of the number any more")]
    Disowned,
    #[error("the service stops")]
    Stopping,
}

impl End {
    /// Label of the counter.
    fn label(&self) -> &'static str {
        match self {
            Self::Closed | Self::Cut => "closed",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Io(_) => "io",
            Self::Malformed(_) => "malformed",
            Self::WrongTag => "wrong_tag",
            Self::Refused { .. } => "refused",
            Self::NotOpened(_) => "not_opened",
            Self::CountersUsedUp => "counters_used_up",
            Self::Superseded => "superseded",
            Self::Disowned => "disowned",
            Self::Stopping => "stopping",
        }
    }
}

/// What the first frame opened.
struct Link {
    nonce: Nonce,
    msisdn: String,
    key: Bytes,
    device_id: i64,
    uplink: ReceiveCounter,
    /// Counters that may be used downwards.
    downlink: Range<u32>,
}

/// Serves a connection to its end.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(edge: &Arc<Edge>, mut stream: S, peer: SocketAddr) {
    counter!(telemetry::CONNECTIONS).increment(1);
    let mut framer = Framer::new();
    let opening = edge.config.opening;
    let opened = tokio::select! {
        opened = timeout(opening, open(edge, &mut stream, &mut framer)) => opened.unwrap_or(Err(End::Idle)),
        () = edge.stop.cancelled() => Err(End::Stopping),
    };
    let end = match opened {
        Ok((link, first)) => run(edge, stream, framer, link, first).await,
        Err(end @ (End::Closed | End::Cut | End::Stopping)) => {
            debug!(%peer, "connection not opened: {end}");
            end
        }
        Err(end) => {
            warn!(%peer, "connection not opened: {end}");
            end
        }
    };
    counter!(telemetry::CLOSED, "reason" => end.label()).increment(1);
}

/// Sends the nonce and has the first frame verified (D-114: the edge holds no keys of its own).
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Edge,
    stream: &mut S,
    framer: &mut Framer,
) -> Result<(Link, Frame), End> {
    let nonce: Nonce = rand::random::<[u8; NONCE_OCTETS]>();
    stream.write_all(&nonce).await?;
    stream.flush().await?;
    let octets = next_frame(stream, framer).await?;
    let frame = decode_frame(octets.clone()).inspect_err(|_| refused("malformed"))?;
    let answer = open_link(edge, &frame.msisdn, &nonce, octets).await?;
    if !answer.accepted {
        refused("first_frame");
        let (msisdn, reason) = (Number(&frame.msisdn), answer.reason);
        events::record(Kind::Refusal, format!("IP link of {msisdn}: first frame refused, reason {reason:02X}"));
        return Err(End::Refused { reason: answer.reason });
    }
    let link = Link {
        nonce,
        msisdn: frame.msisdn.clone(),
        key: answer.key,
        device_id: answer.device_id,
        uplink: ReceiveCounter { highest: answer.uplink_counter },
        // A card that has accepted nothing yet stands at 0, and 0 is not above it.
        downlink: answer.downlink_counter.max(1)..answer.downlink_counter.saturating_add(DOWNLINK_COUNTERS),
    };
    Ok((link, frame))
}

async fn open_link(edge: &Edge, msisdn: &str, nonce: &Nonce, frame: Bytes) -> Result<OpenIpLinkResponse, End> {
    let request = OpenIpLinkRequest { msisdn: msisdn.to_owned(), nonce: Bytes::copy_from_slice(nonce), frame };
    let open = |channel| {
        let request = request.clone();
        async move { InboundDataClient::new(channel).open_ip_link(request).await }
    };
    let answer = edge.inbound_data.call_keyed(rpc::key(msisdn), OPEN_DEADLINE, open).await;
    answer.map_err(|status| End::NotOpened(status.message().to_owned()))
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    edge: &Arc<Edge>,
    stream: S,
    framer: Framer,
    link: Link,
    first: Frame,
) -> End {
    let connection = edge.next_connection.fetch_add(1, Ordering::Relaxed);
    let (downlink, to_write) = mpsc::channel(DOWNLINK_WAITING_MAX);
    let (uplink, to_forward) = mpsc::channel(edge.config.window.max(1));
    let superseded = CancellationToken::new();
    let (device_id, msisdn) = (link.device_id, link.msisdn.clone());
    let sender = Sender { msisdn: msisdn.clone(), device_id, disowned: CancellationToken::new() };
    edge.sessions.open(device_id, Session { connection, downlink: downlink.clone(), superseded: superseded.clone() });
    debug!(msisdn = %Number(&msisdn), connection, "session opened");

    let (reading, writing) = tokio::io::split(stream);
    let (key, nonce, counters) = (link.key.clone(), link.nonce, link.downlink.clone());
    let mut reader = Reader { edge, link, stream: reading, framer, uplink, downlink };
    let mut writer = Writer { edge, key, nonce, msisdn: msisdn.clone(), counters, stream: writing };
    let io = async {
        let end = tokio::select! {
            end = reader.read_frames(first) => end,
            end = writer.write_frames(to_write) => end,
            () = superseded.cancelled() => End::Superseded,
            () = sender.disowned.cancelled() => End::Disowned,
            () = edge.stop.cancelled() => End::Stopping,
        };
        edge.sessions.close(device_id, connection);
        writer.close().await;
        // Ends the forwarder once it has handed over what was received.
        drop(reader);
        end
    };
    let (end, ()) = tokio::join!(io, forward::forward(edge, &sender, to_forward));
    match end {
        End::Closed | End::Cut => debug!(msisdn = %Number(&msisdn), connection, "session closed: {end}"),
        _ => info!(msisdn = %Number(&msisdn), connection, "session closed: {end}"),
    }
    end
}

struct Reader<'a, R> {
    edge: &'a Arc<Edge>,
    link: Link,
    stream: R,
    framer: Framer,
    uplink: mpsc::Sender<Uplink>,
    downlink: mpsc::Sender<Downlink>,
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    async fn read_frames(&mut self, first: Frame) -> End {
        match self.take_frames(first).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn take_frames(&mut self, first: Frame) -> Result<std::convert::Infallible, End> {
        self.take(first).await?;
        let idle = self.edge.config.idle;
        loop {
            let octets = timeout(idle, next_frame(&mut self.stream, &mut self.framer)).await;
            let octets = octets.map_err(|_| End::Idle)??;
            let frame = decode_frame(octets).inspect_err(|_| refused("malformed"))?;
            let mine = frame.msisdn == self.link.msisdn;
            if !mine || !frame.verify(&self.link.key, &self.link.nonce, Direction::Up) {
                refused("wrong_tag");
                let msisdn = Number(&self.link.msisdn);
                events::record(Kind::Refusal, format!("IP link of {msisdn}: wrong tag, connection closed"));
                return Err(End::WrongTag);
            }
            self.take(frame).await?;
        }
    }

    /// A frame with a good tag: an old counter is dropped, an empty payload is answered, the rest goes on.
    async fn take(&mut self, frame: Frame) -> Result<(), End> {
        if !self.link.uplink.accept(frame.counter) {
            refused("old_counter");
            let (msisdn, counter, highest) = (Number(&self.link.msisdn), frame.counter, self.link.uplink.highest);
            let text = format!("IP link of {msisdn}: old counter {counter} (highest {highest}), frame dropped");
            events::record(Kind::Refusal, text);
            return Ok(());
        }
        if frame.payload.is_empty() {
            let answer = Downlink { payload: Bytes::new(), written: None };
            // A full queue writes to the card anyway, which is all that a keep-alive asks for.
            drop(self.downlink.try_send(answer));
            return Ok(());
        }
        counter!(telemetry::MESSAGES).increment(1);
        let (msisdn, octets) = (Number(&self.link.msisdn), frame.payload.len());
        events::record(Kind::Arrival, format!("IP message of {msisdn}, {octets} octets"));
        let uplink = Uplink { counter: frame.counter, payload: frame.payload, arrived: runtime::clock::now() };
        // Waits while the window is full: this is the backpressure.
        self.uplink.send(uplink).await.map_err(|_| End::Stopping)
    }
}

struct Writer<'a, W> {
    edge: &'a Edge,
    key: Bytes,
    nonce: Nonce,
    msisdn: String,
    /// Counters not used yet.
    counters: Range<u32>,
    stream: W,
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    async fn write_frames(&mut self, mut to_write: mpsc::Receiver<Downlink>) -> End {
        let within = self.edge.config.write;
        while let Some(Downlink { payload, written }) = to_write.recv().await {
            if written.as_ref().is_some_and(oneshot::Sender::is_closed) {
                // Whoever pushed it has given up, and pushes it again.
                continue;
            }
            let Some(counter) = self.counters.next() else { return End::CountersUsedUp };
            let frame = encode_frame(&self.key, &self.nonce, &self.msisdn, Direction::Down, counter, &payload);
            let frame = match frame {
                Ok(frame) => frame,
                Err(malformed) => return malformed.into(),
            };
            match timeout(within, self.write(&frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return End::Stalled,
            }
            if written.is_some_and(|written| written.send(()).is_err()) {
                debug!("whoever pushed has given up waiting; the frame is written all the same");
            }
        }
        End::Closed
    }

    async fn write(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(frame).await?;
        self.stream.flush().await
    }

    /// Says goodbye (TLS close_notify, TCP FIN) as far as the peer still listens.
    async fn close(&mut self) {
        if timeout(CLOSE_WITHIN, self.stream.shutdown()).await.is_err() {
            debug!("the card did not take the end of the connection");
        }
    }
}

/// Reads until a frame is complete. Nothing is lost when the future is dropped: octets are in the framer.
async fn next_frame<R: AsyncRead + Unpin>(stream: &mut R, framer: &mut Framer) -> Result<Bytes, End> {
    let mut octets = [0; READ_OCTETS];
    loop {
        if let Some(frame) = framer.next_frame().inspect_err(|_| refused("malformed"))? {
            return Ok(frame);
        }
        let count = match stream.read(&mut octets).await {
            // Only TLS has an end of its own. Phones that lose power or coverage do not send it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(End::Cut),
            other => other?,
        };
        if count == 0 {
            return Err(End::Closed);
        }
        framer.push(octets.get(..count).unwrap_or_default());
    }
}

fn refused(reason: &'static str) {
    counter!(telemetry::FRAMES_REFUSED, "reason" => reason).increment(1);
}

const OPEN_DEADLINE: Duration = Duration::from_secs(5);
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// Frames that may wait to be written; who pushes more waits.
const DOWNLINK_WAITING_MAX: usize = 32;
/// A usual frame is a few hundred octets; a long one takes several reads.
const READ_OCTETS: usize = 1024;
