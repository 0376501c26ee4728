//! The card's end of a virtual reader's link: vsmartcard's vpcd, or whatever speaks as it does (`uicc::vpcd`).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing::{info, warn};
use uicc::vpcd::{Framer, frame};

use super::VirtualCard;

/// Who opens the connection.
#[derive(Clone, Debug)]
pub enum Reader {
    /// The card: the reader listens there. `HOST:PORT`.
    Connect(String),
    /// The reader: the card listens here. `HOST:PORT`.
    Listen(String),
}

/// Before the first new attempt; doubled until [`RETRY_AT_MOST`].
const RETRY_AFTER: Duration = Duration::from_millis(250);
const RETRY_AT_MOST: Duration = Duration::from_secs(8);

/// Serves readers, one at a time, for as long as it is polled.
///
/// # Errors
/// Only when the card cannot listen where it was told to.
pub async fn serve(reader: &Reader, card: &Arc<VirtualCard>) -> std::io::Result<()> {
    match reader {
        Reader::Connect(address) => {
            connect(address, card).await;
            Ok(())
        }
        Reader::Listen(address) => listen(address, card).await,
    }
}

async fn connect(address: &str, card: &VirtualCard) {
    let mut pause = RETRY_AFTER;
    let mut is_told = false;
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                info!("in the reader at {address}");
                let ended = talk(stream, card).await;
                (pause, is_told) = (RETRY_AFTER, false);
                info!("the reader at {address} {}; trying again", Told(&ended));
            }
            Err(error) if !is_told => {
                is_told = true;
                warn!("no reader at {address}: {error}; trying again until there is one");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_AT_MOST);
    }
}

async fn listen(address: &str, card: &VirtualCard) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let own: SocketAddr = listener.local_addr()?;
    info!("waiting for a reader on {own}");
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                info!("in the reader at {from}");
                let ended = talk(stream, card).await;
                info!("the reader at {from} {}", Told(&ended));
            }
            // The connection was gone before it was taken, or no file is free: the next may work.
            Err(error) => {
                warn!("a reader could not connect: {error}");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// Answers the reader until the connection ends.
async fn talk(stream: TcpStream, card: &VirtualCard) -> std::io::Result<()> {
    let ended = answer_all(stream, card).await;
    card.taken_out();
    ended
}

async fn answer_all(mut stream: TcpStream, card: &VirtualCard) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut framer = Framer::default();
    let mut octets = [0; 1024];
    loop {
        // The reader sends the length and the rest apart, and without this its kernel keeps the rest back until ours has
        // acknowledged the length, which takes 40 ms.
        stream.set_quickack(true)?;
        let count = stream.read(&mut octets).await?;
        if count == 0 {
            return Ok(());
        }
        framer.push(octets.get(..count).unwrap_or_default());
        while let Some(request) = framer.next_request() {
            if let Some(answer) = card.answer(&request) {
                stream.write_all(&frame(&answer)).await?;
            }
        }
    }
}

/// How a connection ended, for a line of the log.
struct Told<'a>(&'a std::io::Result<()>);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Ok(()) => f.write_str("has closed the connection"),
            Err(error) => write!(f, "is gone: {error}"),
        }
    }
}
