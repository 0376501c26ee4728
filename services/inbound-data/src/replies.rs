//! Error messages straight to the launchers, without an action (SC-OC-03, D-115, D-124). Best effort: the card asks again,
//! or the next day does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    identity::{DeviceKey, Msisdn},
    phonebook::{Bearer, Profile},
    security::{Security, counter_floor, packet::Sealed},
};
use proto::outbound::{Launch, LaunchBatch, outbound_channel_client::OutboundChannelClient};
use tokio::{sync::mpsc, time::timeout};

use crate::batch::Processor;

/// Error messages that wait for a launcher.
pub const WAITING_MAX: usize = 1024;
/// Launches of one batch (the contract's limit).
const BATCH_MAX: usize = 64;
/// A launcher that has not answered after this time is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// An error is worth telling for this long.
const VALIDITY_SECONDS: u32 = 3600;

/// Where error messages go, by bearer; `None`: nowhere.
pub struct Launchers {
    pub sms: Option<rpc::Balancer>,
    pub ip: Option<rpc::Balancer>,
}

/// One error message to one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    pub msisdn: Msisdn,
    /// `None`: nobody's number.
    pub device: Option<DeviceKey>,
    pub bearer: Bearer,
    /// How the device's messages are secured, and its ICCID.
    pub security: Option<Box<(Security, String)>>,
    /// In whose layout it is.
    pub profile: Profile,
    pub octets: Vec<u8>,
    pub trace: Bytes,
}

/// Sends until every sender is gone.
pub async fn run(launchers: Launchers, processor: Arc<Processor>, mut waiting: mpsc::Receiver<ErrorMessage>) {
    let mut taken = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut taken, BATCH_MAX).await > 0 {
        for bearer in [Bearer::Sms, Bearer::Ip] {
            let mut launches: Vec<Launch> = Vec::new();
            for error in taken.iter().filter(|error| error.bearer == bearer) {
                match sealed(&processor, error).await {
                    Some(sealed) => launches.push(launch(u64::try_from(launches.len()).unwrap_or(0), error, sealed)),
                    None => processor.metrics.replies_dropped.increment(1),
                }
            }
            if launches.is_empty() {
                continue;
            }
            let count = u64::try_from(launches.len()).unwrap_or(u64::MAX);
            let balancer = match bearer {
                Bearer::Sms => &launchers.sms,
                Bearer::Ip => &launchers.ip,
            };
            if send(balancer.as_ref(), launches).await {
                processor.metrics.replies.increment(count);
            } else {
                processor.metrics.replies_dropped.increment(count);
            }
        }
        taken.clear();
    }
}

/// Whether a launcher answered at all; what it says of each is its own affair.
async fn send(balancer: Option<&rpc::Balancer>, launches: Vec<Launch>) -> bool {
    let Some(balancer) = balancer else { return false };
    let exchange = async {
        // One may be about to connect, as after a start, and the number's error of the day is already claimed.
        balancer.wait_healthy(1).await;
        let gone = || tonic::Status::unavailable("no launcher is healthy");
        let channel = balancer.least_loaded().ok_or_else(gone)?;
        let batch = tokio_stream::once(LaunchBatch { launches });
        let mut results = OutboundChannelClient::new(channel).launch(batch).await?.into_inner();
        results.message().await
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => {
            tracing::warn!(%status, "error messages were not launched");
            false
        }
        Err(_) => false,
    }
}

/// The message as it is for a plain device, and in a packet for any other; `None`: it cannot be made.
async fn sealed(processor: &Processor, error: &ErrorMessage) -> Option<Sealed> {
    let plain = || Sealed { user_data_header: Bytes::new(), payload: error.octets.clone().into() };
    let (Some(secured), Some(device)) = (&error.security, error.device) else { return Some(plain()) };
    let (security, iccid) = secured.as_ref();
    let floor = counter_floor(processor.now());
    let counter = match processor.store.reserve_secured(device, 1, floor).await {
        Ok(counter) => counter,
        Err(cause) => {
            tracing::warn!(msisdn = %error.msisdn, %cause, "an error message has no counter");
            return None;
        }
    };
    match security.seal(&processor.keyring, iccid, error.bearer, counter, &error.octets) {
        // An error message is shorter than one packet holds.
        Ok(sealed) => sealed.into_iter().next(),
        Err(cause) => {
            tracing::error!(msisdn = %error.msisdn, %cause, "an error message cannot be secured");
            None
        }
    }
}

fn launch(id: u64, error: &ErrorMessage, sealed: Sealed) -> Launch {
    Launch {
        id,
        subscriber_id: error.device.map_or(0, |device| device.subscriber.0),
        device_id: error.device.map_or(0, |device| device.device.0),
        msisdn: error.msisdn.digits(),
        user_data_header: sealed.user_data_header,
        payload: sealed.payload,
        protocol_id: protocol_id(error).into(),
        data_coding: sms::MT_DATA_CODING.0.into(),
        registered_delivery: false,
        validity_seconds: VALIDITY_SECONDS,
        trace_ids: if error.trace.len() == 16 { vec![error.trace.clone()] } else { Vec::new() },
        priority: 0,
    }
}

/// TP-PID (D-59): E1 and E3 find their messages in EF_SMS, unless they are secured packets (D-120).
fn protocol_id(error: &ErrorMessage) -> u8 {
    match error.profile {
        Profile::E1 | Profile::E3 if error.security.is_none() => sms::PID_SHORT_MESSAGE.0,
        Profile::E1 | Profile::E2 | Profile::E3 => sms::PID_SIM_DATA_DOWNLOAD.0,
    }
}
