//! A phone's IP link: a task that stays connected and opens the connection again when it breaks.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Subscription;
use crate::ip_phone::{Counters, LinkAddress, LinkCard, LinkClient, LinkError};

/// Payloads that wait for a connection; the card repeats what is dropped (D-36).
const QUEUE_MAX: usize = 64;
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(60);

/// The phone's end of the task.
pub(super) struct IpLink {
    to_send: mpsc::Sender<Bytes>,
    received: mpsc::Receiver<Bytes>,
}

impl IpLink {
    /// Connects now and stays connected until `stop`.
    pub fn start(address: LinkAddress, subscription: &Subscription, stop: CancellationToken) -> Self {
        let card = LinkCard { msisdn: subscription.msisdn.clone(), key: subscription.ip_key.clone() };
        let (to_send, queued) = mpsc::channel(QUEUE_MAX);
        let (arrived, received) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(async move {
            let mut task = Task { address, card, counters: Counters::default(), queued, arrived };
            tokio::select! {
                () = task.run() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { to_send, received }
    }

    /// A full queue drops the payload.
    pub fn send(&self, payload: Bytes) {
        self.to_send.try_send(payload).ok();
    }

    /// The next payload from the centre. Safe to drop.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.received.recv().await
    }
}

struct Task {
    address: LinkAddress,
    card: LinkCard,
    /// Kept over connections, as on the card.
    counters: Counters,
    queued: mpsc::Receiver<Bytes>,
    arrived: mpsc::Sender<Bytes>,
}

impl Task {
    /// Ends when the phone is gone.
    async fn run(&mut self) {
        while !self.arrived.is_closed() {
            if let Ok(mut client) = LinkClient::connect(&self.address, self.card.clone(), self.counters).await {
                let ended = self.serve(&mut client).await;
                self.counters = client.counters();
                if ended.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    /// Until the connection breaks (an error) or the phone is gone.
    async fn serve(&mut self, client: &mut LinkClient) -> Result<(), LinkError> {
        // The first frame makes the card known, so that the centre can push.
        client.send(&[]).await?;
        loop {
            tokio::select! {
                payload = self.queued.recv() => match payload {
                    Some(payload) => client.send(&payload).await?,
                    None => return Ok(()),
                },
                payload = client.receive() => {
                    let payload = payload?;
                    if !payload.is_empty() && self.arrived.send(payload).await.is_err() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(KEEP_ALIVE_EVERY) => client.send(&[]).await?,
            }
        }
    }
}
