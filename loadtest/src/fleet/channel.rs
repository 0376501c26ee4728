//! A phone's TCP connection for a card that speaks on IP itself: octets both ways, nothing understood.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use mobile::Input;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Chunks that wait in each direction; a station has fewer outputs at a time.
const QUEUE_MAX: usize = 128;
const CHUNK_OCTETS: usize = 2048;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The phone's end of the task; dropped, it closes the connection.
pub(super) struct Channel {
    to_send: mpsc::Sender<Bytes>,
    happened: mpsc::Receiver<Input>,
    _open: DropGuard,
}

impl Channel {
    /// Connects; [`Self::happened`] tells whether that worked.
    pub fn open(to: SocketAddr, stop: CancellationToken) -> Self {
        let (to_send, queued) = mpsc::channel(QUEUE_MAX);
        let (tell, happened) = mpsc::channel(QUEUE_MAX);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = run(to, queued, tell) => {}
                () = stopped.cancelled() => {}
            }
        });
        Self { to_send, happened, _open: stop.drop_guard() }
    }

    /// Octets for the other end. False: it takes no more, and the connection is of no use. One that has ended by itself says so
    /// by [`Self::happened`].
    pub fn send(&self, octets: Bytes) -> bool {
        !matches!(self.to_send.try_send(octets), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// What the station has to be told; `None`: nothing more. Safe to drop.
    pub async fn happened(&mut self) -> Option<Input> {
        self.happened.recv().await
    }
}

async fn run(to: SocketAddr, mut queued: mpsc::Receiver<Bytes>, tell: mpsc::Sender<Input>) {
    let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(to)).await;
    let Ok(Ok(mut stream)) = connected else {
        tell.send(Input::ChannelOpened(false)).await.unwrap_or_default();
        return;
    };
    if tell.send(Input::ChannelOpened(true)).await.is_err() {
        return;
    }
    let mut octets = BytesMut::with_capacity(CHUNK_OCTETS);
    loop {
        tokio::select! {
            chunk = queued.recv() => {
                let Some(chunk) = chunk else { return };
                if stream.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            count = stream.read_buf(&mut octets) => {
                let is_alive = matches!(count, Ok(count) if count > 0);
                if !is_alive || tell.send(Input::ChannelData(octets.split().freeze())).await.is_err() {
                    break;
                }
            }
        }
    }
    tell.send(Input::ChannelClosed).await.unwrap_or_default();
}
