//! Backup acknowledgements: combined per device, launched, done (SC-OD-06). No row is read on the way.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    delivery::{State, build},
    phonebook::{Bearer, DeviceView},
};

use crate::{
    finisher::Finished,
    holder::Held,
    launcher::{self, Outcome, Target},
    metrics as names,
    processor::{Processor, key},
    securing::Secured,
    taken::Taken,
};

/// Why a device was not read.
enum Missing {
    /// It is gone, and its actions with it.
    Row,
    /// The process stops; the entries stay in the queue.
    Store,
}

impl Processor {
    /// Launches what was held for a device; `channel` is the queue that it came from.
    pub(crate) async fn launch_acknowledgements(self: Arc<Self>, channel: Bearer, held: Held<Taken>) {
        let Some((first, _)) = held.entries.first() else { return };
        let (device, msisdn) = (held.device, first.msisdn);
        let Some(profile) = first.acknowledgement.as_ref().map(|it| it.profile) else { return };
        let channel = self.reach.choose(device, channel, self.now());
        if channel == Bearer::Sms
            && let Some(when) = self.over_budget(device, msisdn).await
        {
            self.postpone_acknowledgements(held, "over the budget of short messages", Some(when)).await;
            return;
        }
        let view = match self.secured_device(&held).await {
            Ok(view) => view,
            Err(Missing::Row) => return self.drop_all(held).await,
            Err(Missing::Store) => return,
        };
        let secured = view.as_ref().and_then(Secured::of);
        let capacity = match self.capacity(secured, channel) {
            Ok(capacity) => capacity,
            Err(fault) => return self.postpone_acknowledgements(held, &fault.to_string(), None).await,
        };
        let acknowledgements = held.entries.iter().filter_map(|(entry, _)| entry.acknowledgement.as_ref());
        let records = acknowledgements.map(|it| it.records.as_ref());
        // A combined message carries every trace that it answers (D-124).
        let mut traces: Vec<Bytes> = held.entries.iter().flat_map(|(entry, _)| entry.traces.iter().cloned()).collect();
        traces.dedup();
        metrics::counter!(names::COMBINED).increment(held.entries.len().saturating_sub(1) as u64);
        for payload in build::acknowledgements(profile, records, capacity.single) {
            let octets = payload.len();
            // It is never launched again by itself, so it may wait for the card as long as the network allows.
            let target = Target { device, msisdn, profile };
            let message = launcher::message(target, payload, false, self.ladder.cap, traces.clone());
            match self.launch_for(channel, secured, message).await {
                Outcome::Accepted(accepted) => {
                    if channel == Bearer::Ip {
                        self.reach.found(device);
                    }
                    let (entries, link) = (held.entries.len(), accepted.link);
                    tracing::debug!(traces = %runtime::Traces(&traces), %msisdn, link, entries, octets, "acknowledgement launched");
                }
                Outcome::Permanent { cause } => {
                    self.fail_acknowledgements(held, &cause).await;
                    return;
                }
                Outcome::NotReachable => {
                    self.reach.missing(device, self.now());
                    let again = self.now().plus(self.config.ip_retry);
                    self.postpone_acknowledgements(held, "no IP session", Some(again)).await;
                    return;
                }
                Outcome::Temporary { cause, .. } | Outcome::Unanswered { cause } => {
                    self.postpone_acknowledgements(held, &cause, None).await;
                    return;
                }
            }
        }
        for (entry, taken) in held.entries {
            self.finish(Finished::Acknowledged { device, id: entry.action, entry: taken }).await;
        }
    }

    /// The device, if its messages were secured when one of these was made; nothing is read for any other.
    async fn secured_device(&self, held: &Held<Taken>) -> Result<Option<DeviceView>, Missing> {
        let Some((entry, _)) = held.entries.iter().find(|(entry, _)| entry.is_secured) else { return Ok(None) };
        let ids = [key(entry)];
        let rows = self.reading(|| self.load(&ids)).await.ok_or(Missing::Store)?;
        rows.into_iter().next().map(|(_, view)| Some(view)).ok_or(Missing::Row)
    }

    async fn drop_all(&self, held: Held<Taken>) {
        for (_, taken) in held.entries {
            self.drop_entry(taken).await;
        }
    }

    /// The rows wait until `until`, or for the next rung of the ladder; the janitor queues them then.
    async fn postpone_acknowledgements(
        &self,
        held: Held<Taken>,
        cause: &str,
        until: Option<domain::identity::Timestamp>,
    ) {
        self.rewrite_acknowledgements(held, |processor, action| match until {
            Some(until) => {
                action.due = until;
                cause.clone_into(&mut action.cause);
            }
            None => {
                processor.ladder.postponed(action, cause, std::time::Duration::ZERO, processor.now());
                // The card asks again by itself (D-36): an acknowledgement does not wait for an operator.
                if action.state == State::Waiting {
                    action.state = State::Failed;
                }
            }
        })
        .await;
    }

    async fn fail_acknowledgements(&self, held: Held<Taken>, cause: &str) {
        let msisdn = held.entries.first().map(|(entry, _)| entry.msisdn);
        tracing::warn!(?msisdn, cause, "an acknowledgement is refused for good");
        self.rewrite_acknowledgements(held, |processor, action| processor.ladder.refused(action, cause)).await;
    }

    /// Reads the rows, changes them, writes them; not the hot path.
    async fn rewrite_acknowledgements(&self, held: Held<Taken>, change: impl Fn(&Self, &mut domain::delivery::Action)) {
        let ids: Vec<_> = held.entries.iter().map(|(entry, _)| key(entry)).collect();
        let Some(mut rows) = self.reading(|| self.load(&ids)).await else { return };
        for (entry, taken) in held.entries {
            let at = rows.iter().position(|(action, _)| action.id == entry.action);
            let Some((action, _)) = at.map(|at| rows.swap_remove(at)) else {
                self.drop_entry(taken).await;
                continue;
            };
            if action.state != State::Queued {
                self.drop_entry(taken).await;
                continue;
            }
            let read = (action.state, action.due);
            let mut changed = action;
            change(self, &mut changed);
            if changed.state == State::Failed {
                self.report(&changed).await;
            }
            self.write_row(changed, read, Some(taken)).await;
        }
    }
}
