//! A phone's IP link: a task that stays connected and opens the connection again when it breaks or when its card has a
//! new address of the centre (CID 0x03).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Subscription;
use crate::ip_phone::{Counters, LinkAddress, LinkCard, LinkClient, LinkError};

/// Payloads that wait for a connection; the card repeats what is dropped (D-36).
const QUEUE_MAX: usize = 64;
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(60);

/// The phone's end of the task.
pub(crate) struct IpLink {
    address: watch::Sender<SocketAddr>,
    to_send: mpsc::Sender<Bytes>,
    received: mpsc::Receiver<Bytes>,
}

impl IpLink {
    /// Connects to `at` now and stays connected until `stop`. `counters`: the card's last ones.
    pub fn start(at: LinkAddress, subscription: &Subscription, counters: Counters, stop: CancellationToken) -> Self {
        let card = LinkCard { msisdn: subscription.msisdn.clone(), key: subscription.ip_key.clone() };
        let (to_send, queued) = mpsc::channel(QUEUE_MAX);
        let (arrived, received) = mpsc::channel(QUEUE_MAX);
        let (address, moved) = watch::channel(at.address);
        tokio::spawn(async move {
            let mut task = Task { at, moved, card, counters, queued, arrived };
            tokio::select! {
                () = task.run() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { address, to_send, received }
    }

    /// The connection moves there, unless it is there already. Nothing that waits to be sent is lost.
    pub fn move_to(&self, address: SocketAddr) {
        self.address.send_if_modified(|present| std::mem::replace(present, address) != address);
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
    at: LinkAddress,
    moved: watch::Receiver<SocketAddr>,
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
            self.at.address = *self.moved.borrow_and_update();
            if let Ok(mut client) = LinkClient::connect(&self.at, self.card.clone(), self.counters).await {
                let ended = self.serve(&mut client).await;
                self.counters = client.counters();
                match ended {
                    Ok(End::PhoneGone) => return,
                    Ok(End::Moved) => continue,
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
                Ok(()) = self.moved.changed() => {}
            }
        }
    }

    /// Until the connection breaks (an error), the phone is gone, or the centre's address is another.
    async fn serve(&mut self, client: &mut LinkClient) -> Result<End, LinkError> {
        // The first frame makes the card known, so that the centre can push.
        client.send(&[]).await?;
        loop {
            tokio::select! {
                payload = self.queued.recv() => match payload {
                    Some(payload) => client.send(&payload).await?,
                    None => return Ok(End::PhoneGone),
                },
                payload = client.receive() => {
                    let payload = payload?;
                    if !payload.is_empty() && self.arrived.send(payload).await.is_err() {
                        return Ok(End::PhoneGone);
                    }
                }
                Ok(()) = self.moved.changed() => {
                    // What was handed over before the move still goes the old way.
                    while let Ok(payload) = self.queued.try_recv() {
                        client.send(&payload).await?;
                    }
                    return Ok(End::Moved);
                }
                () = tokio::time::sleep(KEEP_ALIVE_EVERY) => client.send(&[]).await?,
            }
        }
    }
}

/// Why a connection that works is left.
enum End {
    PhoneGone,
    Moved,
}
