//! The closing table.

use std::time::Duration;

use mobile::{Bearer, Statistics};

use super::{
    acts::{Compared, Stage},
    bearer, profile, profile_name,
};
use crate::{
    demo::books::CardBook,
    smsc::SmscHandle,
    table::{Table, thousands},
};

/// What the demonstration showed.
pub struct Report {
    /// The tables, for a person.
    pub text: String,
    pub cards: usize,
    pub identical: usize,
}

impl Report {
    pub fn new(stage: &Stage, smsc: &SmscHandle, compared: &Compared, restored: usize, took: Duration) -> Self {
        // In: to the centre; out: to cards. Lost cards had their part in it, so what they did is counted.
        let mut books = Table::new(&COLUMNS);
        for name in ["E1", "E2", "E3"] {
            for wanted in [Bearer::Sms, Bearer::Ip] {
                if let Some(row) = row(stage, name, wanted) {
                    books.row(row);
                }
            }
        }
        let counters = smsc.counters();
        let mut latencies = stage.fleet.latencies();
        latencies.sort_unstable();
        let mut facts = Table::new(&["what", "how much"]);
        facts.row(["short messages in, answered after the commit", &thousands(counters.mo_acked)]);
        facts.row(["short messages out", &thousands(counters.mt_delivered)]);
        let times = [0.5, 0.95, 0.99].map(|share| milliseconds(quantile(&latencies, share)));
        facts.row(["deliver_sm to its response, p50 / p95 / p99", &times.join(" / ")]);
        facts.row(["cards lost and replaced (counted above too)", &restored.to_string()]);
        facts.row(["the cards' clock", &format!("{} times ours", stage.options.speed)]);
        facts.row(["the whole run", &format!("{:.0} s", took.as_secs_f64())]);
        let verdict = format!("identical {} of {}", compared.identical, compared.cards);
        let differences: String = compared.differences.iter().take(SHOWN_MAX).map(|line| format!("{line}\n")).collect();
        let text = format!("{}\n\n{}\n\n{differences}{verdict}", books.render(), facts.render());
        Self { text, cards: compared.cards, identical: compared.identical }
    }

    /// Every card holds what its book says.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.identical == self.cards && self.cards > 0
    }
}

const COLUMNS: [&str; 8] =
    ["profile", "books", "records", "changes stored", "restored", "messages in", "a book", "messages out"];

/// The cards of one profile on one bearer; `None`: there are none.
fn row(stage: &Stage, name: &str, wanted: Bearer) -> Option<[String; COLUMNS.len()]> {
    let is_wanted =
        |at: usize| u32::try_from(at).is_ok_and(|at| bearer(at) == wanted && profile_name(&profile(at)) == name);
    let phones: Vec<_> = stage.phones.iter().enumerate().filter(|(at, _)| is_wanted(*at)).collect();
    if phones.is_empty() {
        return None;
    }
    let records: usize = phones.iter().map(|(_, phone)| phone.with(CardBook::read).len()).sum();
    let sum = |value: fn(&Statistics) -> u64| stage.sum(is_wanted, value);
    let messages_in = sum(|statistics| statistics.sms_sent + statistics.ip_sent);
    let bearer = match wanted {
        Bearer::Sms => "SMS",
        Bearer::Ip => "IP",
    };
    Some([
        format!("{name} on {bearer}"),
        thousands(phones.len() as u64),
        thousands(records as u64),
        thousands(sum(|statistics| statistics.records_backed_up)),
        thousands(sum(|statistics| statistics.records_restored)),
        thousands(messages_in),
        thousands(messages_in / (phones.len() as u64).max(1)),
        thousands(sum(|statistics| statistics.sms_received + statistics.ip_received)),
    ])
}

/// Differing cards that are named.
const SHOWN_MAX: usize = 10;

/// The value below which `share` of the sorted values lie.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
