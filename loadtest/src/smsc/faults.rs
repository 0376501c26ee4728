//! What the simulated network does wrong, each as a probability from 0 to 1.

use std::time::Duration;

use rand::{Rng, RngExt};
use smpp::CommandStatus;

/// Faults on the way between phone and centre, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Leg {
    /// The message vanishes, and nobody is told.
    pub loss: f64,
    /// The message arrives twice.
    pub duplication: f64,
    /// The message is held back so that later ones overtake it ...
    pub reordering: f64,
    /// ... for a time up to this.
    pub reordering_delay_max: Duration,
    /// Every message takes so much longer.
    pub delay: Duration,
}

/// Faults of one number, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    pub mobile_originated: Leg,
    pub mobile_terminated: Leg,
    /// `submit_sm` answered `ESME_RTHROTTLED`.
    pub throttled: f64,
    /// `submit_sm` answered `ESME_RMSGQFUL`.
    pub queue_full: f64,
    /// `submit_sm` answered with [`Self::permanent_status`].
    pub permanent: f64,
    /// Default `ESME_RINVDSTADR` when zero.
    pub permanent_status: CommandStatus,
}

/// What happens to one message on a leg.
pub(super) struct Fate {
    pub lost: bool,
    pub duplicated: bool,
    pub delay: Duration,
}

impl Leg {
    pub(super) fn fate(&self, rng: &mut impl Rng) -> Fate {
        let held = happens(self.reordering, rng);
        let extra = if held { self.reordering_delay_max.mul_f64(rng.random::<f64>()) } else { Duration::ZERO };
        Fate { lost: happens(self.loss, rng), duplicated: happens(self.duplication, rng), delay: self.delay + extra }
    }
}

impl Faults {
    /// The answer to a `submit_sm`.
    pub(super) fn submit_status(&self, rng: &mut impl Rng) -> CommandStatus {
        if happens(self.throttled, rng) {
            CommandStatus::ESME_RTHROTTLED
        } else if happens(self.queue_full, rng) {
            CommandStatus::ESME_RMSGQFUL
        } else if !happens(self.permanent, rng) {
            CommandStatus::ESME_ROK
        } else if self.permanent_status.is_ok() {
            CommandStatus::ESME_RINVDSTADR
        } else {
            self.permanent_status
        }
    }
}

fn happens(probability: f64, rng: &mut impl Rng) -> bool {
    probability > 0.0 && rng.random::<f64>() < probability
}
