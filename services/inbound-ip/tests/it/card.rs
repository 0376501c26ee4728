//! A card's end of a connection that can misbehave: raw octets, any counter, any key.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use link::ip::{Direction, Frame, Framer, Nonce, decode_frame, encode_frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub struct Card<S = TcpStream> {
    pub stream: S,
    pub nonce: Nonce,
    pub msisdn: String,
    pub key: Vec<u8>,
    /// Of the next frame.
    pub counter: u32,
    framer: Framer,
}

impl Card {
    pub async fn connect(edge: SocketAddr, msisdn: String, key: Vec<u8>) -> Self {
        let stream = TcpStream::connect(edge).await.expect("connected");
        Self::on(stream, msisdn, key).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Card<S> {
    /// Takes the nonce that the edge sends.
    pub async fn on(mut stream: S, msisdn: String, key: Vec<u8>) -> Self {
        let mut nonce = [0; 16];
        within(stream.read_exact(&mut nonce)).await.expect("nonce");
        Self { stream, nonce, msisdn, key, counter: 1, framer: Framer::new() }
    }

    pub fn frame(&self, counter: u32, payload: &[u8]) -> Vec<u8> {
        encode_frame(&self.key, &self.nonce, &self.msisdn, Direction::Up, counter, payload).expect("legal")
    }

    pub async fn send(&mut self, payload: &[u8]) {
        let frame = self.frame(self.counter, payload);
        self.counter += 1;
        self.write(&frame).await;
    }

    pub async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("written");
        self.stream.flush().await.expect("written");
    }

    /// The next frame, its tag verified; `None` when the edge closed the connection.
    pub async fn receive(&mut self) -> Option<Frame> {
        within(async {
            let mut octets = [0; 512];
            loop {
                if let Some(frame) = self.framer.next_frame().expect("a frame") {
                    let frame = decode_frame(frame).expect("a frame");
                    assert!(frame.verify(&self.key, &self.nonce, Direction::Down), "wrong tag");
                    return Some(frame);
                }
                match self.stream.read(&mut octets).await {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => self.framer.push(&octets[..count]),
                }
            }
        })
        .await
    }

    /// Waits for the edge to close the connection without another frame.
    pub async fn closed(&mut self) {
        assert!(self.receive().await.is_none(), "a frame instead of the end of the connection");
    }

    /// An empty frame comes back for an empty frame: the connection lives.
    pub async fn alive(&mut self) {
        self.send(b"").await;
        let answer = self.receive().await.expect("a live connection");
        assert_eq!(answer.payload, Bytes::new());
    }
}

/// Nothing in these tests takes long; what hangs fails.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("in time")
}
