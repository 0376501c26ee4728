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
        let mut books = Table::new(&["bearer", "books", "records", "backed up", "restored", "to centre", "to cards"]);
        for (name, wanted) in [("SMS", mobile::Bearer::Sms), ("IP", mobile::Bearer::Ip)] {
            let phones: Vec<_> = (0_u32..).zip(&stage.phones).filter(|(at, _)| bearer(*at) == wanted).collect();
            let sum = |value: fn(&mobile::Statistics) -> u64| -> u64 {
                phones.iter().map(|(_, phone)| phone.with(|station| value(&station.statistics()))).sum()
            };
            let records: usize = phones.iter().map(|(_, phone)| phone.with(CardBook::read).len()).sum();
            books.row([
                name.to_owned(),
                thousands(phones.len() as u64),
                thousands(records as u64),
                thousands(sum(|statistics| statistics.records_backed_up)),
                thousands(sum(|statistics| statistics.records_restored)),
                thousands(sum(|statistics| statistics.sms_sent + statistics.ip_sent)),
                thousands(sum(|statistics| statistics.sms_received + statistics.ip_received)),
            ]);
        }
        let counters = smsc.counters();
        let mut latencies = stage.fleet.latencies();
        latencies.sort_unstable();
        let mut facts = Table::new(&["what", "how much"]);
        facts.row(["SMS from cards, answered after the commit", &thousands(counters.mo_acked)]);
        facts.row(["SMS to cards", &thousands(counters.mt_delivered)]);
        let times = [0.5, 0.95, 0.99].map(|share| milliseconds(quantile(&latencies, share)));
        facts.row(["deliver_sm to its response, p50 / p95 / p99", &times.join(" / ")]);
        facts.row(["cards lost, replaced and restored", &restored.to_string()]);
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
