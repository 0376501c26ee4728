//! The counters of this service, registered once: a message costs no look-up.

use metrics::{Counter, Histogram, counter, histogram};
use proto::inbound::Outcome;

/// Handles, shared by all tasks.
pub struct Metrics {
    stored: Counter,
    duplicate: Counter,
    refused: Counter,
    retry: Counter,
    /// Messages of one commit.
    pub batch_messages: Histogram,
    pub commit_seconds: Histogram,
    /// Commits that met a newer version and were made again.
    pub conflicts: Counter,
    /// Messages that no commit takes, set aside.
    pub dead_letters: Counter,
    /// Messages whose stream was gone before they were begun.
    pub abandoned: Counter,
    /// Parts of long messages that never became complete.
    pub parts_expired: Counter,
    /// Parts not taken, for their number has too many waiting.
    pub parts_refused: Counter,
    /// Queue entries and error messages that were not passed on; the janitor and the card make up for them.
    pub entries_dropped: Counter,
    pub replies: Counter,
    pub replies_dropped: Counter,
    pub resynchronisations: Counter,
    /// Cards whose database checksum began to differ (SC-ID-10).
    pub mismatches: Counter,
    pub resumed: Counter,
    pub links_opened: Counter,
    pub links_refused: Counter,
}

impl Metrics {
    pub fn register() -> Self {
        let messages = |outcome: &'static str| counter!("simvault_inbound_messages_total", "outcome" => outcome);
        Self {
            stored: messages("stored"),
            duplicate: messages("duplicate"),
            refused: messages("refused"),
            retry: messages("retry"),
            batch_messages: histogram!("simvault_inbound_batch_messages"),
            commit_seconds: histogram!("simvault_inbound_commit_seconds"),
            conflicts: counter!("simvault_inbound_conflicts_total"),
            dead_letters: counter!("simvault_inbound_dead_letters_total"),
            abandoned: counter!("simvault_inbound_abandoned_total"),
            parts_expired: counter!("simvault_inbound_parts_expired_total"),
            parts_refused: counter!("simvault_inbound_parts_refused_total"),
            entries_dropped: counter!("simvault_inbound_queue_entries_dropped_total"),
            replies: counter!("simvault_inbound_error_messages_total"),
            replies_dropped: counter!("simvault_inbound_error_messages_dropped_total"),
            resynchronisations: counter!("simvault_inbound_resynchronisations_total"),
            mismatches: counter!("simvault_inbound_checksum_mismatches_total"),
            resumed: counter!("simvault_inbound_actions_resumed_total"),
            links_opened: counter!("simvault_inbound_ip_links_total", "outcome" => "opened"),
            links_refused: counter!("simvault_inbound_ip_links_total", "outcome" => "refused"),
        }
    }

    /// One notice for customer service or the error analysis; `kind` is one of few.
    pub fn notice(&self, kind: &'static str) {
        counter!("simvault_inbound_notices_total", "kind" => kind).increment(1);
    }

    pub fn outcome(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::Stored => &self.stored,
            Outcome::Duplicate => &self.duplicate,
            Outcome::Refused => &self.refused,
            Outcome::Retry | Outcome::Unspecified => &self.retry,
        }
    }
}
