//! Replicas: they share the load evenly, a dead one gets nothing any more, and one that returns gets its share again
//! (SC-AR-07). Counted by those who send: every edge says how much it sent to which replica, and what lies there.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

use super::Run;
use crate::load::count;

/// After this time a dead replica gets nothing.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);
/// From a card's message to its acknowledgement, at most, while one replica is dead and known to be.
const SLOW: Duration = Duration::from_secs(2);
/// How long messages are counted.
const COUNTED: Duration = Duration::from_secs(2);
/// So many times that long, at most, may it take until a replica that returned has its share.
const SPANS_MAX: usize = 5;
/// By how much a replica's share may differ from the mean.
const SPREAD: f64 = 0.20;
/// Messages sent to a replica, repeats included, and messages that it has not answered, by its address.
const SENT: &str = "simvault_stream_messages_total";
const OUTSTANDING: &str = "simvault_stream_outstanding";
/// What is looked at, and who sends to it over gRPC; nobody: each replica takes from the queue what it can, and counts it
/// itself.
const SHARING: [(&str, &[&str]); 3] = [
    ("inbound-data", &["inbound-smpp", "inbound-ip"]),
    ("outbound-action", &[]),
    ("outbound-smpp", &["outbound-action"]),
];
/// What a replica launches that takes its work from the queue.
const LAUNCHED: &str = "simvault_outbound_launches_total";

/// Share of each replica of a service, in messages.
#[derive(Clone, Debug)]
pub struct Share {
    pub service: &'static str,
    /// The first replica was dead before.
    pub is_after_return: bool,
    /// It takes its work from the queue, the faster replica more; nobody sends it its share.
    pub is_from_queue: bool,
    pub messages: Vec<f64>,
}

impl Share {
    /// Every replica's within 20 % of the mean; of the queue, every replica has some.
    #[must_use]
    pub fn is_even(&self) -> bool {
        if self.is_from_queue {
            return !self.messages.is_empty() && self.messages.iter().all(|share| *share > 0.0);
        }
        let mean = self.messages.iter().sum::<f64>() / count(u64::try_from(self.messages.len()).unwrap_or(1));
        mean > 0.0 && self.messages.iter().all(|share| (share / mean - 1.0).abs() <= SPREAD)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "service": self.service, "after_return": self.is_after_return, "messages": self.messages })
    }
}

impl Run<'_> {
    /// How evenly the replicas share the load.
    pub(super) async fn shares(&mut self, progress: &dyn Fn(&str)) {
        let repeats = self.load.counts().repeats.load(Relaxed);
        self.load.set_pace(self.pace());
        let before = self.counts().await;
        tokio::time::sleep(COUNTED).await;
        for ((service, callers), before) in SHARING.into_iter().zip(before) {
            let messages = difference(&self.messages(service, callers).await, &before);
            let is_from_queue = callers.is_empty();
            self.share(Share { service, is_after_return: false, is_from_queue, messages }, progress);
        }
        let repeats = self.load.counts().repeats.load(Relaxed) - repeats;
        if repeats > 0 {
            self.fail(format!("{repeats} acknowledgements were sent twice though nothing had failed"));
        }
    }

    /// Two seconds after its death nothing waits for a replica that stays dead; once back, it has its share again.
    pub(super) async fn dead_replicas(&mut self, progress: &dyn Fn(&str)) -> Result<()> {
        for (service, callers) in SHARING {
            let name = format!("{service}-1");
            progress(&format!("{name} dies and stays dead"));
            self.topology.keeper().suspend(&name)?;
            tokio::time::sleep(NOTICED_WITHIN).await;
            self.report.redelivered += self.load.report().await.redelivered;
            let sent = self.towards(service, callers, SENT).await;
            let outstanding = self.towards(service, callers, OUTSTANDING).await;
            tokio::time::sleep(COUNTED).await;
            let sent = difference(&self.towards(service, callers, SENT).await, &sent);
            if let [to_dead, to_living, ..] = sent[..] {
                let waiting = outstanding.first().copied().unwrap_or(0.0);
                progress(&format!(
                    "{name} has been dead for 2 s: {waiting} messages wait for it; in the next 2 s it is sent {to_dead}, the other {to_living}"
                ));
                if waiting > 0.0 || to_dead > 0.0 {
                    self.fail(format!(
                        "{name} was dead for 2 s: {waiting} messages waited for it, {to_dead} more came"
                    ));
                }
            }
            self.check_flow(&name).await;
            self.topology.keeper().resume(&name);
            self.recover(&name, Instant::now()).await;
            if self.report.has_stalled {
                return Ok(());
            }
            let mut share = self.returned(service, callers).await;
            for _ in 1..SPANS_MAX {
                if !share.is_even() {
                    share = self.returned(service, callers).await;
                }
            }
            self.share(share, progress);
        }
        Ok(())
    }

    /// The shares of a while after the return.
    async fn returned(&self, service: &'static str, callers: &[&str]) -> Share {
        let before = self.messages(service, callers).await;
        tokio::time::sleep(COUNTED).await;
        let messages = difference(&self.messages(service, callers).await, &before);
        Share { service, is_after_return: true, is_from_queue: callers.is_empty(), messages }
    }

    /// While a replica is known to be dead, no message goes astray and none is slow.
    async fn check_flow(&mut self, name: &str) {
        let report = self.load.report().await;
        self.report.redelivered += report.redelivered;
        if report.redelivered_since > 0 {
            self.fail(format!("{name} was dead for 2 s: {} messages still went astray", report.redelivered_since));
        }
        if report.acknowledged == 0 || report.acknowledged_within > SLOW {
            self.fail(format!(
                "{name} was dead for 2 s: {} acknowledgements, the slowest after {:?}",
                report.acknowledged, report.acknowledged_within
            ));
        }
    }

    fn share(&mut self, share: Share, progress: &dyn Fn(&str)) {
        let since = if share.is_after_return { " after the return of the first" } else { "" };
        progress(&format!("{}: messages by replica{since} {:?}", share.service, share.messages));
        if !share.is_even() {
            let Share { service, messages, .. } = &share;
            self.fail(format!("{service}: the replicas' shares{since} are uneven: {messages:?}"));
        }
        self.report.shares.push(share);
    }

    async fn counts(&self) -> Vec<Vec<f64>> {
        let mut counts = Vec::new();
        for (service, callers) in SHARING {
            counts.push(self.messages(service, callers).await);
        }
        counts
    }

    /// Messages of each replica so far.
    async fn messages(&self, service: &str, callers: &[&str]) -> Vec<f64> {
        if !callers.is_empty() {
            return self.towards(service, callers, SENT).await;
        }
        let mut messages = Vec::new();
        for replica in 1..=self.topology.replicas() {
            messages.push(self.topology.metric(service, replica, LAUNCHED).await.unwrap_or(0.0));
        }
        messages
    }

    /// What all callers count of each replica of a service.
    async fn towards(&self, service: &str, callers: &[&str], series: &str) -> Vec<f64> {
        let mut messages = Vec::new();
        if callers.is_empty() {
            return messages;
        }
        for ports in self.topology.ports().get(service).into_iter().flatten() {
            let series = format!("{series}{{replica=\"127.0.0.1:{}\"}}", ports.grpc);
            let mut sum = 0.0;
            for caller in callers {
                for replica in 1..=self.topology.replicas() {
                    sum += self.topology.metric(caller, replica, &series).await.unwrap_or(0.0);
                }
            }
            messages.push(sum);
        }
        messages
    }
}

fn difference(now: &[f64], before: &[f64]) -> Vec<f64> {
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}
