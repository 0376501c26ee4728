//! The card's way to the centre: what the backup applet gives goes over the IP link, what comes back reaches the applet.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::VirtualCard;
use crate::{
    fleet::{IpLink, Subscription},
    ip_phone::{Counters, LinkAddress},
};

/// Where the card is backed up, and as whose.
#[derive(Clone, Debug)]
pub struct Centre {
    /// `HOST:PORT` of the centre's IP link.
    pub address: String,
    /// PEM file of the authority that signed the centre's certificate; none: plain TCP.
    pub authority: Option<PathBuf>,
    pub subscription: Subscription,
    /// Seconds of the card's clock in one of ours, at least 1.
    pub speed: u32,
}

/// Until the applet has asked for another (D-34).
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Centre {
    async fn link_address(&self) -> anyhow::Result<LinkAddress> {
        let name = || format!("the centre {}", self.address);
        let mut found = tokio::net::lookup_host(&self.address).await.with_context(name)?;
        let address: SocketAddr = found.next().with_context(|| format!("{} has no address", name()))?;
        let tls = match &self.authority {
            None => None,
            Some(path) => {
                net::tls::install_provider();
                let config = net::tls::client_config(&net::tls::read_pem(path)?, None)?;
                let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
                Some((config, ServerName::try_from(host.to_owned()).with_context(name)?))
            }
        };
        Ok(LinkAddress { address, tls })
    }
}

/// Backs the card up for as long as it is polled: the applet has its status events, and its messages are carried.
///
/// # Errors
/// The centre's address is none, or its authority cannot be read.
pub async fn back_up(centre: &Centre, card: &Arc<VirtualCard>, stop: &CancellationToken) -> anyhow::Result<()> {
    let address = centre.link_address().await?;
    info!("backed up at {}", centre.address);
    let mut link = IpLink::start(address, &centre.subscription, first_counters(), stop.child_token());
    let mut interval = POLL_INTERVAL;
    let mut next = tokio::time::Instant::now();
    loop {
        card.with(|card| {
            while let Some(payload) = card.next_ip_payload() {
                link.send(payload);
            }
        });
        tokio::select! {
            () = tokio::time::sleep_until(next) => {
                interval = card.with(|card| card.run_applet()).unwrap_or(interval);
                next = tokio::time::Instant::now() + interval / centre.speed.max(1);
            }
            () = card.changed() => {}
            payload = link.receive() => match payload {
                Some(payload) => card.with(|card| card.ip_received(&payload)),
                None => return Ok(()),
            },
        }
    }
}

/// The centre refuses a counter that it has seen (D-114), and this card keeps nothing when it ends: the seconds since 1970 are
/// higher than any counter of an earlier run that sent less than a frame a second.
fn first_counters() -> Counters {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Counters { up: u32::try_from(seconds).unwrap_or(u32::MAX / 2), down: 0 }
}
