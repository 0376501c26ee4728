//! The phone's side of the IP link: it speaks the frame of D-58 for its card, which only gives and takes payloads.
//!
//! The counters belong to the card: they go in when the connection is made, come out with [`LinkClient::counters`], and
//! must be kept over connections, for the centre refuses a counter that it has seen (D-114).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use link::ip::{Direction, Framer, MalformedFrame, NONCE_OCTETS, Nonce, ReceiveCounter, decode_frame, encode_frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};

/// Where the centre listens for cards.
#[derive(Clone)]
pub struct LinkAddress {
    pub address: SocketAddr,
    /// Whom to trust and the name that the certificate must carry; none: plain TCP.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Whose frames these are.
#[derive(Clone)]
pub struct LinkCard {
    /// E.164 digits.
    pub msisdn: String,
    /// Device key.
    pub key: Vec<u8>,
}

/// The last counter sent and the highest accepted; both 0 on a new card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub up: u32,
    pub down: u32,
}

/// Why the link is of no use any more: connect again.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the centre closed the connection")]
    Closed,
    #[error("the centre does not answer")]
    TimedOut,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("not a frame: {0}")]
    Malformed(#[from] MalformedFrame),
    #[error("a frame with a wrong tag")]
    WrongTag,
    #[error("the counter towards the centre is used up")]
    CounterUsedUp,
}

/// An open connection of one card.
pub struct LinkClient {
    stream: Box<dyn Stream>,
    card: LinkCard,
    nonce: Nonce,
    framer: Framer,
    up: u32,
    down: ReceiveCounter,
}

impl LinkClient {
    /// Connects and takes the centre's nonce. Nothing is sent yet: the first [`Self::send`] makes the card known, an
    /// empty payload will do.
    ///
    /// # Errors
    /// [`LinkError`] when the centre cannot be reached, or its certificate is not trusted.
    pub async fn connect(to: &LinkAddress, card: LinkCard, counters: Counters) -> Result<Self, LinkError> {
        let connected = tokio::time::timeout(CONNECT_WITHIN, async {
            let mut stream = open(to).await?;
            let mut nonce = [0; NONCE_OCTETS];
            stream.read_exact(&mut nonce).await?;
            Ok::<_, std::io::Error>((stream, nonce))
        });
        let (stream, nonce) = connected.await.map_err(|_| LinkError::TimedOut)??;
        let down = ReceiveCounter { highest: counters.down };
        Ok(Self { stream, card, nonce, framer: Framer::new(), up: counters.up, down })
    }

    /// Sends a payload of at most 4096 octets; an empty one is a keep-alive. Not to be dropped half way.
    ///
    /// # Errors
    /// [`LinkError`]; the counter has moved on all the same.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        self.up = self.up.checked_add(1).ok_or(LinkError::CounterUsedUp)?;
        let LinkCard { msisdn, key } = &self.card;
        let frame = encode_frame(key, &self.nonce, msisdn, Direction::Up, self.up, payload)?;
        self.stream.write_all(&frame).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next payload from the centre; empty: the answer to a keep-alive. Frames with an old counter are passed over.
    /// May be dropped at any time without losing octets.
    ///
    /// # Errors
    /// [`LinkError`] when the connection ended or a frame is not the centre's.
    pub async fn receive(&mut self) -> Result<Bytes, LinkError> {
        let mut octets = [0; 2048];
        loop {
            while let Some(frame) = self.framer.next_frame()? {
                let frame = decode_frame(frame)?;
                let for_me = frame.msisdn == self.card.msisdn;
                if !for_me || !frame.verify(&self.card.key, &self.nonce, Direction::Down) {
                    return Err(LinkError::WrongTag);
                }
                if self.down.accept(frame.counter) {
                    return Ok(frame.payload);
                }
            }
            let count = self.stream.read(&mut octets).await?;
            if count == 0 {
                return Err(LinkError::Closed);
            }
            self.framer.push(octets.get(..count).unwrap_or_default());
        }
    }

    /// To be kept with the card.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { up: self.up, down: self.down.highest }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn open(to: &LinkAddress) -> std::io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(to.address).await?;
    stream.set_nodelay(true)?;
    Ok(match &to.tls {
        None => Box::new(stream),
        Some((config, name)) => Box::new(TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?),
    })
}

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const KEY: &[u8] = b"key of the device";
    const MSISDN: &str = "447700900123";

    /// A centre that sends these frames (direction, counter, payload) and then reads one.
    async fn against(frames: Vec<(Direction, u32, &'static [u8])>) -> (LinkClient, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let centre = tokio::spawn(async move {
            let nonce = [7; NONCE_OCTETS];
            let (mut stream, _) = listener.accept().await.expect("connection");
            stream.write_all(&nonce).await.expect("written");
            for (direction, counter, payload) in frames {
                let frame = encode_frame(KEY, &nonce, MSISDN, direction, counter, payload).expect("legal");
                stream.write_all(&frame).await.expect("written");
            }
            let mut octets = vec![0; 2 + 1 + 1 + 12 + 4 + 8 + 5];
            stream.read_exact(&mut octets).await.expect("frame");
            octets
        });
        let card = LinkCard { msisdn: MSISDN.to_owned(), key: KEY.to_vec() };
        let to = LinkAddress { address, tls: None };
        let client = LinkClient::connect(&to, card, Counters { up: 41, down: 5 }).await.expect("connected");
        (client, centre)
    }

    #[tokio::test]
    async fn counters_are_the_cards_and_old_frames_are_passed_over() {
        let (mut client, centre) =
            against(vec![(Direction::Down, 5, b"old"), (Direction::Down, 6, b""), (Direction::Down, 9, b"new")]).await;
        assert_eq!(client.receive().await.expect("keep-alive"), "");
        assert_eq!(client.receive().await.expect("payload"), "new");
        client.send(b"hello").await.expect("sent");
        let expected = encode_frame(KEY, &[7; NONCE_OCTETS], MSISDN, Direction::Up, 42, b"hello").expect("legal");
        assert_eq!(centre.await.expect("centre"), expected);
        assert_eq!(client.counters(), Counters { up: 42, down: 9 });
        assert!(matches!(client.receive().await, Err(LinkError::Closed)));
    }

    #[tokio::test]
    async fn a_reflected_frame_is_refused() {
        let (mut client, centre) = against(vec![(Direction::Up, 6, b"reflected")]).await;
        assert!(matches!(client.receive().await, Err(LinkError::WrongTag)));
        centre.abort();
    }
}
