//! Hands verified payloads to the inbound data processors, one after the other for one card.

use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use proto::inbound::{Address, Bearer, InboundMessage, Outcome};
use runtime::mask::Number;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Edge, telemetry};

/// A payload and the counter of its frame.
pub struct Uplink {
    pub counter: u32,
    pub payload: Bytes,
    /// UTC, microseconds since the epoch.
    pub arrived: i64,
}

/// Whose payloads these are.
pub struct Sender {
    pub msisdn: String,
    /// The device whose key the first frame proved.
    pub device_id: i64,
    /// Told when the centre says that the device is not the number's any more.
    pub disowned: CancellationToken,
}

/// Hands over until the reader is gone and its window empty. The frame itself is never answered: the answer is the
/// acknowledgement that the centre sends to the card (D-114).
pub async fn forward(edge: &Edge, sender: &Sender, mut uplinks: mpsc::Receiver<Uplink>) {
    while let Some(uplink) = uplinks.recv().await {
        let message = message(&edge.config.link, sender, uplink);
        if !hand_over(edge, sender, message).await {
            counter!(telemetry::DROPPED).increment(1);
            warn!(msisdn = %Number(&sender.msisdn), "message dropped after the last attempt; the card repeats it");
        }
    }
}

/// Whether a processor took the message, for good or bad. RETRY and silence are tried again a few times.
async fn hand_over(edge: &Edge, sender: &Sender, message: InboundMessage) -> bool {
    let msisdn = sender.msisdn.as_str();
    let mut pause = edge.config.retry_pause;
    for attempt in 0..=edge.config.retries {
        let answer = edge.ingest.call(rpc::key(msisdn), message.clone()).await;
        let wanted = match answer {
            Ok(result) => match result.outcome() {
                Outcome::Retry | Outcome::Unspecified => Duration::from_millis(result.retry_after_millis.into()),
                outcome => {
                    counter!(telemetry::OUTCOMES, "outcome" => outcome.as_str_name()).increment(1);
                    if outcome == Outcome::Refused {
                        warn!(msisdn = %Number(msisdn), reason = result.reason, "message refused");
                    }
                    if result.close_link {
                        sender.disowned.cancel();
                    }
                    return true;
                }
            },
            Err(_) => Duration::ZERO,
        };
        counter!(telemetry::OUTCOMES, "outcome" => "OUTCOME_RETRY").increment(1);
        if attempt < edge.config.retries {
            tokio::select! {
                () = tokio::time::sleep(pause.max(wanted).min(PAUSE_MAX)) => {}
                () = edge.drained.cancelled() => return false,
            }
            pause = pause.saturating_mul(2);
        }
    }
    false
}

fn message(link: &str, sender: &Sender, uplink: Uplink) -> InboundMessage {
    InboundMessage {
        bearer: Bearer::Ip.into(),
        link: link.to_owned(),
        // The frame carries E.164 in full: TON international, NPI ISDN (D-58).
        originator: Some(Address { ton: 1, npi: 1, digits: sender.msisdn.clone() }),
        payload: uplink.payload,
        reference: Some(uplink.counter.into()),
        device_id: sender.device_id,
        arrived_micros: uplink.arrived,
        trace_id: runtime::TraceId::random().to_vec().into(),
        ..InboundMessage::default()
    }
}

const PAUSE_MAX: Duration = Duration::from_secs(60);
