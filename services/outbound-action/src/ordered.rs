//! Restore, addressable restore, configuration and control: in order per card, the next only when the card has answered
//! or the previous is given up (SC-OD-10). Messages of asynchronous backups go the same way, but have no turn to wait for.
//!
//! The row says *sent* before the message leaves, guarded by what was read: of two replicas one launches, and a crash in
//! between repeats the message when its time is up, it never forgets it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use domain::{
    delivery::{Action, ActionId, Content, Launched, QueueEntry, State, build},
    identity::{DeviceKey, Timestamp},
    phonebook::{Bearer, DeviceView, Profile},
    security::KeyFault,
};
use proto::outbound::{Accepted, Launch};

use crate::{
    decision::{Decision, Launching, decide},
    launcher::{self, Outcome, Target},
    processor::{Processor, key},
    securing::Secured,
    taken::Taken,
};

/// A launch that waits for its row to be marked.
struct Ready {
    launching: Launching,
    read: (State, Timestamp),
    view: DeviceView,
    entry: Taken,
}

impl Processor {
    /// Takes entries of ordered actions through reading, deciding, marking and launching.
    pub(crate) async fn process_ordered(self: Arc<Self>, entries: Vec<(QueueEntry, Taken)>) {
        let mut by_id: HashMap<(DeviceKey, ActionId), Taken> = HashMap::new();
        for (entry, taken) in entries {
            // The same action twice in the queue: one of them is enough.
            if let Some(earlier) = by_id.insert(key(&entry), taken) {
                self.drop_entry(earlier).await;
            }
        }
        let ids: Vec<_> = by_id.keys().copied().collect();
        let devices: Vec<DeviceKey> =
            ids.iter().map(|(device, _)| *device).collect::<HashSet<_>>().into_iter().collect();
        let Some(loaded) = self.reading(|| self.load(&ids)).await else { return };
        let Some(heads) = self.reading(|| self.store.heads(&devices)).await else { return };
        let heads: HashSet<(DeviceKey, ActionId)> = heads.into_iter().collect();
        let mut ready = Vec::new();
        for (action, view) in loaded {
            let Some(entry) = by_id.remove(&(action.device, action.id)) else { continue };
            let head = heads.contains(&(action.device, action.id)) || !action.content.is_ordered();
            ready.extend(self.sort(action, view, head, entry).await);
        }
        for (_, entry) in by_id {
            self.drop_entry(entry).await;
        }
        self.mark_and_launch(ready).await;
    }

    /// What is launched comes back; everything else is settled here.
    async fn sort(&self, action: Action, view: DeviceView, head: bool, entry: Taken) -> Option<Ready> {
        let now = self.now();
        // What is said in a transfer goes the way that the device last spoke by.
        let wanted = if matches!(action.content, Content::Transfer(_)) { action.channel } else { view.channel() };
        let channel = self.reach.choose(action.device, wanted, now);
        let read = (action.state, action.due);
        let (capacity, fault) = match self.capacity(Secured::of(&view), channel) {
            Ok(capacity) => (capacity, None),
            Err(fault) => (build::plain(channel), Some(fault)),
        };
        let form = build::Form { profile: view.device.profile, capacity, is_compact: view.state.is_compact() };
        match decide(&action, view.subscriber.state, head, channel, form, &self.ladder, now) {
            Decision::Drop => {
                self.drop_entry(entry).await;
                None
            }
            Decision::Settle(settled) => {
                self.settle(settled, read, entry).await;
                None
            }
            Decision::Launch(launching) => {
                if let Some(fault) = fault {
                    self.wait_for_keys(launching.before, read, fault, entry).await;
                    return None;
                }
                if channel == Bearer::Sms
                    && let Some(when) = self.over_budget(action.device, action.msisdn).await
                {
                    let mut slowed = launching.before;
                    slowed.state = State::Queued;
                    slowed.due = when;
                    "over the budget of short messages".clone_into(&mut slowed.cause);
                    self.write_row(slowed, read, Some(entry)).await;
                    return None;
                }
                Some(Ready { launching: *launching, read, view, entry })
            }
        }
    }

    /// Nothing leaves without its keys, and no attempt is counted: an operator has to give them.
    async fn wait_for_keys(&self, mut action: Action, read: (State, Timestamp), fault: KeyFault, entry: Taken) {
        tracing::error!(msisdn = %action.msisdn, action = action.id.0, cause = %fault, "a secured message waits for keys");
        action.state = State::Queued;
        action.due = self.now().plus(self.ladder.first);
        action.cause = fault.to_string();
        self.write_row(action, read, Some(entry)).await;
    }

    /// Ended or waiting without a launch: written at once, for the next action's turn may have come.
    async fn settle(&self, settled: Action, (state, due): (State, Timestamp), entry: Taken) {
        let moves = [(settled.clone(), state, due)];
        let Some(written) = self.reading(|| self.store.replace_actions(&moves)).await else { return };
        if written.first() == Some(&true) {
            tracing::info!(msisdn = %settled.msisdn, action = settled.id.0, state = ?settled.state, cause = settled.cause,
                "an action ends or waits");
            if settled.state == State::Failed {
                self.report(&settled).await;
            }
            self.next_turn(settled.device).await;
        }
        self.drop_entry(entry).await;
    }

    async fn next_turn(&self, device: DeviceKey) {
        if let Err(error) = self.queue_head(device).await {
            tracing::warn!(%error, "the next action of a device was not queued; the janitor will");
        }
    }

    async fn mark_and_launch(self: &Arc<Self>, ready: Vec<Ready>) {
        if ready.is_empty() {
            return;
        }
        let moves: Vec<_> =
            ready.iter().map(|ready| (ready.launching.marked.clone(), ready.read.0, ready.read.1)).collect();
        let Some(written) = self.reading(|| self.store.replace_actions(&moves)).await else { return };
        for (ready, written) in ready.into_iter().zip(written) {
            if written {
                self.tasks.spawn(self.clone().launch(ready));
            } else {
                // Another replica launches it, or the card's answer came first.
                self.drop_entry(ready.entry).await;
            }
        }
    }

    async fn launch(self: Arc<Self>, ready: Ready) {
        let Ready { launching: Launching { before, marked, payload, further, validity }, view, entry, .. } = ready;
        let (device, msisdn, channel) = (marked.device, view.subscriber.msisdn, marked.channel);
        let octets = payload.len();
        let profile = view.device.profile;
        // A card of E2 answers itself; over IP nothing else is to be told of it.
        let receipt = marked.content.is_ordered() && (channel == Bearer::Sms || profile != Profile::E2);
        let target = Target { device, msisdn, profile };
        let mut message = launcher::message(target, payload, receipt, validity, marked.traces.clone());
        if matches!(marked.content, Content::Transfer(_)) && Secured::of(&view).is_none() {
            launcher::to_the_phone(&mut message);
        }
        let sent = (State::Sent, marked.due);
        let mut outcome = self.launch_for(channel, Secured::of(&view), message.clone()).await;
        for payload in further {
            if !matches!(outcome, Outcome::Accepted(_)) {
                break;
            }
            // Counted, though all of it goes: the card's next message waits then.
            if channel == Bearer::Sms {
                self.over_budget(device, msisdn).await;
            }
            let message = Launch { payload: payload.into(), ..message.clone() };
            outcome = self.launch_for(channel, Secured::of(&view), message).await;
        }
        match outcome {
            Outcome::Accepted(accepted) => {
                tracing::debug!(traces = %runtime::Traces(&marked.traces), %msisdn, action = marked.id.0, link = accepted.link,
                    octets, attempt = marked.attempts, "message launched");
                if channel == Bearer::Ip {
                    self.reach.found(device);
                }
                self.record_launch(marked, sent, accepted, entry).await;
            }
            // It may be on its way: its time decides, for nothing is submitted twice at once (D-117).
            Outcome::Unanswered { cause } => {
                let mut unknown = marked;
                unknown.cause = cause;
                self.write_row(unknown, sent, Some(entry)).await;
            }
            Outcome::NotReachable => self.not_reachable(before, sent, entry).await,
            Outcome::Temporary { cause, after } => {
                let mut postponed = before;
                let ladder = postponed.content.ladder(&self.ladder);
                ladder.postponed(&mut postponed, &cause, after, self.now());
                self.write_row(postponed, sent, Some(entry)).await;
            }
            Outcome::Permanent { cause } => {
                let mut refused = before;
                self.ladder.refused(&mut refused, &cause);
                refused.due = self.now();
                self.settle(refused, sent, entry).await;
            }
        }
    }

    /// Keeps link and message_id, by which the delivery receipt finds its action (D-122).
    async fn record_launch(&self, mut action: Action, sent: (State, Timestamp), accepted: Accepted, entry: Taken) {
        let Accepted { link, bearer_message_id } = accepted;
        action.launched = Some(Launched { link, bearer_message_id });
        // No card answers the end of an asynchronous backup; its row says *sent* until here, so that a crash repeats it.
        if action.content.ends_by_leaving() {
            action.state = State::Done;
        }
        self.write_row(action, sent, Some(entry)).await;
    }

    /// D-69: looked for again soon, and by SMS with messages built anew once the device was away long enough. No attempt
    /// is counted, for nothing left.
    async fn not_reachable(&self, mut action: Action, sent: (State, Timestamp), entry: Taken) {
        let now = self.now();
        self.reach.missing(action.device, now);
        action.state = State::Queued;
        action.due = now.plus(self.config.ip_retry);
        "no IP session".clone_into(&mut action.cause);
        self.write_row(action, sent, Some(entry)).await;
    }
}
