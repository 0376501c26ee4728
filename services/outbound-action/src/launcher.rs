//! Hands messages to the channel launchers, one stack per bearer (SC-AR-09): there is no way from one to the other.

use std::{sync::Arc, time::Duration};

use domain::{
    identity::{DeviceKey, Msisdn},
    phonebook::{Bearer, Profile},
};
use proto::outbound::{Accepted, Launch, launch_result};
use rpc::stream::{BatchClient, BatchClientConfig};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics as names;

/// What a launcher answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Accepted(Accepted),
    Temporary {
        cause: String,
        after: Duration,
    },
    /// The device has no IP session (D-69).
    NotReachable,
    Permanent {
        cause: String,
    },
    /// No answer: it may have left or not.
    Unanswered {
        cause: String,
    },
}

/// The launchers of one bearer.
#[async_trait::async_trait]
pub trait Stack: Send + Sync {
    async fn launch(&self, message: Launch) -> Outcome;
}

/// One stack per bearer; `None`: none is configured.
pub struct Launchers {
    pub sms: Option<Arc<dyn Stack>>,
    pub ip: Option<Arc<dyn Stack>>,
    /// How long a refused message is tried again here.
    pub patience: Duration,
    pub stop: CancellationToken,
}

/// First wait after a refusal; doubled each time.
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_CAP: Duration = Duration::from_secs(3);

/// The launchers at these endpoints; `None` when there are none. A message that a lost launcher may have sent is given to no
/// other one when `streams.once` says so.
///
/// # Errors
/// An endpoint that is none, or a TLS file that cannot be used.
pub fn stack(
    endpoints: &rpc::EndpointsConfig,
    streams: &BatchClientConfig,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<dyn Stack>>> {
    if endpoints.endpoints.is_empty() {
        return Ok(None);
    }
    let balancer = rpc::Balancer::new(endpoints.clone(), stop.clone())?;
    Ok(Some(Arc::new(BatchClient::<rpc::stream::Launch>::new(&balancer, streams.clone(), stop.clone()))))
}

#[async_trait::async_trait]
impl Stack for BatchClient<rpc::stream::Launch> {
    async fn launch(&self, message: Launch) -> Outcome {
        let key = rpc::key(&message.msisdn);
        let result = match self.call(key, message).await {
            Ok(result) => result,
            Err(unanswered) => return Outcome::Unanswered { cause: unanswered.to_string() },
        };
        match result.outcome {
            Some(launch_result::Outcome::Accepted(accepted)) => Outcome::Accepted(accepted),
            Some(launch_result::Outcome::Temporary(refusal)) if refusal.not_reachable => Outcome::NotReachable,
            Some(launch_result::Outcome::Temporary(refusal)) => {
                let after = Duration::from_millis(refusal.after_millis.into());
                Outcome::Temporary { cause: refusal.cause, after }
            }
            Some(launch_result::Outcome::Permanent(refusal)) => Outcome::Permanent { cause: refusal.cause },
            Some(launch_result::Outcome::Unknown(unknown)) => Outcome::Unanswered { cause: unknown.cause },
            None => Outcome::Unanswered { cause: "the launcher's answer has no outcome".to_owned() },
        }
    }
}

impl Launchers {
    /// Launches, and again with growing, jittered waits while the launcher says "later" and patience lasts.
    pub async fn launch(&self, channel: Bearer, message: Launch) -> Outcome {
        let Some(stack) = (match channel {
            Bearer::Sms => &self.sms,
            Bearer::Ip => &self.ip,
        }) else {
            let cause = format!("no launcher of channel {} is configured", names::channel(channel));
            return Outcome::Temporary { cause, after: Duration::ZERO };
        };
        let began = Instant::now();
        let mut wait = WAIT_FIRST;
        loop {
            let outcome = stack.launch(message.clone()).await;
            count(channel, &outcome);
            let Outcome::Temporary { after, .. } = &outcome else { return outcome };
            let pause = jittered(wait.max(*after));
            if began.elapsed() + pause > self.patience || self.stop.is_cancelled() {
                return outcome;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return outcome,
            }
            wait = (wait * 2).min(WAIT_CAP);
        }
    }
}

/// Between 75 % and 125 %, so that what was refused together does not come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}

fn count(channel: Bearer, outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Temporary { .. } => "temporary",
        Outcome::NotReachable => "not_reachable",
        Outcome::Permanent { .. } => "permanent",
        Outcome::Unanswered { .. } => "unanswered",
    };
    metrics::counter!(names::LAUNCHES, "channel" => names::channel(channel), "outcome" => outcome).increment(1);
}

/// TP-DCS of 8-bit data, class 2 (D-59).
const DATA_CODING: u32 = sms::MT_DATA_CODING.0 as u32;

/// TP-DCS of 8-bit data, class 1: for the phone itself.
const PHONE_DATA_CODING: u32 = sms::MT_DATA_CODING_CLASS_1.0 as u32;

/// The card that a message is for.
pub struct Target {
    pub device: DeviceKey,
    pub msisdn: Msisdn,
    pub profile: Profile,
}

/// A message for a card. `receipt`: ask for a delivery receipt (D-117: ordered actions only).
pub fn message(
    Target { device, msisdn, profile }: Target,
    payload: Vec<u8>,
    receipt: bool,
    validity: Duration,
    trace_ids: Vec<bytes::Bytes>,
) -> Launch {
    Launch {
        id: 0,
        subscriber_id: device.subscriber.0,
        device_id: device.device.0,
        msisdn: msisdn.digits(),
        user_data_header: bytes::Bytes::new(),
        payload: payload.into(),
        protocol_id: protocol_id(profile).into(),
        data_coding: DATA_CODING,
        registered_delivery: receipt,
        validity_seconds: u32::try_from(validity.as_secs()).unwrap_or(u32::MAX),
        trace_ids,
        priority: 0,
    }
}

/// A plain message of a transfer is for the software of the phone, not for its card (D-59).
pub fn to_the_phone(message: &mut Launch) {
    message.protocol_id = sms::PID_SHORT_MESSAGE.0.into();
    message.data_coding = PHONE_DATA_CODING;
}

/// TP-PID (D-59): a card of the second embodiment takes the message straight to its application, the others find it in
/// EF_SMS.
fn protocol_id(profile: Profile) -> u8 {
    match profile {
        Profile::E2 => sms::PID_SIM_DATA_DOWNLOAD.0,
        Profile::E1 | Profile::E3 => sms::PID_SHORT_MESSAGE.0,
    }
}
