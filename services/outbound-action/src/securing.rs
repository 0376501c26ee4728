//! Messages of devices that must be secured (D-08, D-120): a new counter, a packet, one or two launches.
//!
//! The counter is reserved in the store before anything leaves, so none is used twice whatever dies when. Cards are strict:
//! of two messages that overtake one another the lower counter is refused, so one device's go one after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    identity::DeviceKey,
    phonebook::{Bearer, DeviceView},
    security::{
        KeyFault, Security, counter_floor,
        packet::{NotSealed, Sealed},
    },
};
use proto::outbound::Launch;
use secured::bearer::Capacity;
use tokio::sync::OwnedMutexGuard;

use crate::{launcher::Outcome, metrics as names, processor::Processor};

/// The setting of a device whose messages are secured.
#[derive(Clone, Copy)]
pub(crate) struct Secured<'a> {
    pub device: DeviceKey,
    pub iccid: &'a str,
    pub security: &'a Security,
}

impl<'a> Secured<'a> {
    /// `None`: the device's messages are plain.
    pub fn of(view: &'a DeviceView) -> Option<Self> {
        let security = view.state.required_security()?;
        Some(Self { device: view.device.key, iccid: &view.device.iccid, security })
    }
}

impl Processor {
    /// Application data that a message takes.
    pub(crate) fn capacity(&self, secured: Option<Secured<'_>>, channel: Bearer) -> Result<Capacity, KeyFault> {
        match secured {
            None => Ok(domain::delivery::build::plain(channel)),
            Some(Secured { iccid, security, .. }) => security.capacity(&self.keyring, iccid, channel),
        }
    }

    /// Launches a message, in a packet if the device wants it. Of two parts the first that is not accepted decides: all of
    /// it is launched again then, under another counter.
    pub(crate) async fn launch_for(&self, channel: Bearer, secured: Option<Secured<'_>>, message: Launch) -> Outcome {
        let Some(secured) = secured else { return self.launchers.launch(channel, message).await };
        let _turn = self.turns.take(secured.device).await;
        let parts = match self.seal(channel, secured, &message).await {
            Ok(parts) => parts,
            Err(outcome) => return outcome,
        };
        metrics::counter!(names::SECURED, "channel" => names::channel(channel)).increment(1);
        let mut outcome = Outcome::Permanent { cause: "a packet of no parts".to_owned() };
        let mut left = parts.len();
        for Sealed { user_data_header, payload } in parts {
            left -= 1;
            // The network's receipt for the last part is the message's.
            let registered_delivery = message.registered_delivery && left == 0;
            // Straight to the card's application, whatever its profile (D-120).
            let protocol_id = sms::PID_SIM_DATA_DOWNLOAD.0.into();
            let part = Launch { user_data_header, payload, registered_delivery, protocol_id, ..message.clone() };
            outcome = self.launchers.launch(channel, part).await;
            if !matches!(outcome, Outcome::Accepted(_)) {
                break;
            }
        }
        outcome
    }

    async fn seal(
        &self,
        channel: Bearer,
        Secured { device, iccid, security }: Secured<'_>,
        message: &Launch,
    ) -> Result<Vec<Sealed>, Outcome> {
        let later = |cause: String| Outcome::Temporary { cause, after: Duration::ZERO };
        let reserved = self.store.reserve_secured(device, 1, counter_floor(self.now())).await;
        let counter = reserved.map_err(|error| later(format!("no counter for a secured packet: {error}")))?;
        security.seal(&self.keyring, iccid, channel, counter, &message.payload).map_err(|error| match error {
            NotSealed::Keys(_) => later(error.to_string()),
            NotSealed::TooLong { .. } => Outcome::Permanent { cause: error.to_string() },
        })
    }
}

/// Whose secured message is being launched.
#[derive(Default)]
pub(crate) struct Turns {
    turns: Mutex<HashMap<DeviceKey, Arc<tokio::sync::Mutex<()>>>>,
}

/// Devices remembered before those without a launch are forgotten.
const TURNS_MAX: usize = 1024;

impl Turns {
    /// Waits until no other message of this device is being launched here.
    async fn take(&self, device: DeviceKey) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() >= TURNS_MAX {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(device).or_default())
        };
        turn.lock_owned().await
    }
}
