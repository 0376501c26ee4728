//! The closing table.

use std::time::Duration;

use super::acts::{Compared, Stage, bearer};
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
        let mut books =
            Table::new(&["bearer", "books", "records", "changes stored", "restored", "messages in", "messages out"]);
        for (name, wanted) in [("SMS", mobile::Bearer::Sms), ("IP", mobile::Bearer::Ip)] {
            let is_wanted = |at: usize| u32::try_from(at).is_ok_and(|at| bearer(at) == wanted);
            let phones: Vec<_> = stage.phones.iter().enumerate().filter(|(at, _)| is_wanted(*at)).collect();
            let records: usize = phones.iter().map(|(_, phone)| phone.with(CardBook::read).len()).sum();
            let sum = |value| thousands(stage.sum(is_wanted, value));
            books.row([
                name.to_owned(),
                thousands(phones.len() as u64),
                thousands(records as u64),
                sum(|statistics| statistics.records_backed_up),
                sum(|statistics| statistics.records_restored),
                sum(|statistics| statistics.sms_sent + statistics.ip_sent),
                sum(|statistics| statistics.sms_received + statistics.ip_received),
            ]);
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
